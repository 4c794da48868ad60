package main

import (
	"context"
	"encoding/json"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// recorded is how many events a test has in its recorder, at the most.
const recorded = 1000

// measureRecorder measures a publish to a recorder, the encoding included.
// Its bars are absolute: json.Marshal of the same event stands beside it as
// the yardstick of the machine, and takes 0.8 µs on the one that the bars come
// from.
func measureRecorder(ctx context.Context, b *bench) ([]metric, error) {
	e := makeEvent(small, 0)
	var r natstest.Recorder
	publisher := ticketing.NewPublisher[events.TicketCreated](&r, nil)
	pairs, err := b.interleave(ctx, contest{
		n: b.n(200_000),
		ours: func(ctx context.Context, t *turn) error {
			for i := range t.n {
				if err := publisher.Publish(ctx, e); err != nil {
					return err
				}
				if i%recorded == 0 {
					r.Reset()
				}
			}
			return nil
		},
		raw: func(_ context.Context, t *turn) error {
			for range t.n {
				if _, err := json.Marshal(&e); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	itself := func(ours, _ float64) float64 { return ours }
	return []metric{
		compare(pairs, "time in µs (raw: json.Marshal)", "µs", 2, (*turn).micros, 2, itself, bar{atMost, 1.5}),
		compare(pairs, "allocations", "", 1, (*turn).allocs, 1, itself, bar{atMost, 5}),
	}, nil
}
