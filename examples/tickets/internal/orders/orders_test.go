package orders_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/orders"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store/storetest"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var quiet = &orders.Options{Logger: slog.New(slog.DiscardHandler)}

// fixture is the listeners over a recorder, with a ticket that is for sale.
type fixture struct {
	*natstest.Recorder
	store  *store.Store
	ticket store.Ticket
}

func listen(t *testing.T) *fixture {
	t.Helper()
	s, err := store.Open(t.Context(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	r := new(natstest.Recorder)
	service := tickets.New(s, r)
	ticket, err := service.Create(t.Context(), "ann", tickets.Terms{Title: "Opera", Price: 20})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{r, s, ticket}
	f.published(t).Reset()

	stopped := make(chan error, 1)
	go func() { stopped <- orders.New(r, service, quiet).Listen(t.Context()) }()
	t.Cleanup(func() { // t.Context has ended
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return f
}

// published is the recorder, with what all transactions so far have published.
func (f *fixture) published(t *testing.T) *natstest.Recorder {
	t.Helper()
	storetest.Relay(t, f.store, f.Recorder)
	return f.Recorder
}

func orderCreated(t store.Ticket) events.OrderCreated {
	return events.OrderCreated{
		ID:        "O1",
		Status:    events.OrderStatusCreated,
		UserID:    "bob",
		ExpiresAt: events.NewTimestamp(time.Now()),
		Ticket:    events.OrderCreatedTicket{ID: t.ID, Price: t.Price, Version: t.Version},
	}
}

func orderCancelled(t store.Ticket) events.OrderCancelled {
	return events.OrderCancelled{ID: "O1", Ticket: events.OrderCancelledTicket{ID: t.ID, Version: t.Version}}
}

func updated(t store.Ticket, version int, orderID string) events.TicketUpdated {
	return events.TicketUpdated{ID: t.ID, Title: t.Title, Price: t.Price, UserID: t.UserID, Version: version, OrderID: orderID}
}

func TestAnOrderIsAckedOnceItsTicketIsReservedAndPublished(t *testing.T) {
	f := listen(t)
	r, ticket := f.Recorder, f.ticket
	if res := natstest.Deliver(t, r, orderCreated(ticket)); !res.Acked() {
		t.Fatal(res)
	}
	if res := natstest.Deliver(t, r, orderCancelled(ticket)); !res.Acked() {
		t.Fatal(res)
	}
	natstest.RequireSequence(t, f.published(t), updated(ticket, 1, "O1"), updated(ticket, 2, ""))
}

func TestAnOrderThatComesAgainIsAckedAndHasNoSecondEffect(t *testing.T) {
	f := listen(t)
	r, ticket := f.Recorder, f.ticket
	// With another message's id: it was published twice.
	for range 2 {
		if res := natstest.Deliver(t, r, orderCreated(ticket)); !res.Acked() {
			t.Fatal(res)
		}
	}
	natstest.RequireSequence(t, f.published(t), updated(ticket, 1, "O1"))
}

func TestAnOrderIsRetriedWhenTheDatabaseFails(t *testing.T) {
	f := listen(t)
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, res := range map[string]natstest.Result{
		"created":   natstest.Deliver(t, f.Recorder, orderCreated(f.ticket)),
		"cancelled": natstest.Deliver(t, f.Recorder, orderCancelled(f.ticket)),
	} {
		if !res.Retried() {
			t.Errorf("%s: %v", name, res)
		}
	}
}

func TestAnOrderWaitsForATicketThatAnotherOneHas(t *testing.T) {
	f := listen(t)
	r, ticket := f.Recorder, f.ticket
	if res := natstest.Deliver(t, r, orderCreated(ticket)); !res.Acked() {
		t.Fatal(res)
	}
	second := orderCreated(ticket)
	second.ID = "O2"
	if res := natstest.Deliver(t, r, second); !res.Retried() || !errors.Is(res.Err, tickets.ErrReserved) {
		t.Fatal(res)
	}
	if res := natstest.Deliver(t, r, orderCancelled(ticket)); !res.Acked() {
		t.Fatal(res)
	}
	if res := natstest.Deliver(t, r, second, natstest.WithAttempt(2)); !res.Acked() {
		t.Fatal(res)
	}
	natstest.RequireSequence(t, f.published(t), updated(ticket, 1, "O1"), updated(ticket, 2, ""), updated(ticket, 3, "O2"))
}

func TestAnOrderThatCannotBeHandledIsADeadLetter(t *testing.T) {
	f := listen(t)
	r, ticket := f.Recorder, f.ticket
	unknown := orderCreated(ticket)
	unknown.Ticket.ID = "T0"
	gone := orderCancelled(ticket)
	gone.Ticket.ID = "T0"
	tooLong := orderCreated(ticket)
	tooLong.ID = strings.Repeat("O", inbox.MaxIDLen+1)
	reserved := orderCreated(ticket)
	reserved.ID = "O0"
	if res := natstest.Deliver(t, r, reserved); !res.Acked() {
		t.Fatal(res)
	}

	for name, test := range map[string]struct {
		deliver func(t *testing.T) natstest.Result
		subject ticketing.Subject
		why     string
	}{
		"an order for an unknown ticket": {
			func(t *testing.T) natstest.Result { return natstest.Deliver(t, r, unknown) },
			"dead.tickets-service.order:created", store.ErrNotFound.Error()},
		"a cancellation for an unknown ticket": {
			func(t *testing.T) natstest.Result { return natstest.Deliver(t, r, gone) },
			"dead.tickets-service.order:cancelled", store.ErrNotFound.Error()},
		"an order without an id": {
			func(t *testing.T) natstest.Result {
				return natstest.Deliver(t, r, events.OrderCreated{Ticket: events.OrderCreatedTicket{ID: ticket.ID}})
			},
			"dead.tickets-service.order:created", "no order id"},
		"a cancellation without a ticket": {
			func(t *testing.T) natstest.Result { return natstest.Deliver(t, r, events.OrderCancelled{ID: "O1"}) },
			"dead.tickets-service.order:cancelled", "no ticket id"},
		"an order with an id that cannot be kept": {
			func(t *testing.T) natstest.Result { return natstest.Deliver(t, r, tooLong) },
			"dead.tickets-service.order:created", inbox.ErrInvalidID.Error()},
		"what is no order": {
			func(t *testing.T) natstest.Result {
				return natstest.DeliverRaw(t, r, ticketing.SubjectOrderCreated, []byte(`{"id":7}`))
			},
			"dead.tickets-service.order:created", "cannot decode"},
		"a ticket that was never set free": {
			func(t *testing.T) natstest.Result {
				return natstest.Deliver(t, r, orderCreated(ticket), natstest.WithAttempt(10))
			},
			"dead.tickets-service.order:created", tickets.ErrReserved.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			r.Reset()
			res := test.deliver(t)
			if !res.DeadLettered() || !strings.Contains(res.Err.Error(), test.why) {
				t.Fatal(res)
			}
			if m := r.Messages(); len(m) != 1 || m[0].Subject != test.subject {
				t.Errorf("recorded %v, want one on %s", m, test.subject)
			}
		})
	}
}

// lostConnection is a Receiver that cannot receive one subject.
type lostConnection struct {
	natstest.Recorder
	lost ticketing.Subject
}

func (l *lostConnection) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if s.Subject == l.lost {
		return ticketing.ErrClosed
	}
	return l.Recorder.Receive(ctx, s, handle)
}

func TestWhenOneListenerEndsTheOtherIsStoppedToo(t *testing.T) {
	for _, lost := range []ticketing.Subject{ticketing.SubjectOrderCreated, ticketing.SubjectOrderCancelled} {
		t.Run(string(lost), func(t *testing.T) {
			r := &lostConnection{lost: lost}
			err := orders.New(r, newTickets(t, &r.Recorder), quiet).Listen(t.Context())
			if !errors.Is(err, ticketing.ErrClosed) || !strings.Contains(err.Error(), string(lost)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func newTickets(t *testing.T, r *natstest.Recorder) *tickets.Service {
	t.Helper()
	s, err := store.Open(t.Context(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return tickets.New(s, r)
}
