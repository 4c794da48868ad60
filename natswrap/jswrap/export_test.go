package jswrap

import (
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Waiting returns how many publishes are held because nobody answers for their
// subject.
func (c *Client) Waiting(subject ticketing.Subject) int {
	n := make(chan int)
	c.wire.push(frame{call: func() {
		if s := c.wire.stalls[subject]; s != nil {
			n <- len(s.held)
		} else {
			n <- 0
		}
	}})
	return <-n
}

// SetGiveBackGrace is for a test of the order, on a machine that may stand still
// for as long. It is called before Receive.
func (c *Client) SetGiveBackGrace(d time.Duration) { c.receivers.grace = d }

// HoldWriter lets nothing more be written, until the function that it returns
// is called.
func (c *Client) HoldWriter() (release func()) {
	hold := make(chan struct{})
	c.wire.push(frame{call: func() { <-hold }})
	return sync.OnceFunc(func() { close(hold) })
}

// Queued returns how many publishes wait for the writer, with those that have
// ended.
func (c *Client) Queued() (n int) {
	c.wire.frames.mu.Lock()
	defer c.wire.frames.mu.Unlock()
	for _, f := range c.wire.frames.items {
		if f.pub != nil {
			n++
		}
	}
	return n
}
