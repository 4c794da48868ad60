package main

import (
	"errors"
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// outcome is what a publisher was told.
type outcome uint8

const (
	pending outcome = iota // nothing yet
	acknowledged
	notSent // not sent, or busy: surely not stored
	rejected
	unknown
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return acknowledged
	case errors.Is(err, ticketing.ErrNotSent), errors.Is(err, ticketing.ErrBusy):
		return notSent
	case errors.Is(err, ticketing.ErrRejected):
		return rejected
	default:
		return unknown
	}
}

// ledger is all that the clients did and saw. Its methods may be called
// concurrently.
type ledger struct {
	mu        sync.Mutex
	published [][]outcome // by publisher and N
	rejection error       // the first
	groups    map[string]*group
	ended     []error // of Listens that were not to end
	late      int     // publishes that took longer than their bound

	lastAck time.Time
	gap     time.Duration // the longest without an acknowledgement
}

// group is what a group of listeners handled.
type group struct {
	members int
	handled [][]uint16        // how often, by publisher and N
	last    map[string]uint64 // sequence, by key

	// Handled after one of their key that is stored later: at another delivery, as when a
	// connection was lost with them under way, or at the first.
	reordered, reorderedAtFirst int
}

func newLedger() *ledger { return &ledger{groups: make(map[string]*group)} }

func (l *ledger) addPublisher() (publisher int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = append(l.published, nil)
	return len(l.published) - 1
}

func (l *ledger) addMember(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[name]
	if g == nil {
		g = &group{last: make(map[string]uint64)}
		l.groups[name] = g
	}
	g.members++
}

// begin makes the next entry of a publisher.
func (l *ledger) begin(publisher int) Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published[publisher] = append(l.published[publisher], pending)
	return Entry{publisher, len(l.published[publisher]) - 1}
}

// finish records the outcome of a publish, and whether it took too long.
func (l *ledger) finish(e Entry, err error, late bool) {
	o := outcomeOf(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published[e.Publisher][e.N] = o
	if late {
		l.late++
	}
	switch o {
	case acknowledged:
		now := time.Now()
		if !l.lastAck.IsZero() {
			l.gap = max(l.gap, now.Sub(l.lastAck))
		}
		l.lastAck = now
	case rejected:
		if l.rejection == nil {
			l.rejection = err
		}
	}
}

// handle records that e, which is stored at that sequence, was handled at an
// attempt.
func (l *ledger) handle(name string, e Entry, sequence uint64, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[name]
	for len(g.handled) <= e.Publisher {
		g.handled = append(g.handled, nil)
	}
	seen := g.handled[e.Publisher]
	for len(seen) <= e.N {
		seen = append(seen, 0)
	}
	g.handled[e.Publisher] = seen
	seen[e.N]++
	if seen[e.N] > 1 {
		return // again, which is allowed at any time
	}
	switch {
	case sequence > g.last[e.Key()]:
		g.last[e.Key()] = sequence
	case attempt == 1:
		g.reorderedAtFirst++
	default:
		g.reordered++
	}
}

// times returns how often a group handled e. It is called with mu.
func (g *group) times(e Entry) uint16 {
	if e.Publisher >= len(g.handled) || e.N >= len(g.handled[e.Publisher]) {
		return 0
	}
	return g.handled[e.Publisher][e.N]
}

// listenEnded records a Listen that returned while it was to go on.
func (l *ledger) listenEnded(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, err)
}

// missing counts the entries that a group has not handled, over all groups.
func (l *ledger) missing(stored []Entry) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, g := range l.groups {
		for _, e := range stored {
			if g.times(e) == 0 {
				n++
			}
		}
	}
	return n
}
