package main

import (
	"context"
	"fmt"
	"sync/atomic"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

// way is how this module's listener consumes.
type way struct {
	lanes  int
	window int // 0: the default
	tel    *otelwrap.Telemetry
	// around wraps the handler; it may be nil.
	around func(*turn, handler) handler
}

type handler = ticketing.Handler[events.TicketCreated]

// lanes is how many handlers run at once in the rows that have several.
const lanes = 16

// consumeRows are a listener with the raw client's window, one handler at a
// time and several, and as information one with the default window where that
// is another.
func consumeRows(b broker, size eventSize) []row {
	stored := 100_000
	if size == large {
		stored = 10_000
	}
	var consume16 bar
	if size == small {
		consume16 = b.consume16
	}
	consume := func(name string, w way, to bar) row {
		return row{b.name + "/" + name + "/" + size.name, func(ctx context.Context, run *bench) ([]metric, error) {
			return b.withMatch(ctx, func(m *match) ([]metric, error) {
				n := run.n(stored)
				if err := m.store(ctx, n, storedEvents(size)); err != nil {
					return nil, err
				}
				pairs, err := run.interleave(ctx, contest{
					n:       n,
					ours:    m.ours.consume(w),
					raw:     m.raw.consume(w),
					between: m.consumed,
				})
				if err != nil {
					return nil, err
				}
				return []metric{throughputRatio(pairs, to), cpuRatio(pairs), moreAllocs(pairs, b.consumeAllocs)}, nil
			})
		}}
	}
	rows := []row{
		consume("consume", way{lanes: 1, window: b.rawWindow}, b.consume),
		consume("consume16", way{lanes: lanes, window: b.rawWindow}, consume16),
	}
	if b.rawWindow != 0 {
		rows = append(rows, consume("consume-default", way{lanes: 1}, bar{}))
	}
	return rows
}

// listen listens as a group until t.n events are handled, calls handled, and
// returns when the listener has stopped.
func listen(ctx context.Context, r ticketing.Receiver, group string, w way, t *turn, handled func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var count atomic.Int64
	all := make(chan struct{})
	var handle handler = func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
		if count.Add(1) == int64(t.n) {
			close(all)
		}
		return nil
	}
	if w.around != nil {
		handle = w.around(t, handle)
	}
	if w.tel != nil {
		handle = otelwrap.Handler(w.tel, handle)
	}
	l := ticketing.NewListener(r, group, handle, &ticketing.ListenerOptions{Concurrency: w.lanes, Window: w.window, Logger: warnings})
	ended := make(chan error, 1)
	go func() { ended <- l.Listen(ctx) }()
	select {
	case err := <-ended:
		if err == nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("the listener stopped after %d of %d events: %w", count.Load(), t.n, err)
	case <-all:
	}
	err := handled()
	cancel()
	if listenErr := <-ended; err == nil {
		err = listenErr
	}
	return err
}
