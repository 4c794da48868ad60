package jswrap

import (
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

// SetStopPatience is for a test of the order, on a machine that may stand still
// for longer than a stop waits for the sake of that. It is called before Receive.
func (c *Client) SetStopPatience(d time.Duration) { c.receivers.grace, c.receivers.clear = d, d }

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
