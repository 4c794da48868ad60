package jswrap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// errFull is why a publish was not let in within its ctx.
var errFull = errors.New("waiting for a place in the window")

// admission waits for a place.
type admission struct {
	p     *pending
	ready chan struct{} // closed with the place, or with err
	err   error
}

// admit gives p a place and a token. It blocks while the table is full, and
// returns errFull with ctx's error when that ends before, or ErrClosed, or
// ErrNotConnected while there is no connection; where wait is set it blocks for
// that, too, and returns it with ctx's error.
func (f *flights) admit(ctx context.Context, p *pending) error {
	f.mu.Lock()
	if f.refusing {
		f.mu.Unlock()
		return ticketing.ErrClosed
	}
	if f.down && !f.wait {
		f.mu.Unlock()
		return ticketing.ErrNotConnected
	}
	if len(f.table) < f.max && len(f.waiting) == 0 && !f.down {
		f.add(p)
		f.mu.Unlock()
		return nil
	}
	a := &admission{p: p, ready: make(chan struct{})}
	f.waiting = append(f.waiting, a)
	f.mu.Unlock()
	select {
	case <-a.ready:
		return a.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.waiting, a)
	if i < 0 { // it got its place at the same moment
		return a.err
	}
	f.waiting = slices.Delete(f.waiting, i, i+1)
	if f.down {
		return fmt.Errorf("%w: %w", ticketing.ErrNotConnected, context.Cause(ctx))
	}
	return fmt.Errorf("%w of %d publishes: %w", errFull, f.max, context.Cause(ctx))
}

// add puts p into the table. The lock is held.
func (f *flights) add(p *pending) {
	p.token = f.next
	p.reply = f.replyTo(p.token) // now: from here on it may be written to a new connection
	f.next++
	p.born = f.now
	if p.repeat {
		p.due = f.now + f.ticks(f.timeout/firstResend)
	}
	f.table[p.token] = p
	if !f.ticking {
		f.ticking = true
		f.timer.Reset(f.tick)
	}
}

// remove takes the pending of a token out of the table, or returns nil. The
// caller is the one who completes it. The lock is held.
func (f *flights) remove(token uint64) *pending {
	p, ok := f.table[token]
	if !ok {
		return nil
	}
	delete(f.table, token)
	p.state.Store(stateSettled)
	f.makeRoom()
	if len(f.table) == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
	return p
}

// makeRoom lets those in who wait, several at a time: waking a publisher for
// every single place would cost more than the publish. The lock is held.
func (f *flights) makeRoom() {
	if f.down || len(f.waiting) == 0 || len(f.table) > f.max-max(1, f.max/8) {
		return
	}
	n := min(len(f.waiting), f.max-len(f.table))
	for _, a := range f.waiting[:n] {
		f.add(a.p)
		close(a.ready)
	}
	f.waiting = slices.Delete(f.waiting, 0, n)
}

// suspend gives nobody a place until resume, and turns those away who wait,
// unless they want to wait for the connection.
func (f *flights) suspend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	if !f.wait {
		f.turnAway(ticketing.ErrNotConnected)
	}
}

// resume gives places again.
func (f *flights) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
	f.makeRoom()
}

// refuse admits nobody any more, and turns those away who wait.
func (f *flights) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing = true
	f.turnAway(ticketing.ErrClosed)
}

// turnAway ends the waiting of all. The lock is held.
func (f *flights) turnAway(err error) {
	for _, a := range f.waiting {
		a.err = err
		close(a.ready)
	}
	f.waiting = nil
}

// drain waits until nothing is open, or ctx ends.
func (f *flights) drain(ctx context.Context) error {
	f.mu.Lock()
	if len(f.table) == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	empty := f.empty
	f.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
