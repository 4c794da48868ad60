package jswrap

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// pending is a publish whose outcome is not known yet.
type pending struct {
	m     *ticketing.Message
	done  func(error)
	token uint64
	reply string // where the stream answers to

	state atomic.Uint32

	// Guarded by flights.mu.
	born    uint32 // the tick at which it was admitted
	retries uint8
	checked bool // the stream was looked up because the answer is overdue
}

// The states of a pending. Only who moves it from queued to written may write
// it, and one that is settled is never written: what is reported as not sent
// must not be sent later.
const (
	stateQueued = iota
	stateWritten
	stateSettled
)

// flights are the publishes that wait for their acknowledgement: at most max,
// each for at most timeout. Whoever removes one from the table calls its done,
// never under the lock.
type flights struct {
	max     int
	timeout time.Duration
	tick    time.Duration // how often the table is looked through
	overdue func([]*pending)

	mu       sync.Mutex
	table    map[uint64]*pending
	waiting  []*admission // those who wait for a place, in their order
	next     uint64
	now      uint32 // ticks so far; it stands still while the table is empty
	timer    *time.Timer
	ticking  bool
	refusing bool          // closed to new ones
	empty    chan struct{} // made by drain, closed when the table is empty
}

// overdueAfter is when an answer is so late that the stream is looked up: an
// ordinary subscriber on a subject without a stream makes the server believe
// that somebody will answer.
const overdueAfter = 500 * time.Millisecond

func newFlights(limit int, timeout time.Duration, overdue func([]*pending)) *flights {
	f := &flights{
		max:     limit,
		timeout: timeout,
		tick:    max(min(overdueAfter/5, timeout/5), time.Millisecond),
		overdue: overdue,
		table:   make(map[uint64]*pending),
	}
	f.timer = time.AfterFunc(time.Hour, f.sweep)
	f.timer.Stop()
	return f
}

// admission waits for a place.
type admission struct {
	p     *pending
	ready chan struct{} // closed with the place, or with err
	err   error
}

// admit gives p a place and a token. It blocks while the table is full, and
// returns ctx's error when that ends before, or ErrClosed.
func (f *flights) admit(ctx context.Context, p *pending) error {
	f.mu.Lock()
	if f.refusing {
		f.mu.Unlock()
		return ticketing.ErrClosed
	}
	if len(f.table) < f.max && len(f.waiting) == 0 {
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
	return context.Cause(ctx)
}

// add puts p into the table. The lock is held.
func (f *flights) add(p *pending) {
	p.token = f.next
	f.next++
	p.born = f.now
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
	if len(f.waiting) == 0 || len(f.table) > f.max-max(1, f.max/8) {
		return
	}
	n := min(len(f.waiting), f.max-len(f.table))
	for _, a := range f.waiting[:n] {
		f.add(a.p)
		close(a.ready)
	}
	f.waiting = slices.Delete(f.waiting, 0, n)
}

// finish completes the publish of a token with its outcome, if it is still
// open.
func (f *flights) finish(token uint64, err error) {
	f.mu.Lock()
	p := f.remove(token)
	f.mu.Unlock()
	if p != nil {
		p.done(err)
	}
}

// message returns what was published with a token, while that is open.
func (f *flights) message(token uint64) *ticketing.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.table[token]; p != nil {
		return p.m
	}
	return nil
}

// finishAll completes every open publish that match accepts. Nil accepts all.
// One that has not been written is surely not sent; for the others the caller
// says what is known.
func (f *flights) finishAll(match func(*pending) bool, written, queued func(*ticketing.Message) error) {
	f.mu.Lock()
	var found []*pending
	for _, p := range f.table {
		if match == nil || match(p) {
			found = append(found, p)
		}
	}
	f.mu.Unlock()
	slices.SortFunc(found, byToken)
	for _, p := range found {
		outcome := written
		if p.state.CompareAndSwap(stateQueued, stateSettled) {
			outcome = queued
		}
		f.finish(p.token, outcome(p.m))
	}
}

func byToken(a, b *pending) int {
	if a.token < b.token {
		return -1
	}
	return 1
}

// sweep runs at every tick while anything is open.
func (f *flights) sweep() {
	f.mu.Lock()
	f.now++
	late := uint32((overdueAfter + f.tick - 1) / f.tick)
	dead := uint32((f.timeout + f.tick - 1) / f.tick)
	var overdue []*pending
	expired := false
	for _, p := range f.table {
		switch age := f.now - p.born; {
		case age > dead: // at least timeout: it was born somewhere within a tick
			expired = true
		case age >= late && !p.checked && p.state.Load() == stateWritten:
			p.checked = true
			overdue = append(overdue, p)
		}
	}
	f.ticking = len(f.table) > 0
	if f.ticking {
		f.timer.Reset(f.tick)
	}
	now := f.now
	f.mu.Unlock()

	if len(overdue) > 0 {
		f.overdue(overdue)
	}
	if expired {
		f.expire(now, dead)
	}
}

// expire completes those whose answer did not come in time.
func (f *flights) expire(now, dead uint32) {
	f.finishAll(
		func(p *pending) bool { return now-p.born > dead },
		func(m *ticketing.Message) error {
			return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, errNoAck)
		},
		func(m *ticketing.Message) error {
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, errNotWritten)
		})
}

// refuse admits nobody any more, and turns those away who wait.
func (f *flights) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing = true
	for _, a := range f.waiting {
		a.err = ticketing.ErrClosed
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

// stop ends the ticking, once the table is empty for good.
func (f *flights) stop() { f.timer.Stop() }

// issued returns the token that comes next: all open ones are below it.
func (f *flights) issued() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// again prepares the publish of a token, which is surely not stored, to be
// sent once more, and says whether this is the first time. It returns nil when
// there is none, or when it was sent often enough: then it is completed.
func (f *flights) again(token uint64) (p *pending, first bool) {
	f.mu.Lock()
	if p = f.table[token]; p == nil {
		f.mu.Unlock()
		return nil, false
	}
	if p.retries < resendMax {
		p.retries++
		first = p.retries == 1
		p.state.CompareAndSwap(stateWritten, stateQueued)
		f.mu.Unlock()
		return p, first
	}
	f.remove(token)
	f.mu.Unlock()
	p.done(ticketing.NewPublishError(ticketing.OutcomeNotSent, p.m, errNoLeader))
	return nil, false
}
