package main

import (
	"context"
	"sync"
	"sync/atomic"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

// publishers is how many goroutines publish at once in the rows of that name.
const publishers = 64

// publishRows are the three ways to publish.
func publishRows(b broker, size eventSize) []row {
	way := func(name string, n int, with func(contender, *events.TicketCreated) side, metrics func([]pair) []metric) row {
		return row{b.name + "/" + name + "/" + size.name, func(ctx context.Context, run *bench) ([]metric, error) {
			return b.withMatch(ctx, func(m *match) ([]metric, error) {
				e := makeEvent(size, 0)
				pairs, err := run.interleave(ctx, contest{
					n:       run.n(n),
					ours:    with(m.ours, &e),
					raw:     with(m.raw, &e),
					between: m.stored,
				})
				if err != nil {
					return nil, err
				}
				return metrics(pairs), nil
			})
		}}
	}
	// Turns of a third of a second or so: long enough that a pause of the
	// machine does not decide one, short enough for the machine to be the same
	// in the next one.
	quick := 50000
	if size == large {
		quick = 15000
	}
	return []row{
		way("publish", 3000, oneByOne, func(p []pair) []metric {
			return []metric{timeRatio(p, b.publish), cpuRatio(p), moreAllocs(p, b.allocs)}
		}),
		way("publish64", quick/2, atOnce, func(p []pair) []metric {
			return []metric{throughputRatio(p, b.publishAtOnce), cpuRatio(p), moreAllocs(p, bar{})}
		}),
		way("async", quick, func(c contender, e *events.TicketCreated) side { return c.publishAsync(e) }, func(p []pair) []metric {
			return []metric{throughputRatio(p, b.publishAsync), cpuRatio(p), moreAllocs(p, b.allocs)}
		}),
	}
}

// oneByOne publishes one event after the other.
func oneByOne(c contender, e *events.TicketCreated) side {
	return func(ctx context.Context, t *turn) error {
		for range t.n {
			if err := c.publish(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}
}

// atOnce publishes from many goroutines, each one event after the other.
func atOnce(c contender, e *events.TicketCreated) side {
	return func(ctx context.Context, t *turn) error {
		var wg sync.WaitGroup
		errs := make(chan error, publishers)
		for i := range publishers {
			wg.Go(func() {
				for range (t.n + i) / publishers { // t.n in all
					if err := c.publish(ctx, e); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case err := <-errs:
			return err
		default:
			return nil
		}
	}
}

// publishAsync publishes through this module without waiting for each event.
func publishAsync(s ticketing.Sender, e *events.TicketCreated) side {
	return func(ctx context.Context, t *turn) error {
		return publishEach(ctx, s, t.n, func(int) events.TicketCreated { return *e })
	}
}

// publishEach publishes n events, and returns when all are stored. Errors come
// to the publisher's hook; the last event's outcome is the last to come.
func publishEach(ctx context.Context, s ticketing.Sender, n int, event func(i int) events.TicketCreated) error {
	var failed atomic.Pointer[error]
	publisher := ticketing.NewPublisher[events.TicketCreated](s, &ticketing.PublisherOptions{
		OnError: func(_ *ticketing.Message, err error) { failed.Store(&err) },
	})
	var last *ticketing.Receipt
	for i := range n {
		last = publisher.PublishAsync(ctx, event(i))
	}
	if err := last.Wait(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
