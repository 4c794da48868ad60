package events_test

import (
	"context"
	"slices"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

// Every event is keyed, on the value, or this does not compile.
type keyedEvent interface {
	ticketing.Event
	ticketing.Keyed
}

func TestEveryEventHasItsSubjectAndTheKeyOfItsAggregate(t *testing.T) {
	tests := []struct {
		event   keyedEvent
		subject ticketing.Subject
		key     string
	}{
		{events.TicketCreated{ID: "t1", UserID: "u1"}, "ticket:created", "t1"},
		{events.TicketUpdated{ID: "t1", UserID: "u1", OrderID: "o1"}, "ticket:updated", "t1"},
		{events.OrderCreated{ID: "o1", UserID: "u1", Ticket: events.OrderCreatedTicket{ID: "t1"}}, "order:created", "o1"},
		{events.OrderCancelled{ID: "o1", Ticket: events.OrderCancelledTicket{ID: "t1"}}, "order:cancelled", "o1"},
		{events.ExpirationComplete{OrderID: "o1"}, "expiration:complete", "o1"},
		{events.PaymentCreated{ID: "p1", OrderID: "o1", StripeID: "s1"}, "payment:created", "p1"},
	}
	subjects := make([]ticketing.Subject, 0, len(tests))
	for _, tt := range tests {
		if got := tt.event.Subject(); got != tt.subject {
			t.Errorf("%T: subject %s, want %s", tt.event, got, tt.subject)
		}
		if got := tt.event.Key(); got != tt.key {
			t.Errorf("%T: key %s, want %s", tt.event, got, tt.key)
		}
		subjects = append(subjects, tt.event.Subject())
	}
	if want := ticketing.Subjects(); !slices.Equal(subjects, want) {
		t.Errorf("events for %v, the catalogue has %v", subjects, want)
	}
}

func TestOrderStatusHasTheNodePackagesValues(t *testing.T) {
	got := []events.OrderStatus{
		events.OrderStatusCreated, events.OrderStatusCancelled,
		events.OrderStatusAwaitingPayment, events.OrderStatusComplete,
	}
	want := []events.OrderStatus{"created", "cancelled", "awaiting:payment", "complete"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A service may embed all publishers and listeners: the aliases give the
// fields different names.
type service struct {
	*events.TicketCreatedPublisher
	*events.TicketUpdatedPublisher
	*events.OrderCreatedPublisher
	*events.OrderCancelledPublisher
	*events.ExpirationCompletePublisher
	*events.PaymentCreatedPublisher

	*events.TicketCreatedListener
	*events.TicketUpdatedListener
	*events.OrderCreatedListener
	*events.OrderCancelledListener
	*events.ExpirationCompleteListener
	*events.PaymentCreatedListener
}

func TestAliasesEmbedSideBySide(t *testing.T) {
	var sent sink
	s := service{
		TicketCreatedPublisher:      ticketing.NewPublisher[events.TicketCreated](&sent, nil),
		TicketUpdatedPublisher:      ticketing.NewPublisher[events.TicketUpdated](&sent, nil),
		OrderCreatedPublisher:       ticketing.NewPublisher[events.OrderCreated](&sent, nil),
		OrderCancelledPublisher:     ticketing.NewPublisher[events.OrderCancelled](&sent, nil),
		ExpirationCompletePublisher: ticketing.NewPublisher[events.ExpirationComplete](&sent, nil),
		PaymentCreatedPublisher:     ticketing.NewPublisher[events.PaymentCreated](&sent, nil),
	}
	ctx := t.Context()
	for _, err := range []error{
		s.TicketCreatedPublisher.Publish(ctx, events.TicketCreated{}),
		s.TicketUpdatedPublisher.Publish(ctx, events.TicketUpdated{}),
		s.OrderCreatedPublisher.Publish(ctx, events.OrderCreated{}),
		s.OrderCancelledPublisher.Publish(ctx, events.OrderCancelled{}),
		s.ExpirationCompletePublisher.Publish(ctx, events.ExpirationComplete{}),
		s.PaymentCreatedPublisher.Publish(ctx, events.PaymentCreated{}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if want := ticketing.Subjects(); !slices.Equal(sent.subjects, want) {
		t.Errorf("published to %v, want %v", sent.subjects, want)
	}
}

// sink is a Sender that keeps the subjects it was given.
type sink struct{ subjects []ticketing.Subject }

func (s *sink) Send(_ context.Context, m *ticketing.Message, done func(error)) {
	s.subjects = append(s.subjects, m.Subject)
	done(nil)
}
