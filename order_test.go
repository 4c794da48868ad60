package ticketing_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// TestTheOrderPerKeyHoldsWhateverFails runs random series of events with
// random failures, durations and concurrency against the model: the handled
// events of a key are its events, in order, each once.
func TestTheOrderPerKeyHoldsWhateverFails(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 60).Draw(rt, "key of each event")
		concurrency := rapid.IntRange(1, 8).Draw(rt, "concurrency")
		fails := rapid.SliceOfN(rapid.IntRange(0, 3), len(events), len(events)).Draw(rt, "failures of each event")
		works := rapid.SliceOfN(rapid.IntRange(0, 3), len(events), len(events)).Draw(rt, "seconds of work of each event")
		ends := rapid.SampledFrom([]string{"error", "panic", "retry after", "timeout"}).Draw(rt, "how they fail")
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			running := map[string]bool{}
			got := map[string][]int{}
			tries := map[int]int{}
			handler := func(ctx context.Context, d *ticketing.Delivery[note]) error {
				e := d.Event
				mu.Lock()
				if running[e.ID] {
					rt.Errorf("two handlers of key %s", e.ID)
				}
				running[e.ID] = true
				tries[e.N]++
				fail := tries[e.N] <= fails[e.N]
				mu.Unlock()
				time.Sleep(time.Duration(works[e.N]) * time.Second) // in the bubble's time
				if fail && ends == "timeout" {
					<-ctx.Done()
				}
				mu.Lock()
				defer mu.Unlock()
				running[e.ID] = false
				if !fail {
					got[e.ID] = append(got[e.ID], e.N)
					return nil
				}
				switch ends {
				case "panic":
					panic("scripted")
				case "retry after":
					return ticketing.RetryAfter(time.Second, errScripted)
				}
				return errScripted
			}
			l := listen(t, handler, ticketing.ListenerOptions{Concurrency: concurrency})
			want := map[string][]int{}
			for n, key := range events {
				id := fmt.Sprint("key-", key)
				want[id] = append(want[id], n)
				l.broker.deliverNote(id, n)
			}
			for range events {
				l.want(ticketing.Ack)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				rt.Errorf("handled %v, want %v", got, want)
			}
			l.stop()
		})
	})
}
