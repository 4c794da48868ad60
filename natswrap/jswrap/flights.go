package jswrap

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// pending is a publish whose outcome is not known yet.
type pending struct {
	m      *ticketing.Message
	done   func(error)
	token  uint64
	reply  string // where the stream answers to
	repeat bool   // the stream would tell a second copy by its id

	state atomic.Uint32

	// Guarded by flights.mu.
	born    uint32 // the tick at which it was admitted
	due     uint32 // the tick at which it is written again; 0 is never
	resends uint8  // how often that was done
	checked bool   // the stream was looked up because the answer is overdue
	maybe   bool   // an earlier copy may be stored
	stalled bool   // it is not stored, because nobody answers for its stream
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
	wait    bool          // those who come while the connection is down wait
	inbox   string        // where the answers come to, with the dot; a token follows
	overdue func([]*pending)
	resend  func([]*pending)
	expired func() // some have ended without an answer

	mu       sync.Mutex
	table    map[uint64]*pending
	waiting  []*admission // those who wait for a place, in their order
	down     bool         // there is no connection: nobody gets a place
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

func newFlights(limit int, timeout time.Duration) *flights {
	f := &flights{
		max:     limit,
		timeout: timeout,
		tick:    max(min(overdueAfter/5, timeout/10), time.Millisecond),
		table:   make(map[uint64]*pending),
	}
	f.timer = time.AfterFunc(time.Hour, f.sweep)
	f.timer.Stop()
	return f
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

// message returns what was published with a token, while that is open, and
// whether an earlier copy of it may be stored.
func (f *flights) message(token uint64) (m *ticketing.Message, maybe bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.table[token]; p != nil {
		return p.m, p.maybe
	}
	return nil, false
}

// finishAll completes every open publish that match accepts, in the order of
// their tokens. Nil accepts all; match is called under the lock. The outcome is
// told whether the last copy was written: if not, and unless an earlier one may
// be stored, the publish is surely not sent.
func (f *flights) finishAll(match func(*pending) bool, outcome func(p *pending, written bool) error) {
	var found []*pending
	f.mu.Lock()
	for _, p := range f.table {
		if match == nil || match(p) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, byToken)
	written := make([]bool, len(found))
	for i, p := range found {
		written[i] = p.state.Swap(stateSettled) == stateWritten
		f.remove(p.token)
	}
	f.mu.Unlock()
	for i, p := range found {
		p.done(outcome(p, written[i])) // nobody else has it any more
	}
}

func byToken(a, b *pending) int { return cmp.Compare(a.token, b.token) }

// ending reports whether p's time is over before an answer is likely.
func (f *flights) ending(p *pending) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now-p.born+f.ticks(min(stallMaxPause, f.timeout/4)) >= f.ticks(f.timeout)
}

// sweep runs at every tick while anything is open.
func (f *flights) sweep() {
	f.mu.Lock()
	f.now++
	late, dead := f.ticks(overdueAfter), f.ticks(f.timeout)
	var overdue, again []*pending
	expired := false
	for _, p := range f.table {
		age := f.now - p.born
		if age > dead { // at least timeout: it was born somewhere within a tick
			expired = true
			continue
		}
		if age >= late && !p.checked && p.state.Load() == stateWritten {
			p.checked = true
			overdue = append(overdue, p)
		}
		if p.due != 0 && p.due <= f.now && !f.down && f.reuse(p) {
			again = append(again, p)
		}
	}
	f.ticking = len(f.table) > 0
	if f.ticking {
		f.timer.Reset(f.tick)
	}
	f.mu.Unlock()

	if len(overdue) > 0 {
		f.overdue(overdue)
	}
	if len(again) > 0 {
		slices.SortFunc(again, byToken)
		f.resend(again)
	}
	if expired {
		f.expire(dead)
		f.expired()
	}
}

// stall notes why p is not stored, if its time is over before that changes.
func (f *flights) stall(p *pending) {
	f.mu.Lock()
	p.stalled = true
	f.mu.Unlock()
}

// ticks is how many ticks d takes.
func (f *flights) ticks(d time.Duration) uint32 { return uint32((d + f.tick - 1) / f.tick) }

// expire completes those whose answer did not come in time.
func (f *flights) expire(dead uint32) {
	f.finishAll(
		func(p *pending) bool { return f.now-p.born > dead }, // no earlier now: some are born since
		func(p *pending, written bool) error {
			switch {
			case written, p.maybe:
				return ticketing.NewPublishError(ticketing.OutcomeUnknown, p.m, errNoAck)
			case p.stalled:
				return ticketing.NewPublishError(ticketing.OutcomeNotSent, p.m, errNoLeader)
			}
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, p.m, errNotWritten)
		})
}

// stop ends the ticking, once the table is empty for good.
func (f *flights) stop() { f.timer.Stop() }

// issued returns the token that comes next: all open ones are below it.
func (f *flights) issued() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}
