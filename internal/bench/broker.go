package main

import (
	"context"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

// broker is one of the two brokers, with what this module has to reach on it.
type broker struct {
	name string
	open func(context.Context) (*match, error)

	publish, publishAtOnce, publishAsync, allocs bar
	consume, consume16, consumeAllocs            bar

	// rawWindow is the raw client's max in flight, where that is fixed and
	// this module's default is less.
	rawWindow int
}

var (
	jetStream = broker{
		name:          kindJetStream,
		open:          openJetStream,
		publish:       bar{atMost, 1.00},
		publishAtOnce: bar{atLeast, 1.2},
		publishAsync:  bar{atLeast, 0.97},
		allocs:        bar{atMost, 4},
		consume:       bar{atLeast, 1.0},
		consume16:     bar{atLeast, 1.0},
		consumeAllocs: bar{atMost, 5},
	}
	streaming = broker{
		name:          kindStreaming,
		open:          openStreaming,
		publish:       bar{atMost, 1.03},
		publishAtOnce: bar{atLeast, 0.97},
		publishAsync:  bar{atLeast, 0.97},
		consume:       bar{atLeast, 1.0},
		consumeAllocs: bar{atMost, 5},
		rawWindow:     stan.DefaultMaxInflight,
	}
)

// match is a fresh server with both sides connected to it.
type match struct {
	ours, raw contender
	// observed is ours with tracing and metrics.
	observed func(*otelwrap.Telemetry) contender
	// store stores n events for consumers.
	store func(ctx context.Context, n int, event func(i int) events.TicketCreated) error
	// stored is called after a turn of publishes, and reports events that are
	// not stored although the side said so.
	stored func(context.Context, *turn) error
	// consumed is called after a turn of consuming, and removes what it left
	// at the server.
	consumed func(context.Context, *turn) error
	close    func() error
}

// contender is one side of a match.
type contender struct {
	// publish returns when the broker has the event.
	publish func(ctx context.Context, e *events.TicketCreated) error
	// publishAsync publishes t.n events without waiting for each.
	publishAsync func(e *events.TicketCreated) side
	// consume handles and acknowledges the first t.n stored events as a new
	// group. The way is for this module alone.
	consume func(way) side
}

// connection is what this module has to both brokers.
type connection interface {
	ticketing.Sender
	ticketing.Receiver
}

// ours is this module's side over a connection. The listener consumes over it.
func ours(b connection, listener func(connection) func(way) side) contender {
	publisher := ticketing.NewPublisher[events.TicketCreated](b, nil)
	return contender{
		publish:      func(ctx context.Context, e *events.TicketCreated) error { return publisher.Publish(ctx, *e) },
		publishAsync: func(e *events.TicketCreated) side { return publishAsync(b, e) },
		consume:      listener(b),
	}
}

// withMatch calls f with a match at b, and closes it.
func (b broker) withMatch(ctx context.Context, f func(*match) ([]metric, error)) ([]metric, error) {
	m, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := f(m)
	if closeErr := m.close(); err == nil {
		err = closeErr
	}
	return metrics, err
}
