package outbox

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// ahead is a term whose pass has left out the rows behind number 4, with so many
// rows in memory that wait for others.
func ahead(now time.Time, behind int) *term {
	r := NewRelay(struct{ Store }{}, struct{ ticketing.Sender }{}, &RelayOptions{MaxRows: 800, MaxBytes: 1 << 20})
	t := newTerm(r, newLease(nil, Lease{}, time.Minute, now), nil)
	p := &t.pass
	p.left = nothingLeft()
	p.left.add(1, 9)
	p.left.add(2, 5)
	p.began, p.lastRead, p.lastLook, p.took, p.spent, p.long = now, now, now, 5*time.Millisecond, 10*time.Millisecond, true
	p.seed = maphash.MakeSeed()
	p.horizon, p.after = Horizon{Last: 1000, Generation: 1}, 500
	t.queue.behind, t.queue.waiting = behind, behind
	return t
}

func TestALookAheadRestsAndRowsThatWereLeftOutDoNotWaitForIt(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		behind int
		change func(*term)
		want   time.Duration
	}{
		{"memory is half full of the key", 400, nil, DefaultMaxPoll},
		{"a quarter is left", 200, nil, DefaultMaxPoll},
		{"less is left", 199, nil, wakePace},
		{"less is left, in a pass", 199, func(t *term) { t.pass.reading = true }, wakePace},
		{"less is left, and the pass is too old", 199, func(t *term) { t.pass.began = now.Add(-longestPass) }, wakePace},
		{"the pass has skipped rows, too", 199, func(t *term) {
			t.pass.began, t.pass.skipped = now.Add(-longestPass), map[uint64]struct{}{7: {}}
		}, 10 * time.Millisecond},
		{"none were left out", 0, func(t *term) { t.pass.left = nothingLeft() }, DefaultMaxPoll},

		{"a pass has found nothing", 400, func(t *term) { t.pass.reading = true }, 20 * time.Millisecond},
		{"reads are slow", 400, func(t *term) { t.pass.reading, t.pass.took = true, time.Minute }, maxRest},
		{"memory has enough of others", 100, func(t *term) { t.pass.reading = true; t.pass.left = nothingLeft() }, 20 * time.Millisecond},
		{"memory has enough bytes of others", 99, func(t *term) {
			t.pass.reading, t.pass.left, t.queue.behindBytes = true, nothingLeft(), 1<<18
		}, 20 * time.Millisecond},
		{"memory has less", 99, func(t *term) {
			t.pass.reading, t.pass.left, t.queue.behindBytes = true, nothingLeft(), 1<<18-1
		}, 0},
		{"a pass has found something", 400, func(t *term) { t.pass.reading, t.pass.found = true, 1 }, 0},
		{"a pass has left nothing out", 99, func(t *term) { t.pass.reading = true; t.pass.left = nothingLeft() }, 0},

		{"something is new, and memory has enough", 400, func(t *term) { t.pass.woken = true }, 40 * time.Millisecond},
		{"something is new, and memory has not", 99, func(t *term) { t.pass.woken = true; t.pass.left = nothingLeft() }, wakePace},
	} {
		tm := ahead(now, test.behind)
		if test.change != nil {
			test.change(tm)
		}
		if got := tm.fetchAt(now).Sub(now); got != test.want {
			t.Errorf("%s: the next read is in %v, want %v", test.name, got, test.want)
		}
	}
}

// table has pending rows, and notes down the queries.
type table struct {
	Store
	rows    []Row
	queries []Query
	err     error // ends the reads
}

func (s *table) Horizon(context.Context) (Horizon, error) {
	return Horizon{Last: s.rows[len(s.rows)-1].Seq, Generation: 1}, nil
}

func (s *table) Pending(_ context.Context, q Query) iter.Seq2[Row, error] {
	s.queries = append(s.queries, q)
	return func(yield func(Row, error) bool) {
		if s.err != nil {
			yield(Row{}, s.err)
			return
		}
		n := 0
		for _, r := range s.rows {
			if r.Seq <= q.After || r.Seq > q.Last() {
				continue
			}
			if n == q.Limit || !yield(r, nil) {
				return
			}
			n++
		}
	}
}

// One key has all rows but each hundredth.
func TestAPassGoesBackForRowsThatItLeftOutAndThenOnWhereItWas(t *testing.T) {
	s := &table{}
	for i := range int64(1000) {
		key := "hot"
		if i%100 == 99 {
			key = fmt.Sprint(i)
		}
		s.rows = append(s.rows, Row{Seq: i + 1, Message: ticketing.Message{ID: fmt.Sprint(i), Key: key, Subject: "s:s"}})
	}
	r := NewRelay(s, struct{ ticketing.Sender }{}, &RelayOptions{MaxRows: 80, Logger: slog.New(slog.DiscardHandler)})
	now := time.Now()
	tm := newTerm(r, newLease(nil, Lease{}, time.Minute, now), nil)
	read := func() Query {
		t.Helper()
		now = now.Add(time.Hour) // whatever the clock does
		n := len(s.queries)
		tm.pass.began = now // however long it takes
		if tm.fetch(t.Context(), now); tm.pass.fetching {
			tm.onFetched(<-tm.pass.fetched)
		}
		if len(s.queries) != n+1 {
			t.Fatalf("%d reads at once, want 1", len(s.queries)-n)
		}
		return s.queries[n]
	}
	handled := func(n int) {
		for range n {
			items, _ := popAll(tm.queue, now)
			for _, it := range items {
				delete(tm.held, it.Ref())
				tm.queue.sent(it, now)
				s.rows = slices.DeleteFunc(s.rows, func(r Row) bool { return r.Seq == it.Seq })
			}
		}
	}
	rows := func() int { return tm.queue.lanes["hot"].rows }

	for range 6 { // the first one finds out that the pass is a long one
		read()
	}
	full := rows()
	if full < 40 || full > 60 || tm.queue.lanes["99"] == nil {
		t.Fatalf("%d rows of the key in memory, and behind them %v", full, tm.queue.lanes)
	}
	at := tm.pass.after
	if q := read(); q.After != at || rows() != full {
		t.Errorf("the pass was at %d and reads behind %d; then %d rows, before %d", at, q.After, rows(), full)
	}
	at = tm.pass.after
	handled(full - 10)
	first := s.rows[10].Seq // which is not in memory
	s.err = errors.New("no rows today")
	read() // it fails, and changes nothing
	s.err = nil
	if q := read(); q.After != first-1 || rows() <= 20 {
		t.Errorf("with 10 rows left it reads behind %d, want %d; then it has %d", q.After, first-1, rows())
	}
	for rows() < 40 && tm.hungry() {
		read()
	}
	if q := read(); q.After != at {
		t.Errorf("then it reads behind %d, want %d, where the pass was", q.After, at)
	}
	// To the end, in order.
	last := int64(0)
	for len(s.rows) > 0 {
		items, _ := popAll(tm.queue, now)
		for _, it := range items {
			if it.Message.Key == "hot" {
				if it.Seq <= last {
					t.Fatalf("%d after %d", it.Seq, last)
				}
				last = it.Seq
			}
			delete(tm.held, it.Ref())
			tm.queue.sent(it, now)
			s.rows = slices.DeleteFunc(s.rows, func(r Row) bool { return r.Seq == it.Seq })
		}
		if len(items) == 0 {
			read()
		}
	}
	if last != 999 {
		t.Errorf("the last row of the key was %d, want 999", last)
	}
}

func TestAPassGoesBackWhileItIsYoungAndBounded(t *testing.T) {
	now := time.Now()
	tm := ahead(now, 0)
	if !tm.pass.canGoBack(now) {
		t.Error("it does not")
	}
	if tm.pass.canGoBack(now.Add(longestPass)) {
		t.Error("an old pass goes on, and what committed late is not seen")
	}
	tm.pass.horizon = Horizon{}
	if tm.pass.canGoBack(now) {
		t.Error("a pass without bounds goes on")
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
		tm := ahead(now, 400)
		tm.pass.reading = true
		tm.r.o.Window = test.window
		tm.inFlight = test.inFlight
		tm.queue.waiting += test.ready
		if got := !tm.fetchAt(now).IsZero(); got != test.reads {
			t.Errorf("%d in flight of %d and %d ready: it reads ahead: %v", test.inFlight, test.window, test.ready, got)
		}
	}
}

// What waits for a stalled subject has its own bounds, and is no reason to leave
// out rows of others, nor is what is on its way.
func TestRowsAreLeftOutWhereRowsOfTheirKeyFillTheMemory(t *testing.T) {
	now := time.Now()
	fill := func(tm *term, key string, rows, size int) {
		for i := range rows {
			it := newItem(fmt.Sprint(key, i), key, "s:s")
			it.size = size
			tm.queue.add(it)
		}
	}
	stallAll := func(tm *term) {
		items, _ := popAll(tm.queue, now)
		for _, it := range items {
			tm.queue.failed(it, now)
		}
	}
	for _, test := range []struct {
		name    string
		fill    func(*term)
		leftOut bool
	}{
		{"half of the rows", func(tm *term) { fill(tm, "hot", 401, 1) }, true},
		{"a little less", func(tm *term) { fill(tm, "hot", 400, 1) }, false},
		{"half of the bytes", func(tm *term) { fill(tm, "hot", 5, 1<<17) }, true},
		{"a little less of them", func(tm *term) { fill(tm, "hot", 4, 1<<17) }, false},
		{"rows of another", func(tm *term) { fill(tm, "other", 500, 1) }, false},
		{"rows of another, with its share", func(tm *term) { fill(tm, "other", 500, 1); fill(tm, "hot", 12, 1) }, true},
		{"rows of another, with less", func(tm *term) { fill(tm, "other", 500, 1); fill(tm, "hot", 11, 1) }, false},
		{"rows of another, with its share of bytes", func(tm *term) { fill(tm, "other", 500, 1); fill(tm, "hot", 1, 1<<14) }, true},
		{"its own subject is stalled", func(tm *term) { fill(tm, "hot", 500, 1); stallAll(tm) }, false},
		{"another's is", func(tm *term) { fill(tm, "other", 500, 1<<12); stallAll(tm); fill(tm, "hot", 150, 1) }, false},
		{"another's is, and half of the rest", func(tm *term) { fill(tm, "other", 500, 1); stallAll(tm); fill(tm, "hot", 151, 1) }, true},
		{"rows without a key", func(tm *term) { fill(tm, "", 700, 1<<12); fill(tm, "hot", 100, 1) }, false},
	} {
		tm := ahead(now, 0)
		tm.pass.left = nothingLeft()
		test.fill(tm)
		it := newItem("next", "hot", "s:s")
		it.Seq = 77
		if got := tm.leaveOut(it); got != test.leftOut {
			t.Errorf("%s: left out: %v", test.name, got)
		} else if got && tm.pass.left.from != 76 {
			t.Errorf("%s: the pass goes back to %d, want 76", test.name, tm.pass.left.from)
		}
		popAll(tm.queue, now)
		tm.queue.behind, tm.queue.behindBytes = 0, 0
		if got := tm.leaveOut(newItem("successor", "hot", "s:s")); got != test.leftOut {
			t.Errorf("%s: a successor is left out: %v", test.name, got)
		}
		if tm.leaveOut(newItem("keyless", "", "s:s")) {
			t.Errorf("%s: a row without a key is left out", test.name)
		}
	}
}
