// Package orders listens to what the orders service publishes: an order
// reserves its ticket, and sets it free when it is cancelled.
package orders

import (
	"context"
	"errors"
	"log/slog"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/inbox"
)

// Group is this service's queue group: its instances share the orders.
const Group = "tickets-service"

// Tickets is what orders do to tickets. Both methods may be called again for
// what they have done already.
type Tickets interface {
	Reserve(ctx context.Context, ticketID, orderID string) error
	Free(ctx context.Context, ticketID, orderID string) error
}

// Listeners are the two listeners of the service.
type Listeners struct {
	Created   *events.OrderCreatedListener
	Cancelled *events.OrderCancelledListener
}

// Options configures the listeners. Nil and the zero value are good.
type Options struct {
	// ShutdownTimeout bounds how long handlers may take once Listen's ctx has
	// ended. Default 10 s.
	ShutdownTimeout time.Duration
	// Logger hears of every order. Default [slog.Default].
	Logger *slog.Logger
}

// New returns the listeners.
func New(r ticketing.Receiver, tickets Tickets, opts *Options) *Listeners {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	listener := &ticketing.ListenerOptions{
		// The database takes one change after the other, in the order in which
		// they ask. That many ask beside the requests.
		Concurrency:     8,
		ShutdownTimeout: o.ShutdownTimeout,
		Logger:          o.Logger,
	}
	created := func(ctx context.Context, d *ticketing.Delivery[events.OrderCreated]) error {
		e := d.Event
		if err := check(e.ID, e.Ticket.ID); err != nil {
			return err
		}
		if err := tickets.Reserve(ctx, e.Ticket.ID, e.ID); err != nil {
			return permanent(err)
		}
		o.Logger.Debug("ticket reserved", "order", e.ID, "ticket", e.Ticket.ID)
		return nil
	}
	cancelled := func(ctx context.Context, d *ticketing.Delivery[events.OrderCancelled]) error {
		e := d.Event
		if err := check(e.ID, e.Ticket.ID); err != nil {
			return err
		}
		if err := tickets.Free(ctx, e.Ticket.ID, e.ID); err != nil {
			return permanent(err)
		}
		o.Logger.Debug("ticket set free", "order", e.ID, "ticket", e.Ticket.ID)
		return nil
	}
	return &Listeners{
		Created:   ticketing.NewListener(r, Group, created, listener),
		Cancelled: ticketing.NewListener(r, Group, cancelled, listener),
	}
}

// check finds what an event must not lack. Decoding does not: a missing field
// is its zero value.
func check(orderID, ticketID string) error {
	if orderID == "" || ticketID == "" {
		return ticketing.Permanent(errors.New("the event has no order id or no ticket id"))
	}
	return nil
}

// permanent spares an order further attempts that cannot end otherwise: for a
// ticket that does not exist, because tickets are made here and it will not
// exist later either; and under an id that the inbox cannot keep.
func permanent(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, inbox.ErrInvalidID) {
		return ticketing.Permanent(err)
	}
	return err
}

// Listen runs both listeners until ctx ends; then it returns nil once their
// handlers have finished. When one of them can no longer receive, the other is
// stopped too, and Listen returns why.
func (l *Listeners) Listen(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	created := make(chan error, 1)
	go func() {
		defer stop()
		created <- l.Created.Listen(ctx)
	}()
	err := l.Cancelled.Listen(ctx)
	stop()
	return errors.Join(<-created, err)
}
