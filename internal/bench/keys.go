package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

// slowHandler is how long the handler of one key in a thousand takes.
const slowHandler = 10 * time.Millisecond

// slowKeyRow compares this module to itself: the throughput of the other keys'
// events while the handler of one key is slow, with that while it is not.
func slowKeyRow(b broker) row {
	return row{b.name + "/slow-key/" + small.name, func(ctx context.Context, run *bench) ([]metric, error) {
		return b.withMatch(ctx, func(m *match) ([]metric, error) {
			n := run.n(100_000)
			if err := m.store(ctx, n, storedEvents(small)); err != nil {
				return nil, err
			}
			consume := func(oneKey func()) side {
				return m.ours.consume(way{lanes: lanes, window: b.rawWindow, around: func(t *turn, h handler) handler {
					return apart(t, h, oneKey)
				}})
			}
			pairs, err := run.interleave(ctx, contest{
				n:       n,
				ours:    consume(func() { time.Sleep(slowHandler) }), //nolint:forbidigo // the slow handler is what is measured
				raw:     consume(func() {}),
				between: m.consumed,
			})
			if err != nil {
				return nil, err
			}
			return []metric{throughputRatio(pairs, bar{atLeast, 0.9}), cpuRatio(pairs)}, nil
		})
	}}
}

// apart calls oneKey for the events of the first of the stored keys, and stops
// the measurement with the last event of the others.
func apart(t *turn, h handler, oneKey func()) handler {
	first := makeEvent(small, 0).Key()
	others := int64(t.n - (t.n+aggregates-1)/aggregates)
	var count atomic.Int64
	return func(ctx context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
		if d.Event.Key() == first {
			oneKey()
		} else if count.Add(1) == others {
			t.stop()
		}
		return h(ctx, d)
	}
}

// memoryRow measures what is in use while a million events pass of as many
// keys, compared with those of one key. Each is measured once: it is no time,
// and the same in every round.
func memoryRow(b broker) row {
	return row{b.name + "/keys/" + small.name, func(ctx context.Context, run *bench) ([]metric, error) {
		n := run.n(1_000_000)
		many, err := b.inUse(ctx, n, func(i int) events.TicketCreated { return makeEvent(small, i) })
		if err != nil {
			return nil, err
		}
		one, err := b.inUse(ctx, max(n/10, 1), func(int) events.TicketCreated { return makeEvent(small, 0) })
		if err != nil {
			return nil, err
		}
		over := many - one
		return []metric{{
			what: fmt.Sprintf("MiB in use, %d keys (raw: one key)", n), unit: "MiB", digits: 1, ours: many, raw: one,
			result: spread{over, over, over}, resultDigits: 1, bar: bar{atMost, 32},
		}}, nil
	}}
}

// inUse stores n events, has a listener handle them, and returns the most MiB
// that could be reached meanwhile.
func (b broker) inUse(ctx context.Context, n int, event func(i int) events.TicketCreated) (most float64, err error) {
	_, err = b.withMatch(ctx, func(m *match) ([]metric, error) {
		if err := m.store(ctx, n, event); err != nil {
			return nil, err
		}
		_, err := take(ctx, m.ours.consume(way{lanes: lanes, window: b.rawWindow, around: func(_ *turn, h handler) handler {
			var count atomic.Int64
			var mu sync.Mutex
			return func(ctx context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
				if count.Add(1)%int64(max(n/10, 1)) == 0 {
					mu.Lock()
					most = max(most, inUse())
					mu.Unlock()
				}
				return h(ctx, d)
			}
		}}), n)
		return nil, err
	})
	return most, err
}

// inUse is how many MiB can be reached.
func inUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
