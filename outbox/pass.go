package outbox

import (
	"context"
	"hash/maphash"
	"time"
)

// pass is one look at the pending rows, from the lowest to the highest. A
// short one is a single read. A long one is bounded by a [Horizon] and goes on
// where the read before it ended; it is given up after longestPass, so that
// rows that committed late behind it are found.
type pass struct {
	fetching bool
	fetched  chan fetched
	noted    []books // settled during the read

	woken    bool // something may be new
	reading  bool // in the middle of a pass
	long     bool // the last one was
	horizon  Horizon
	after    int64
	began    time.Time
	admitted int
	reads    int
	spent    time.Duration // with them
	back     bool          // the read is for rows that were left out

	// Rows that wait for a stalled subject and for which there is no place,
	// and those whose key is closed. Later ones of their keys must not overtake
	// them in this pass.
	skipped map[uint64]struct{}
	left    left
	seed    maphash.Seed

	lastRead  time.Time
	lastLook  time.Time     // the last read that was not for rows that were left out
	took      time.Duration // that one
	found     int           // admitted of it
	lastFound time.Time
	rowSize   int // of late
	failures  int
	notBefore time.Time
}

type fetched struct {
	items   []*item
	horizon Horizon
	last    int64 // the highest sequence number that was read
	bytes   int
	more    bool // there are more rows within the bounds
	took    time.Duration
	err     error
}

const (
	// longestPass bounds how long a row that committed late has to wait, where
	// the pass finds something: otherwise it goes on to its end.
	longestPass = 5 * time.Second
	// outageAfter is how long the broker has taken nothing in an outage.
	outageAfter = time.Second
	// outagePace is how often rows are read ahead in an outage: there may be
	// other subjects behind those that the broker does not take.
	outagePace = 250 * time.Millisecond
	// maxSkipped bounds the keys that a pass remembers.
	maxSkipped = 200_000
	// wakePace is the least time between two passes, and busyPace while rows of
	// the last one are not noted down: they would be read again.
	wakePace = time.Millisecond
	busyPace = 10 * time.Millisecond
	// rowOverhead is about what a row takes in memory besides its payload.
	rowOverhead = 512
)

// batch is how many rows one read is to bring.
func (t *term) batch() int { return max(t.r.o.MaxRows/4, 1) }

// room is how many rows a read may bring now; zero: it has to wait.
func (t *term) room() int {
	o := &t.r.o
	n := min(t.batch(), o.MaxRows-len(t.held))
	if t.pass.rowSize > 0 {
		n = min(n, max((o.MaxBytes-t.queue.bytes)/t.pass.rowSize, 1))
	}
	switch {
	case len(t.held) == 0:
		return max(n, 1)
	case t.queue.bytes >= o.MaxBytes, n <= 0, n < t.batch()/4 && o.MaxRows-len(t.held) == n:
		return 0
	}
	return n
}

// outage reports whether the broker takes nothing, and how often to read ahead
// then.
func (t *term) outage(now time.Time) (pace time.Duration, out bool) {
	if t.queue.stalled == 0 || t.lastOK.After(t.lastFail) || now.Sub(t.lastOK) < outageAfter {
		return 0, false
	}
	if t.refused { // other subjects may do: a fifth of the time
		return max(4*t.pass.took, 10*time.Millisecond), true
	}
	return outagePace, true
}

// fetchAt is when the next read is due; zero: not now.
func (t *term) fetchAt(now time.Time) time.Time {
	p := &t.pass
	enough := t.enough()
	if p.fetching || enough && !t.narrow() || t.room() == 0 {
		return time.Time{}
	}
	var at time.Time
	pace, out := t.outage(now)
	switch {
	case out && p.reading:
		at = p.lastRead.Add(pace)
	case out:
		at = p.lastRead.Add(max(outagePace, 10*p.spent))
	case t.hungry():
		at = p.lastRead.Add(wakePace)
		if len(p.skipped) > 0 && !p.canGoBack(now) {
			at = later(at, p.lastRead.Add(p.spent))
		}
	case p.reading && (enough || len(p.left.keys) > 0) && p.found == 0:
		at = p.lastLook.Add(rest(p.took))
	case p.reading:
		at = now
	default:
		at = p.lastRead.Add(t.pollPause(now))
		if p.woken {
			at = p.lastRead.Add(wakePace)
		}
		if busy := p.lastRead.Add(busyPace); len(t.held) > 0 && busy.After(at) {
			at = busy
		}
		if len(p.skipped) > 0 { // half the time at most
			at = later(at, p.lastRead.Add(p.spent))
		}
		if enough {
			at = later(at, p.lastRead.Add(rest(p.spent)))
		}
	}
	if p.notBefore.After(at) {
		at = p.notBefore
	}
	return at
}

// pollPause follows the time since something was found.
func (t *term) pollPause(now time.Time) time.Duration {
	return min(max(now.Sub(t.pass.lastFound)/20, t.r.o.MinPoll), t.r.o.MaxPoll)
}

// fetch starts a read, if one is due. It reports whether it is done already.
func (t *term) fetch(work context.Context, now time.Time) (done bool) {
	p := &t.pass
	at := t.fetchAt(now)
	if at.IsZero() || at.After(now) {
		return false
	}
	hungry := t.hungry()
	p.back = hungry && p.canGoBack(now)
	if !p.back && (hungry || !p.reading) {
		p.began, p.admitted, p.reads, p.spent, p.after, p.horizon = now, 0, 0, 0, 0, Horizon{}
		p.woken = false
		clear(p.skipped)
		p.left = nothingLeft()
		p.seed = maphash.MakeSeed()
	}
	q := Query{After: p.after, Horizon: p.horizon, Limit: t.room()}
	if p.back {
		q.After = p.left.from
	}
	if q.After == 0 {
		q.Limit += len(t.held) // it reads them again
	}
	ask := p.long && p.horizon == Horizon{}
	maxBytes := t.r.o.MaxBytes / 4
	bounded := func() (res fetched) {
		ctx, cancel := context.WithTimeout(work, callTimeout)
		defer cancel()
		begun := time.Now()
		res = read(ctx, t.r.store, q, ask, maxBytes)
		res.took = time.Since(begun)
		return res
	}
	if len(t.held) == 0 { // there is nothing else to do, and no time to lose
		if res := bounded(); work.Err() == nil { // otherwise the term is over, and it may have failed for that
			t.onFetched(res)
		}
		return true
	}
	p.fetching = true
	go func() { p.fetched <- bounded() }()
	return false
}

func read(ctx context.Context, s Store, q Query, ask bool, maxBytes int) (res fetched) {
	if ask {
		if q.Horizon, res.err = s.Horizon(ctx); res.err != nil {
			return res
		}
	}
	res.horizon = q.Horizon
	res.last = q.After
	for row, err := range s.Pending(ctx, q) {
		if err != nil {
			res.err = err
			return res
		}
		it := &item{Row: row}
		it.size = len(row.Message.Data) + len(row.Message.Key) + rowOverhead
		res.items = append(res.items, it)
		res.bytes += it.size
		res.last = row.Seq
		if res.bytes >= maxBytes {
			res.more = true
			return res
		}
	}
	res.more = len(res.items) == q.Limit
	return res
}

// onFetched takes in what a read brought.
func (t *term) onFetched(res fetched) {
	p, now := &t.pass, time.Now()
	p.fetching = false
	p.lastRead = now
	p.reads++
	p.spent += res.took
	if res.err != nil {
		p.failures++
		p.notBefore = now.Add(backoff(t.r.o.Backoff, t.r.o.MaxBackoff, p.failures))
		t.r.said.error(now, "read", "the outbox relay cannot read the table", res.err)
	} else {
		p.failures = 0
		before, admitted := p.left, p.admitted
		if p.back {
			p.left = nothingLeft()
		}
		for _, it := range res.items {
			t.admit(it, now)
		}
		found := p.admitted - admitted
		if found > 0 {
			p.lastFound = now
		}
		if len(res.items) > 0 {
			p.rowSize = max(res.bytes/len(res.items), 1)
		}
		if p.back && res.more {
			p.wentBack(before, res)
		} else {
			p.lastLook, p.took, p.found = now, res.took, found
			t.advancePass(res, now)
		}
	}
	for _, b := range p.noted {
		t.forget(b)
	}
	p.noted = nil
}

// advancePass decides how the pass goes on.
func (t *term) advancePass(res fetched, now time.Time) {
	p := &t.pass
	switch {
	case res.more && res.horizon == Horizon{}:
		// It is a long one: begin again, within bounds.
		p.long, p.reading, p.after, p.left = true, true, 0, nothingLeft()
	case res.more:
		p.reading, p.horizon, p.after = true, res.horizon, res.last
		if p.admitted > 0 && now.Sub(p.began) > longestPass || len(p.skipped)+len(p.left.keys) >= maxSkipped {
			p.reading, p.woken = false, true
		}
	default:
		p.reading = false
		if p.long { // what has come since has not been looked at
			p.woken = p.woken || p.admitted > 0
		}
		p.long = p.reads > 1 // one read may do for the next
	}
}

// admit takes a row in, unless it is in memory already or has to wait.
func (t *term) admit(it *item, now time.Time) {
	p := &t.pass
	key := it.Message.Key
	_, held := t.held[it.Ref()]
	if !it.Blocked && t.queue.closed(key) {
		// It may have been requeued before this read, and the key be opened
		// before the next one, which brings those behind it.
		t.skip(key)
		return
	}
	if held {
		return
	}
	var hash uint64
	if key != "" && len(p.skipped) > 0 {
		hash = maphash.String(p.seed, key)
		if _, skip := p.skipped[hash]; skip {
			return
		}
	}
	if t.leaveOut(it) {
		return
	}
	full := t.queue.stalled >= t.r.o.MaxRows/2 || t.queue.bytes >= t.r.o.MaxBytes/2
	if full && t.queue.stallable(&it.Row) {
		t.skip(key)
		return
	}
	t.held[it.Ref()] = struct{}{}
	if it.Blocked {
		t.queue.close(key)
		t.books.wait(it, now)
	} else {
		t.queue.add(it)
	}
	p.admitted++
}

// skip leaves a row for a later pass, with those of its key behind it.
func (t *term) skip(key string) {
	p := &t.pass
	if p.skipped == nil {
		p.skipped = make(map[uint64]struct{})
	}
	if key == "" {
		key = "\x00" // no key: what matters is that something was skipped
	}
	p.skipped[maphash.String(p.seed, key)] = struct{}{}
}

// spill makes room for events of other subjects, when those that wait for a
// stalled one have taken it: they are forgotten, and read again later.
func (t *term) spill() {
	most := t.r.o.MaxRows / 2
	if t.queue.stalled <= most*3/2 && (t.queue.bytes < t.r.o.MaxBytes || t.queue.stalled < t.queue.waiting/2) {
		return
	}
	for _, it := range t.queue.drop(min(t.queue.stalled/2, most)) {
		delete(t.held, it.Ref())
		t.skip(it.Message.Key)
	}
}
