package jswrap

import (
	"errors"
	"fmt"
	"slices"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// A publish that was written and not acknowledged is written again with the
// same id, where the stream tells duplicates for long enough: on a new
// connection at once, and on one that lives when a fifth of AckTimeout is
// over, and when half of it is. With the default that is after 1 s, ten times
// what a server needs that syncs every message to a slow disk, and after the
// 2.5 s that leave a second copy as long again to be answered. A leader that
// hands over to another is replaced in less than the former; of one that died
// the server says after a while that nobody answers, and a stall takes over.
const (
	firstResend  = 5 // as parts of AckTimeout
	secondResend = 2
	maxResends   = 2
)

// repeatable reports whether a stream with this duplicate window surely tells
// a second copy of a publish by its id: the last is written before AckTimeout
// is over, and may be as long under way.
func (c *Client) repeatable(window time.Duration) bool { return window >= 2*c.cfg.AckTimeout }

// reuse prepares a publish that was written to be written again, and reports
// whether it may be. The lock is held.
func (f *flights) reuse(p *pending) bool {
	if !p.repeat || p.state.Load() != stateWritten {
		return false
	}
	p.maybe = true // before it is queued: the writer may have it at once
	p.resends++
	p.due = 0
	if p.resends < maxResends {
		p.due = max(p.born+f.ticks(f.timeout/secondResend), f.now+f.ticks(f.timeout/firstResend))
	}
	return p.state.CompareAndSwap(stateWritten, stateQueued)
}

// postpone keeps a publish open of which the stream says that another copy is
// in process, and has it written again soon. It reports whether it could.
func (f *flights) postpone(token uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.table[token]
	if p == nil || !p.repeat {
		return false
	}
	p.maybe = true
	p.due = f.now + f.ticks(overdueAfter)
	return true
}

// reopen returns what has to be written to a new connection, in its order.
func (f *flights) reopen() []*pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*pending
	for _, p := range f.table {
		if p.state.Load() == stateQueued || f.reuse(p) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, byToken)
	return list
}

// unwritten handles that a publish found no connection: it stays open where it
// is written to the next one, and otherwise it is surely not sent.
func (f *flights) unwritten(p *pending) {
	f.mu.Lock()
	if p.maybe || f.wait || f.table[p.token] != p || !p.state.CompareAndSwap(stateQueued, stateSettled) {
		f.mu.Unlock()
		return
	}
	f.remove(p.token)
	f.mu.Unlock()
	p.done(ticketing.NewPublishError(ticketing.OutcomeNotSent, p.m, ticketing.ErrNotConnected))
}

// unanswered handles that nobody listened to a publish, so that this copy is
// surely not stored. It returns what was published, to be written again, or
// nil.
func (f *flights) unanswered(token uint64) *pending {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.table[token]
	if p == nil || !p.state.CompareAndSwap(stateWritten, stateQueued) {
		return nil
	}
	p.stalled = true
	return p
}

// noResponders handles the server's word that nobody listens on a subject. It
// asks the server whether there is a stream, and meanwhile tries again.
func (c *Client) noResponders(token uint64) {
	p := c.flights.unanswered(token)
	if p == nil {
		return
	}
	c.wire.push(frame{call: func() { c.wire.stalled(p) }})
	c.recheck(p.m.Subject)
}

// resend writes publishes again.
func (c *Client) resend(list []*pending) {
	for _, p := range list {
		c.wire.push(frame{pub: p})
	}
}

// onLost is the hook for a connection that is gone. What was written stays
// open where it can be written again; so does what was not, where Send waits
// for the connection.
func (c *Client) onLost() {
	c.linkMu.Lock()
	c.connections++
	c.flights.suspend() // first, for who sees the link down is not to be admitted
	c.link.Set(false)
	c.linkMu.Unlock()
	c.flights.finishAll(
		func(p *pending) bool {
			if p.maybe || p.state.Load() == stateWritten {
				return !p.repeat
			}
			return !c.flights.wait
		},
		func(p *pending, written bool) error {
			if written || p.maybe {
				return ticketing.NewPublishError(ticketing.OutcomeUnknown, p.m, errLost)
			}
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, p.m, ticketing.ErrNotConnected)
		})
}

// onReconnect is the hook for a connection that is back.
func (c *Client) onReconnect() {
	c.linkMu.Lock()
	connection := c.connections
	c.linkMu.Unlock()
	c.wire.push(frame{call: func() { c.resume(connection) }})
	c.receivers.each((*receiver).reconnected)
}

// resume runs on the writer's goroutine when the connection is back: it writes
// what is open, and only then takes something new, so that the order stays.
// Where the connection was lost again that is left to the next one.
func (c *Client) resume(connection uint64) {
	if !c.ifCurrent(connection, func() {}) {
		return
	}
	c.maxPayload.Store(c.nc.MaxPayload())
	c.homes.forgetDenied()
	c.wire.forgetStalls()
	for _, p := range c.flights.reopen() {
		c.wire.publish(p)
	}
	c.ifCurrent(connection, func() {
		c.flights.resume() // first, for who sees the link up may send
		c.link.Set(true)
	})
}

// ifCurrent calls f and returns true, unless connection was lost.
func (c *Client) ifCurrent(connection uint64, f func()) bool {
	c.linkMu.Lock()
	defer c.linkMu.Unlock()
	if connection != c.connections {
		return false
	}
	f()
	return true
}

// abandon fails what is open when the connection is closed for good.
func (c *Client) abandon() {
	c.flights.finishAll(nil, func(p *pending, written bool) error {
		if written || p.maybe {
			return ticketing.NewPublishError(ticketing.OutcomeUnknown, p.m, errCut)
		}
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, p.m, ticketing.ErrClosed)
	})
}

// maybeStored is what is known when a copy of m was refused with err and an
// earlier one may be stored.
func maybeStored(m *ticketing.Message, err error) error {
	var pe *ticketing.PublishError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return ticketing.NewPublishError(ticketing.OutcomeUnknown, m,
		fmt.Errorf("an earlier copy got no answer, and a later one failed: %w", err))
}
