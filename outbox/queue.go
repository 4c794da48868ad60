package outbox

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// item is a row in memory.
type item struct {
	Row
	size     int
	lane     *lane // nil: it has no key
	next     *item // behind it in the lane
	attempts int
	due      time.Time // not to be sent before
}

// lane is the rows of one key that are in memory. Its head is ready, in flight,
// delayed or stalled; the others wait for it.
type lane struct {
	head, tail *item
	rows       int
	bytes      int  // of the rows
	stalled    bool // the head is in a stall
	// closed counts the rows of the key that are parked or have to wait, and
	// that the store does not know of yet. Until it does, no other is taken in:
	// it could overtake them.
	closed int
}

// stall is a subject that the broker does not take now. One probe at a time
// finds out when it does.
type stall struct {
	failures int
	until    time.Time
	since    time.Time
	probe    *item
	items    []*item
}

// queue is the rows in memory, and which of them may be sent. It belongs to
// one goroutine.
type queue struct {
	backoff, maxBackoff time.Duration

	lanes   map[string]*lane
	ready   fifo
	delayed delays
	stalls  map[ticketing.Subject]*stall

	waiting     int // rows that are not in flight
	stalled     int // those of them whose lane's head, or which themselves, are in a stall
	behind      int // the others of them that wait for one of their key
	behindBytes int
	bytes       int // of all
}

func newQueue(backoff, maxBackoff time.Duration) *queue {
	return &queue{
		backoff: backoff, maxBackoff: maxBackoff,
		lanes:  make(map[string]*lane),
		stalls: make(map[ticketing.Subject]*stall),
	}
}

// add takes a row in, behind those of its key, which is not closed.
func (q *queue) add(it *item) {
	if key := it.Message.Key; key != "" {
		l := q.lanes[key]
		if l == nil {
			l = &lane{head: it}
			q.lanes[key] = l
			q.ready.push(it)
		} else {
			q.count(l, -1)
			l.tail.next = it
		}
		l.tail = it
		l.rows++
		l.bytes += it.size
		it.lane = l
		q.count(l, 1)
	} else {
		q.ready.push(it)
	}
	q.waiting++
	q.bytes += it.size
}

// count adds a lane's rows to the counts, or takes them out: before and after
// something about the lane changes.
func (q *queue) count(l *lane, sign int) {
	switch {
	case l.head == nil:
	case l.stalled:
		q.stalled += sign * l.rows
	default:
		q.behind += sign * (l.rows - 1)
		q.behindBytes += sign * (l.bytes - l.head.size)
	}
}

// closed reports whether rows of the key may not be taken in.
func (q *queue) closed(key string) bool {
	l := q.lanes[key]
	return l != nil && l.closed > 0
}

// close keeps rows of the key out, until it was opened as often.
func (q *queue) close(key string) {
	l := q.lanes[key]
	if l == nil {
		l = new(lane)
		q.lanes[key] = l
	}
	l.closed++
}

// open undoes one close.
func (q *queue) open(key string) {
	l := q.lanes[key]
	l.closed--
	q.forget(key, l)
}

// forget lets go of a lane in which nothing is left.
func (q *queue) forget(key string, l *lane) {
	if l.head == nil && l.closed == 0 {
		delete(q.lanes, key)
	}
}

// empty takes all rows out of a lane.
func (q *queue) empty(l *lane) {
	q.count(l, -1)
	l.head, l.tail, l.rows, l.bytes = nil, nil, 0, 0
}

// stallable reports whether a row would wait in, or behind, a stall.
func (q *queue) stallable(r *Row) bool {
	if q.stalls[r.Message.Subject] != nil {
		return true
	}
	l := q.lanes[r.Message.Key]
	return l != nil && l.stalled
}

// pop returns a row that may be sent now, or nil.
func (q *queue) pop(now time.Time) *item {
	for len(q.delayed) > 0 && !q.delayed[0].due.After(now) {
		q.ready.push(heap.Pop(&q.delayed).(*item))
	}
	for _, s := range q.stalls {
		if s.probe == nil && len(s.items) > 0 && !s.until.After(now) {
			s.probe = s.items[0]
			s.items = s.items[1:]
			q.leave(s.probe)
			q.waiting--
			return s.probe
		}
	}
	for {
		it := q.ready.pop()
		if it == nil {
			return nil
		}
		if s := q.stalls[it.Message.Subject]; s != nil {
			if s.probe != nil || s.until.After(now) {
				q.enter(s, it)
				continue
			}
			s.probe = it
		}
		q.waiting--
		return it
	}
}

// unpop takes back a row that was not sent after all.
func (q *queue) unpop(it *item) {
	if s := q.stalls[it.Message.Subject]; s != nil && s.probe == it {
		s.probe = nil
	}
	q.waiting++
	q.ready.push(it)
}

func (q *queue) enter(s *stall, it *item) {
	s.items = append(s.items, it)
	if l := it.lane; l != nil {
		q.count(l, -1)
		l.stalled = true
		q.count(l, 1)
		return
	}
	q.stalled++
}

func (q *queue) leave(it *item) {
	if l := it.lane; l != nil {
		q.count(l, -1)
		l.stalled = false
		q.count(l, 1)
		return
	}
	q.stalled--
}

// sent removes a row that the broker has. If its subject was stalled it goes
// on, and the stall is returned.
func (q *queue) sent(it *item, now time.Time) *stall {
	q.bytes -= it.size
	q.advance(it)
	s := q.stalls[it.Message.Subject]
	if s == nil {
		return nil
	}
	delete(q.stalls, it.Message.Subject)
	for _, other := range s.items {
		q.leave(other)
		if other.due.After(now) {
			heap.Push(&q.delayed, other)
		} else {
			q.ready.push(other)
		}
	}
	return s
}

// advance lets the next row of its key go.
func (q *queue) advance(it *item) {
	l := it.lane
	if l == nil {
		return
	}
	q.count(l, -1)
	l.rows--
	l.bytes -= it.size
	l.head = it.next
	q.count(l, 1)
	if l.head == nil {
		q.forget(it.Message.Key, l)
		return
	}
	q.ready.push(l.head)
}

// failed takes back a row that the broker did not take, and stalls its
// subject.
func (q *queue) failed(it *item, now time.Time) *stall {
	it.attempts++
	it.due = now.Add(q.pause(it.attempts))
	s := q.stalls[it.Message.Subject]
	switch {
	case s == nil:
		s = &stall{failures: 1, since: now, until: now.Add(q.pause(1))}
		q.stalls[it.Message.Subject] = s
	case s.probe == it:
		s.probe = nil
		s.failures++
		s.until = now.Add(q.pause(s.failures))
	}
	q.waiting++
	q.enter(s, it)
	return s
}

// park removes a row that is refused by its own fault, and returns those that
// have to wait behind it. Their key is closed once for each.
func (q *queue) park(it *item) (behind []*item) {
	if s := q.stalls[it.Message.Subject]; s != nil && s.probe == it {
		s.probe = nil
	}
	q.bytes -= it.size
	l := it.lane
	if l == nil {
		return nil
	}
	for b := it.next; b != nil; b = b.next {
		q.waiting--
		q.bytes -= b.size
		behind = append(behind, b)
	}
	q.empty(l)
	l.closed += 1 + len(behind)
	return behind
}

// drop forgets stalled rows until at most keep are left, with those of their
// keys, and returns them.
func (q *queue) drop(keep int) (dropped []*item) {
	for _, s := range q.stalls {
		for len(s.items) > 1 && q.stalled > keep {
			it := s.items[len(s.items)-1]
			s.items = s.items[:len(s.items)-1]
			q.leave(it)
			if l := it.lane; l != nil {
				q.empty(l)
				q.forget(it.Message.Key, l)
			}
			for ; it != nil; it = it.next {
				q.waiting--
				q.bytes -= it.size
				dropped = append(dropped, it)
			}
		}
	}
	return dropped
}

// wakeAt is when pop will have something that it has not now; zero: unknown.
func (q *queue) wakeAt() (at time.Time) {
	if len(q.delayed) > 0 {
		at = q.delayed[0].due
	}
	for _, s := range q.stalls {
		if s.probe == nil && len(s.items) > 0 {
			at = sooner(at, s.until)
		}
	}
	return at
}

// pause is exponential, with a fifth of jitter.
func (q *queue) pause(failures int) time.Duration {
	return backoff(q.backoff, q.maxBackoff, failures)
}

func backoff(first, most time.Duration, failures int) time.Duration {
	d := first
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d - d/5 + rand.N(2*d/5+1)
}

// sooner is the earlier of two times, of which zero means none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// fifo is a queue that reuses its memory.
type fifo struct {
	items []*item
	first int
}

func (f *fifo) push(it *item) {
	if f.first > 64 && f.first*2 > len(f.items) {
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	f.items = append(f.items, it)
}

func (f *fifo) pop() *item {
	if f.first == len(f.items) {
		f.items, f.first = f.items[:0], 0
		return nil
	}
	it := f.items[f.first]
	f.items[f.first] = nil
	f.first++
	return it
}

func (f *fifo) len() int { return len(f.items) - f.first }

// delays is a heap of rows by when they are due.
type delays []*item

func (d delays) Len() int           { return len(d) }
func (d delays) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d delays) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *delays) Push(x any)        { *d = append(*d, x.(*item)) }
func (d *delays) Pop() any {
	last := len(*d) - 1
	it := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return it
}
