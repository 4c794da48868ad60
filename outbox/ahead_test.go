package outbox

import (
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// aTerm is one that has read before, and left rows out.
func aTerm(now time.Time, behind int) *term {
	r := NewRelay(struct{ Store }{}, struct{ ticketing.Sender }{}, &RelayOptions{MaxRows: 800})
	t := newTerm(r, newLease(nil, Lease{}, time.Minute, now), nil)
	t.pass.leftOut, t.pass.lastRead, t.pass.took = true, now, 5*time.Millisecond
	t.pass.began, t.pass.long = now, true
	t.queue.behind, t.queue.waiting = behind, behind
	return t
}

func TestRowsThatWereLeftOutAreReadWhenMostOfTheirShareIsUsed(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		behind int
		change func(*pass)
		want   time.Duration
	}{
		{"memory is full of them", 400, nil, DefaultMaxPoll},
		{"a quarter is left", 200, nil, DefaultMaxPoll},
		{"less is left", 199, nil, wakePace},
		{"none were left out", 0, func(p *pass) { p.leftOut = false }, DefaultMaxPoll},
		{"the pass looks ahead and finds nothing", 400, func(p *pass) { p.reading = true }, 20 * time.Millisecond},
		{"it has found something", 400, func(p *pass) { p.reading, p.found = true, 1 }, 0},
		{"it leaves nothing out", 400, func(p *pass) { p.reading, p.leftOut = true, false }, 0},
	} {
		tm := aTerm(now, test.behind)
		if test.change != nil {
			test.change(&tm.pass)
		}
		if got := tm.fetchAt(now).Sub(now); got != test.want {
			t.Errorf("%s: the next read is in %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAPassThatLooksAheadIsGivenUpForRowsThatWereLeftOut(t *testing.T) {
	now := time.Now()
	for behind, goesOn := range map[int]bool{400: true, 200: true, 199: false} {
		tm := aTerm(now, behind)
		tm.advancePass(fetched{more: true, last: 7, horizon: Horizon{Last: 9, Generation: 1}}, now)
		if p := tm.pass; p.reading != goesOn || p.woken == goesOn {
			t.Errorf("with %d rows behind others: reading %v, woken %v", behind, p.reading, p.woken)
		}
	}
}

func TestALookAheadIsForFewEventsThatGoOn(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		inFlight, ready, window int
		reads                   bool
	}{
		{1, 0, 1024, true},
		{8, 7, 1024, true},
		{8, 8, 1024, false},
		{0, 16, 1024, false},
		{3, 0, 4, true},
		{4, 0, 4, false}, // the window is full
	} {
		tm := aTerm(now, 400)
		tm.pass.reading = true
		tm.r.o.Window = test.window
		tm.inFlight = test.inFlight
		tm.queue.waiting += test.ready
		if got := !tm.fetchAt(now).IsZero(); got != test.reads {
			t.Errorf("%d in flight of %d and %d ready: it reads ahead: %v", test.inFlight, test.window, test.ready, got)
		}
	}
}
