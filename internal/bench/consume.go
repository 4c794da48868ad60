package main

import (
	"context"
	"fmt"
	"sync/atomic"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

// consumeRows are the default listener and one with lanes, which is there as
// information.
func consumeRows(b broker, size eventSize) []row {
	stored := 100_000
	if size == large {
		stored = 10_000
	}
	way := func(name string, lanes int, to bar) row {
		return row{b.name + "/" + name + "/" + size.name, func(ctx context.Context, run *bench) ([]metric, error) {
			return b.withMatch(ctx, func(m *match) ([]metric, error) {
				n := run.n(stored)
				if err := m.store(ctx, n, size); err != nil {
					return nil, err
				}
				pairs, err := run.interleave(ctx, contest{
					n:       n,
					ours:    m.ours.consume(lanes),
					raw:     m.raw.consume(lanes),
					between: m.consumed,
				})
				if err != nil {
					return nil, err
				}
				return []metric{throughputRatio(pairs, to), cpuRatio(pairs), moreAllocs(pairs, bar{})}, nil
			})
		}}
	}
	return []row{
		way("consume", 1, b.consume),
		way("consume16", 16, bar{}),
	}
}

// listen listens as a group until t.n events are handled, calls handled, and
// returns when the listener has stopped.
func listen(ctx context.Context, r ticketing.Receiver, group string, lanes int, t *turn, handled func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var count atomic.Int64
	all := make(chan struct{})
	l := ticketing.NewListener(r, group, func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
		if count.Add(1) == int64(t.n) {
			close(all)
		}
		return nil
	}, &ticketing.ListenerOptions{Concurrency: lanes, Logger: warnings})
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
