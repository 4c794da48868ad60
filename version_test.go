package ticketing_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestTheNextVersionIsTheOneAfterTheStored(t *testing.T) {
	const next, applied, early = "next", "applied", "early"
	for _, test := range []struct {
		stored, incoming int
		want             string
	}{
		{-1, 0, next}, {0, 1, next}, {41, 42, next}, {math.MaxInt - 1, math.MaxInt, next},
		{0, 0, applied}, {5, 4, applied}, {0, -1, applied}, {math.MaxInt, math.MinInt, applied},
		{-1, 1, early}, {3, 5, early}, {math.MinInt, math.MaxInt, early},
	} {
		err := ticketing.NextVersion(test.stored, test.incoming)
		got := early
		switch {
		case err == nil:
			got = next
		case errors.Is(err, ticketing.ErrApplied):
			got = applied
		}
		if got != test.want {
			t.Errorf("version %d after %d is %s (%v), want %s", test.incoming, test.stored, got, err, test.want)
		}
	}
	if got, want := ticketing.NextVersion(3, 6).Error(), "version 6 is early: version 4 is missing, and the stored version is 3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := ticketing.NextVersion(3, 2).Error(), "version 2: already applied: the stored version is 3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// copies is what several processes share: the version of each key, and the
// order in which versions were applied.
type copies struct {
	mu      sync.Mutex
	applied map[string][]int
}

func newCopies() *copies { return &copies{applied: make(map[string][]int)} }

// apply is a handler. The first version of a key is 1.
func (c *copies) apply(_ context.Context, d *ticketing.Delivery[note]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := d.Event.ID
	if err := ticketing.NextVersion(len(c.applied[key]), d.Event.N); err != nil {
		return err
	}
	c.applied[key] = append(c.applied[key], d.Event.N)
	return nil
}

func TestAnEarlyVersionLetsItsPredecessorPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store, tries := newCopies(), 0
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			tries++
			if d.Attempt != 1 {
				t.Errorf("version %d is at attempt %d: to wait is none", d.Event.N, d.Attempt)
			}
			return store.apply(ctx, d)
		}, ticketing.ListenerOptions{MaxAttempts: 1, MinBackoff: time.Hour, MaxBackoff: time.Hour})
		for _, n := range []int{4, 3, 5, 2} {
			l.broker.deliverNote("a", n)
		}
		l.wantNone()
		l.broker.deliverNote("a", 1)
		for range 5 {
			l.want(ticketing.Ack)
		}
		if got := fmt.Sprint(store.applied["a"]); got != "[1 2 3 4 5]" {
			t.Errorf("applied in the order %s", got)
		}
		// Each was tried when it came, and again when its turn had come.
		if tries != 9 || time.Since(start) != 0 {
			t.Errorf("%d tries in %v, want 9 and no pause", tries, time.Since(start))
		}
		l.stop()
	})
}

func TestAnEarlyVersionIsTriedAgainForTheSakeOfOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := newCopies()
		a := listen(t, store.apply, ticketing.ListenerOptions{MaxBackoff: 8 * time.Second})
		b := listen(t, store.apply, ticketing.ListenerOptions{})
		for n := 2; n <= 20; n++ {
			a.broker.deliverNote("a", n)
		}
		time.Sleep(100 * time.Second) // of the bubble's
		a.wantNone()
		b.broker.deliverNote("a", 1)
		b.want(ticketing.Ack)
		for range 19 {
			a.want(ticketing.Ack)
		}
		if d := time.Since(start); d > 110*time.Second {
			t.Errorf("applied after %v, want that within the longest backoff", d)
		}
		if got := len(store.applied["a"]); got != 20 {
			t.Errorf("%d versions were applied, want 20", got)
		}
		a.stop()
		b.stop()
	})
}

func TestAVersionThatWasAppliedIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, err := range map[string]error{
			"as it is": ticketing.ErrApplied,
			"wrapped":  fmt.Errorf("transaction: %w", ticketing.NextVersion(3, 3)),
			"marked":   ticketing.Permanent(ticketing.NextVersion(3, 1)),
		} {
			l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return err }, ticketing.ListenerOptions{})
			l.broker.deliverNote("a", 1)
			if v := l.want(ticketing.Ack); !errors.Is(v.Err, ticketing.ErrApplied) {
				t.Errorf("%s: the verdict says %v", name, v.Err)
			}
			l.stop()
			if l.log.Len() != 0 {
				t.Errorf("%s: log: %s", name, l.log)
			}
		}
	})
}

func TestAVersionThatWaitsTooLongIsADeadLetterThatNamesTheVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := newCopies()
		letters := make(chan ticketing.DeadLetter, 1)
		l := listen(t, store.apply, ticketing.ListenerOptions{
			MaxWait: 10 * time.Minute, OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d }})
		l.broker.deliverNote("a", 3)
		l.want(ticketing.Drop)
		if d := time.Since(start); d != 10*time.Minute {
			t.Errorf("it waited for %v, want 10 min", d)
		}
		letter := <-letters
		if want := "waited for 10m0s: version 3 is early: version 1 is missing, and the stored version is 0"; letter.Err.Error() != want || letter.Attempts != 1 {
			t.Errorf("%d attempts, %q; want 1 and %q", letter.Attempts, letter.Err, want)
		}
		l.stop()
		if lines := strings.Count(l.log.String(), "event waits"); lines != 1 {
			t.Errorf("%d lines say that it waits, want 1", lines)
		}
	})
}

func TestAWaitWithoutABoundEndsWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newCopies()
		l := listen(t, store.apply, ticketing.ListenerOptions{MaxWait: -1})
		l.broker.deliverNote("a", 2)
		time.Sleep(30 * 24 * time.Hour) // of the bubble's
		l.wantNone()
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		l.want(ticketing.Ack)
		l.stop()
	})
}

// The event may depend on anything, so its successors have to stay behind it.
func TestAnEventThatWaitsHoldsItsSuccessorsAndUsesNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var order []string
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			order = append(order, fmt.Sprint(d.Event.ID, d.Event.N, "#", d.Attempt))
			if d.Event == (note{"a", 1}) && time.Since(start) < 7*time.Minute {
				return ticketing.RetryAfter(2*time.Minute, ticketing.Wait(errScripted))
			}
			return nil
		}, ticketing.ListenerOptions{MaxAttempts: 2})
		l.broker.deliverNote("a", 1)
		l.broker.deliverNote("a", 2)
		l.broker.deliverNote("b", 1)
		for range 3 {
			l.want(ticketing.Ack)
		}
		if got := fmt.Sprint(order); got != "[a1#1 b1#1 a1#1 a1#1 a1#1 a1#1 a2#1]" {
			t.Errorf("handled in the order %s", got)
		}
		if d := time.Since(start); d != 8*time.Minute {
			t.Errorf("it took %v, want the pauses that the handler chose", d)
		}
		l.stop()
	})
}

func TestAnEventThatWaitsTooLongIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			return fmt.Errorf("order: %w", ticketing.Wait(errScripted))
		}, ticketing.ListenerOptions{MaxWait: time.Minute})
		l.broker.deliverNote("a", 1)
		if v := l.want(ticketing.Drop); !errors.Is(v.Err, errScripted) || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), v.Err)
		}
		l.stop()
	})
}

func TestAStopHandsBackWhatIsEarlyForTheRestOfItsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newCopies()
		release := make(chan struct{})
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			if d.Event.N == 2 && d.Event.ID == "b" {
				<-release
			}
			return store.apply(ctx, d)
		}, ticketing.ListenerOptions{Concurrency: 2, MinBackoff: time.Minute})
		l.broker.deliverNote("a", 2)
		l.broker.deliverNote("a", 3)
		l.broker.deliverNote("b", 2) // its handler runs at the stop
		synctest.Wait()
		time.Sleep(30 * time.Second) // of the bubble's
		l.cancel()
		for range 2 {
			if v := l.want(ticketing.Retry); v.After < 18*time.Second || v.After > 42*time.Second {
				t.Errorf("handed back for %v, want what was left of the pause", v.After)
			}
		}
		close(release)
		if v := l.want(ticketing.Retry); v.After < 48*time.Second {
			t.Errorf("handed back for %v, want a whole pause", v.After)
		}
		if err := <-l.result; err != nil {
			t.Error(err)
		}
	})
}

// TestEveryVersionIsAppliedOnceAndInOrder runs processes of a group against the
// model: whatever the order in which versions come, however often, to whichever
// process, whatever fails before and after they are applied, and though one of
// the processes stops, so that all it had comes to another, each is applied once,
// in order, and everything is acknowledged.
func TestEveryVersionIsAppliedOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const keys = 3
		versions := rapid.IntRange(1, 12).Draw(rt, "versions of each key")
		var all []note
		for key := range keys {
			for n := 1; n <= versions; n++ {
				all = append(all, note{fmt.Sprint("key-", key), n})
			}
		}
		again := rapid.SliceOfN(rapid.SampledFrom(all), 0, 20).Draw(rt, "what is delivered once more")
		order := rapid.Permutation(append(all, again...)).Draw(rt, "order")
		processes := rapid.IntRange(1, 3).Draw(rt, "processes")
		concurrency := rapid.IntRange(1, 4).Draw(rt, "concurrency")
		to := rapid.SliceOfN(rapid.IntRange(0, processes-1), len(order), len(order)).Draw(rt, "process of each")
		late := rapid.SliceOfN(rapid.SampledFrom([]int{0, 0, 0, 1, 90}), len(order), len(order)).Draw(rt, "seconds before each")
		fails := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 40).Draw(rt, "how tries fail")
		stop := len(order)
		if processes > 1 {
			stop = rapid.IntRange(0, len(order)).Draw(rt, "when the first process stops")
		}
		synctest.Test(t, func(t *testing.T) {
			store := newCopies()
			var mu sync.Mutex
			tries := 0
			handler := func(ctx context.Context, d *ticketing.Delivery[note]) error {
				mu.Lock()
				fail := fails[tries%len(fails)]
				if tries++; tries > 4*len(fails) {
					fail = 0
				}
				mu.Unlock()
				time.Sleep(10 * time.Millisecond) // work, in the bubble's time
				switch fail {
				case 1:
					return errScripted
				case 2:
					panic("scripted")
				}
				if err := store.apply(ctx, d); err != nil {
					return err
				}
				if fail == 3 {
					return errScripted // it is applied, and the answer is lost
				}
				return nil
			}
			var group []*listening
			for range processes {
				group = append(group, listen(t, handler, ticketing.ListenerOptions{Concurrency: concurrency, MaxAttempts: 1000, MaxWait: -1}))
			}
			want := make([]int, processes)
			deliver := func(process int, e note) {
				group[process].broker.deliverNote(e.ID, e.N)
				want[process]++
			}
			for i, e := range order {
				time.Sleep(time.Duration(late[i]) * time.Second) // of the bubble's
				if i == stop {
					synctest.Wait()
					group[0].stop()
					for j, e := range order[:i] {
						if to[j] == 0 {
							deliver(1, e)
						}
					}
				}
				if i >= stop && to[i] == 0 {
					to[i] = 1
				}
				deliver(to[i], e)
			}
			for i, l := range group {
				for range want[i] {
					v := <-l.broker.verdicts
					if v.Kind != ticketing.Ack && (i > 0 || v.Kind != ticketing.Retry || stop == len(order)) {
						rt.Errorf("process %d settled with %v: %v", i, v.Kind, v.Err)
					}
				}
			}
			for key := range keys {
				got := store.applied[fmt.Sprint("key-", key)]
				if len(got) != versions {
					rt.Errorf("key %d: applied %v of %d versions", key, got, versions)
				}
				for i, n := range got {
					if n != i+1 {
						rt.Errorf("key %d: applied in the order %v", key, got)
					}
				}
			}
			for i, l := range group {
				if i > 0 || stop == len(order) {
					l.stop()
				}
			}
		})
	})
}
