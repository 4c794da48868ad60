package outbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ducnguyen96/ticketing-common"
)

func newItem(id, key string, subject ticketing.Subject) *item {
	return &item{Row: Row{Message: ticketing.Message{ID: id, Key: key, Subject: subject}}, size: 1}
}

// popAll pops what there is, and names it.
func popAll(q *queue, now time.Time) (items []*item, ids string) {
	var names []string
	for it := q.pop(now); it != nil; it = q.pop(now) {
		items = append(items, it)
		names = append(names, it.Message.ID)
	}
	return items, strings.Join(names, " ")
}

func TestTheHeadsOfAllKeysAreReady(t *testing.T) {
	q := newQueue(time.Second, time.Minute)
	for _, id := range []string{"a1", "a2", "b1", "-1", "-2", "b2", "a3"} {
		q.add(newItem(id, strings.Trim(id[:1], "-"), "s:s"))
	}
	now := time.Now()
	items, ids := popAll(q, now)
	if ids != "a1 b1 -1 -2" || q.waiting != 3 {
		t.Fatalf("%s, and %d wait", ids, q.waiting)
	}
	q.sent(items[0], now)
	q.sent(items[2], now)
	if _, ids = popAll(q, now); ids != "a2" {
		t.Errorf("after a1: %s", ids)
	}
	if q.bytes != 5 {
		t.Errorf("%d bytes, want 5", q.bytes)
	}
}

func TestAFailedSubjectIsProbedByOneEventAtATime(t *testing.T) {
	q := newQueue(time.Second, 4*time.Second)
	now := time.Now()
	for i := range 10 {
		q.add(newItem(fmt.Sprint("x", i), fmt.Sprint(i), "x:x"))
	}
	q.add(newItem("behind", "0", "y:y"))
	items, _ := popAll(q, now)
	for _, it := range items {
		q.failed(it, now)
	}
	if q.stalled != 11 || q.waiting != 11 {
		t.Fatalf("%d are stalled, %d wait, want 11", q.stalled, q.waiting)
	}
	q.add(newItem("y", "other", "y:y"))
	if _, ids := popAll(q, now); ids != "y" {
		t.Errorf("another subject: %q", ids)
	}
	if at := q.wakeAt(); at.Before(now.Add(800*time.Millisecond)) || at.After(now.Add(1200*time.Millisecond)) {
		t.Errorf("the first pause is %v, want a second", at.Sub(now))
	}
	for _, pause := range []time.Duration{2, 4, 4, 4} {
		now = q.wakeAt()
		probe, _ := popAll(q, now)
		if len(probe) != 1 || !q.wakeAt().IsZero() {
			t.Fatalf("%d probes", len(probe))
		}
		s := q.failed(probe[0], now)
		if d := s.until.Sub(now); d < pause*time.Second*4/5 || d > pause*time.Second*6/5 {
			t.Errorf("pause %v, want %ds", d, pause)
		}
	}
	now = q.wakeAt()
	probe, _ := popAll(q, now)
	if q.sent(probe[0], now) == nil {
		t.Error("the stall did not end")
	}
	// Those that were tried before wait for their own time at most.
	ready, _ := popAll(q, now.Add(time.Minute))
	if want := 9 + b2i(probe[0].Message.Key == "0"); len(ready) != want || q.stalled != 0 {
		t.Errorf("%d go on, want %d; %d are stalled", len(ready), want, q.stalled)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestAKeyIsClosedUntilAllOfItsRowsAreNotedDown(t *testing.T) {
	q := newQueue(time.Second, time.Minute)
	now := time.Now()
	q.add(newItem("a1", "a", "s:s"))
	q.add(newItem("a2", "a", "s:s"))
	q.add(newItem("b1", "b", "s:s"))
	items, _ := popAll(q, now)
	behind := q.park(items[0])
	if len(behind) != 1 || behind[0].Message.ID != "a2" || q.waiting != 0 || q.bytes != 1 {
		t.Errorf("%d behind, %d wait, %d bytes", len(behind), q.waiting, q.bytes)
	}
	q.close("a") // another row waits
	for i := range 3 {
		if !q.closed("a") || q.closed("b") || q.closed("c") {
			t.Errorf("after %d of 3 rows: a is closed: %v, b: %v, c: %v", i, q.closed("a"), q.closed("b"), q.closed("c"))
		}
		q.open("a")
	}
	if q.closed("a") || len(q.lanes) != 1 {
		t.Errorf("closed: %v, lanes: %v", q.closed("a"), q.lanes)
	}
	q.add(newItem("a3", "a", "s:s"))
	if _, ids := popAll(q, now); ids != "a3" {
		t.Errorf("%q may be sent", ids)
	}
}

func TestAKeyThatIsClosedStaysSoWhenItsLaneIsDone(t *testing.T) {
	q := newQueue(time.Second, time.Minute)
	now := time.Now()
	q.add(newItem("a1", "a", "s:s"))
	q.close("a")
	items, _ := popAll(q, now)
	q.sent(items[0], now)
	if !q.closed("a") {
		t.Error("it is open")
	}
}

func TestStalledRowsAreDroppedWithThoseBehindThem(t *testing.T) {
	q := newQueue(time.Second, time.Minute)
	now := time.Now()
	for i := range 40 {
		q.add(newItem(fmt.Sprint(i), fmt.Sprint(i%20), "x:x"))
	}
	items, _ := popAll(q, now)
	for _, it := range items {
		q.failed(it, now)
	}
	dropped := q.drop(10)
	if len(dropped) != 30 || q.stalled != 10 || q.waiting != 10 || q.bytes != 10 || len(q.lanes) != 5 {
		t.Errorf("%d dropped, %d stalled, %d wait, %d bytes, %d lanes", len(dropped), q.stalled, q.waiting, q.bytes, len(q.lanes))
	}
}

// Whatever happens, the counts are those of what is in the queue.
func TestTheCountsAreThoseOfTheRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(time.Second, time.Minute)
		now := time.Now()
		var flying []*item
		n := 0
		take := func(t *rapid.T) *item {
			if len(flying) == 0 {
				t.Skip("nothing is in flight")
			}
			i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
			it := flying[i]
			flying = slices.Delete(flying, i, i+1)
			return it
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				key := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "key")
				if q.closed(key) {
					t.Skip("its key is closed")
				}
				n++
				it := newItem(fmt.Sprint(n), key, rapid.SampledFrom([]ticketing.Subject{"x:x", "y:y"}).Draw(t, "subject"))
				it.size = n
				q.add(it)
			},
			"pop": func(*rapid.T) {
				if it := q.pop(now); it != nil {
					flying = append(flying, it)
				}
			},
			"unpop":  func(t *rapid.T) { q.unpop(take(t)) },
			"sent":   func(t *rapid.T) { q.sent(take(t), now) },
			"failed": func(t *rapid.T) { q.failed(take(t), now) },
			"park": func(t *rapid.T) {
				it := take(t)
				behind := q.park(it)
				for range behind {
					q.open(it.Message.Key)
				}
				if it.Message.Key != "" {
					q.open(it.Message.Key)
				}
			},
			"drop":  func(t *rapid.T) { q.drop(rapid.IntRange(0, q.stalled).Draw(t, "keep")) },
			"later": func(*rapid.T) { now = now.Add(10 * time.Second) },
			"": func(t *rapid.T) {
				behind, behindBytes, stalled, waiting := 0, 0, 0, q.ready.len()+len(q.delayed)
				for _, l := range q.lanes {
					rows, bytes := 0, 0
					for it := l.head; it != nil; it = it.next {
						rows++
						bytes += it.size
					}
					switch {
					case rows != l.rows || bytes != l.bytes:
						t.Fatalf("a lane has %d rows of %d bytes, and counts %d of %d", rows, bytes, l.rows, l.bytes)
					case l.head == nil:
					case l.stalled:
						stalled += rows
					default:
						behind += rows - 1
						behindBytes += bytes - l.head.size
					}
				}
				for _, s := range q.stalls {
					for _, it := range s.items {
						if it.lane == nil {
							stalled++
						}
					}
				}
				if waiting += behind + stalled; q.behind != behind || q.stalled != stalled || q.waiting != waiting {
					t.Fatalf("behind %d, stalled %d, waiting %d; want %d, %d, %d", q.behind, q.stalled, q.waiting, behind, stalled, waiting)
				}
				if q.behindBytes != behindBytes {
					t.Fatalf("%d bytes behind, want %d", q.behindBytes, behindBytes)
				}
			},
		})
	})
}

func TestTheMeterCountsTheLastSeconds(t *testing.T) {
	var m meter
	now := time.Unix(1_000_000, 0)
	for i := range 20 {
		m.add(now.Add(time.Duration(i)*time.Second), 10)
	}
	if got := m.perSecond(now.Add(19 * time.Second)); got != 10 {
		t.Errorf("%v a second, want 10", got)
	}
	if got := m.perSecond(now.Add(24 * time.Second)); got != 5 {
		t.Errorf("five seconds later %v a second, want 5", got)
	}
	if got := m.perSecond(now.Add(time.Hour)); got != 0 {
		t.Errorf("an hour later %v a second", got)
	}
}

func TestTheFifoReusesItsMemory(t *testing.T) {
	var f fifo
	for i := range 10_000 {
		f.push(newItem(fmt.Sprint(i), "", "s:s"))
		f.push(newItem("second", "", "s:s"))
		if f.pop() == nil {
			t.Fatal("empty")
		}
	}
	for range 10_000 {
		f.pop()
	}
	if f.len() != 0 || f.pop() != nil {
		t.Error("not empty")
	}
	for range 10_000 {
		f.push(newItem("", "", "s:s"))
		f.pop()
	}
	if cap(f.items) > 40_000 {
		t.Errorf("room for %d", cap(f.items))
	}
}
