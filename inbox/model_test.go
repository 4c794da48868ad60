package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/inbox"
)

// fate is what happens to one delivery.
type fate int

const (
	handled   fate = iota // it is handled and acknowledged
	failing               // the handler fails after its effect
	panicking             // or panics
	crashing              // the process dies between commit and acknowledgement
	uncertain             // the result of the commit is not known
	fates     = iota
)

var errFate = errors.New("failed on purpose")

type fateKey struct{}

// TestAnyDeliveriesMakeEachEffectOnce delivers events at random, duplicates at
// the same time and crashes included, and holds the effects against a model:
// an event has one effect if and only if a delivery of it came to its commit.
// Without the case of no new row in once's Run an event has two.
func TestAnyDeliveriesMakeEachEffectOnce(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		runs := 0
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			level := rapid.SampledFrom(h.levels).Draw(rt, "level")
			handle := h.handler(level, nil, func(ctx context.Context, exec func(string) error, d *ticketing.Delivery[event]) error {
				if err := takeEffect(ctx, exec, d); err != nil {
					return err
				}
				switch ctx.Value(fateKey{}) {
				case failing:
					return errFate
				case panicking:
					panic(errFate)
				}
				return nil
			})
			uncertainly := h.handler(level, func(err error) error { return errors.Join(err, errFate) }, takeEffect)
			// deliver reports whether the delivery has been acknowledged.
			deliver := func(id string, f fate) (acked bool) {
				defer func() {
					if v := recover(); v != nil && v != errFate {
						panic(v)
					}
				}()
				handle := handle
				if f == uncertain {
					handle = uncertainly
				}
				ctx := context.WithValue(context.Background(), fateKey{}, f)
				err := handle(ctx, &ticketing.Delivery[event]{ID: id})
				for errors.Is(err, inbox.ErrTryAgain) { // as the listener would
					err = handle(ctx, &ticketing.Delivery[event]{ID: id})
				}
				return err == nil && f != crashing
			}

			const ids = 4
			due := make(map[string]bool) // whether the event has had a delivery that commits
			id := func(i int) string { return fmt.Sprintf("r%d-%d", runs, i) }
			for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
				round := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) [2]int {
					return [2]int{rapid.IntRange(0, ids-1).Draw(rt, "id"), rapid.IntRange(0, fates-1).Draw(rt, "fate")}
				}), 1, 4).Draw(rt, "at the same time")
				var wg sync.WaitGroup
				for _, d := range round {
					wg.Go(func() { deliver(id(d[0]), fate(d[1])) })
					switch fate(d[1]) {
					case handled, crashing, uncertain:
						due[id(d[0])] = true
					}
				}
				wg.Wait()
				for i := range ids {
					want := 0
					if due[id(i)] {
						want = 1
					}
					if n := h.effects(t, id(i)); n != want {
						rt.Fatalf("event %d has %d effects after %v, want %d", i, n, round, want)
					}
				}
			}
			// What is not acknowledged comes again.
			for i := range ids {
				if !deliver(id(i), handled) {
					rt.Fatalf("event %d is not acknowledged", i)
				}
				if n := h.effects(t, id(i)); n != 1 {
					rt.Fatalf("event %d has %d effects in the end", i, n)
				}
			}
		})
	})
}
