package tickets_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var opera = tickets.Terms{Title: "Opera", Price: 20}

func newService(t *testing.T, broker ticketing.Sender) *tickets.Service {
	t.Helper()
	s, err := store.Open(t.Context(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return tickets.New(s, broker)
}

// create makes a ticket of ann's, and forgets its event.
func create(t *testing.T, s *tickets.Service, r *natstest.Recorder) store.Ticket {
	t.Helper()
	ticket, err := s.Create(t.Context(), "ann", opera)
	if err != nil {
		t.Fatal(err)
	}
	r.Reset()
	return ticket
}

func requireTicket(t *testing.T, s *tickets.Service, want store.Ticket) {
	t.Helper()
	if got, err := s.Ticket(t.Context(), want.ID); err != nil || got != want {
		t.Fatalf("ticket %+v, error %v; want %+v", got, err, want)
	}
}

func updated(t store.Ticket) events.TicketUpdated {
	return events.TicketUpdated{ID: t.ID, Title: t.Title, Price: t.Price, UserID: t.UserID, Version: t.Version, OrderID: t.OrderID}
}

func TestANewTicketIsPublishedOnce(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket, err := s.Create(t.Context(), "ann", opera)
	if err != nil {
		t.Fatal(err)
	}
	requireTicket(t, s, store.Ticket{ID: ticket.ID, Title: "Opera", Price: 20, UserID: "ann"})

	// The whole sequence, so that a second event of any kind would be seen.
	messages := natstest.RequireSequence(t, &r,
		events.TicketCreated{ID: ticket.ID, Title: "Opera", Price: 20, UserID: "ann", Version: 0})
	if m := messages[0]; m.ID != ticket.ID+"/0" || m.Key != ticket.ID {
		t.Errorf("message id %q, key %q", m.ID, m.Key)
	}
}

func TestEachUpdateIsPublishedWithTheNextVersion(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	for _, price := range []float64{30, 35.5} {
		if _, err := s.Update(t.Context(), "ann", ticket.ID, tickets.AnyVersion, tickets.Terms{Title: "Opera", Price: price}); err != nil {
			t.Fatal(err)
		}
	}
	natstest.RequireSequence(t, &r,
		events.TicketUpdated{ID: ticket.ID, Title: "Opera", Price: 30, UserID: "ann", Version: 1},
		events.TicketUpdated{ID: ticket.ID, Title: "Opera", Price: 35.5, UserID: "ann", Version: 2},
	)
}

func TestARefusedUpdateChangesAndPublishesNothing(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	free, reserved := create(t, s, &r), create(t, s, &r)
	if err := s.Reserve(t.Context(), reserved.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	r.Reset()
	reserved.Version, reserved.OrderID = 1, "O1"

	for name, test := range map[string]struct {
		user, id string
		version  int
		want     error
	}{
		"an unknown ticket":     {"ann", "T0", tickets.AnyVersion, store.ErrNotFound},
		"somebody else's":       {"bob", free.ID, tickets.AnyVersion, tickets.ErrForbidden},
		"a reserved ticket":     {"ann", reserved.ID, tickets.AnyVersion, tickets.ErrReserved},
		"a version not seen":    {"ann", free.ID, 1, store.ErrConflict},
		"reserved and not hers": {"bob", reserved.ID, tickets.AnyVersion, tickets.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Update(t.Context(), test.user, test.id, test.version, tickets.Terms{Title: "Ballet", Price: 1}); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			natstest.RequireSequence(t, &r) // nothing at all
			requireTicket(t, s, free)
			requireTicket(t, s, reserved)
		})
	}
}

// hangUp is a broker that a client's request does not live to see.
type hangUp struct {
	ticketing.Sender
	request context.CancelFunc
}

func (h hangUp) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	h.request()
	h.Sender.Send(ctx, m, done)
}

func TestAClientThatHangsUpDoesNotLoseTheEvent(t *testing.T) {
	var r natstest.Recorder
	request, cancel := context.WithCancel(t.Context())
	s := newService(t, hangUp{&r, cancel})
	if _, err := s.Create(request, "ann", opera); err != nil {
		t.Fatal(err)
	}
	natstest.RequireOnePublished[events.TicketCreated](t, &r)
}

func TestAFailedPublishLeavesTheTicketAndSaysWhatIsKnown(t *testing.T) {
	for _, outcome := range []ticketing.Outcome{
		ticketing.OutcomeUnknown, ticketing.OutcomeNotSent, ticketing.OutcomeRejected, ticketing.OutcomeBusy,
	} {
		t.Run(outcome.String(), func(t *testing.T) {
			var r natstest.Recorder
			s := newService(t, &r)
			r.FailNext(outcome)
			ticket, err := s.Create(t.Context(), "ann", opera)
			var failed *ticketing.PublishError
			if !errors.As(err, &failed) || failed.Outcome != outcome || failed.ID != ticket.ID+"/0" {
				t.Fatalf("error %v, ticket %+v", err, ticket)
			}
			requireTicket(t, s, ticket)
		})
	}
}

func TestAnOrderReservesAndFreesItsTicket(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	if err := s.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	reserved, freed := ticket, ticket
	reserved.Version, reserved.OrderID = 1, "O1"
	freed.Version = 2
	natstest.RequireSequence(t, &r, updated(reserved), updated(freed))
	requireTicket(t, s, freed)
}

func TestAnOrderThatComesAgainHasNoSecondEffect(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	for range 2 {
		if err := s.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	// The order was cancelled since: its creation must not reserve the ticket
	// again, nor its cancellation free one that the next order has.
	if err := s.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve(t.Context(), ticket.ID, "O2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	ticket.Version, ticket.OrderID = 3, "O2"
	requireTicket(t, s, ticket)
	if got := natstest.Published[events.TicketUpdated](t, &r); len(got) != 3 {
		t.Errorf("%d events for three changes: %+v", len(got), got)
	}
}

func TestAnEventThatWasNotPublishedIsPublishedWhenTheOrderComesAgain(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	reserved, freed, changed := ticket, ticket, ticket
	reserved.Version, reserved.OrderID = 1, "O1"
	freed.Version = 2
	changed.Version, changed.Title = 3, "Ballet"

	r.FailNext(ticketing.OutcomeNotSent)
	if err := s.Reserve(t.Context(), ticket.ID, "O1"); !errors.Is(err, ticketing.ErrNotSent) {
		t.Fatalf("error %v, want ErrNotSent", err)
	}
	requireTicket(t, s, reserved)
	// Before it comes again the ticket goes on. What was missing is published
	// as it was, and the versions have no hole.
	if err := s.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(t.Context(), "ann", ticket.ID, 2, tickets.Terms{Title: "Ballet", Price: 20}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
			t.Fatal(err)
		}
	}
	messages := natstest.RequireSequence(t, &r, updated(freed), updated(changed), updated(reserved))
	if got, want := messages[2].ID, ticket.ID+"/1"; got != want {
		t.Errorf("message id %q, want %q", got, want)
	}
	requireTicket(t, s, changed)
}

func TestAnEventThatMayBeStoredIsPublishedAgainUnderTheSameID(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	r.Intercept(func(*ticketing.Message) *natstest.Fault {
		return &natstest.Fault{Outcome: ticketing.OutcomeUnknown, Stored: true}
	})
	if err := s.Reserve(t.Context(), ticket.ID, "O1"); !errors.Is(err, ticketing.ErrUnknown) {
		t.Fatalf("error %v, want ErrUnknown", err)
	}
	if err := s.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	ticket.Version, ticket.OrderID = 1, "O1"
	messages := natstest.RequireSequence(t, &r, updated(ticket), updated(ticket))
	if messages[0].ID != messages[1].ID {
		t.Errorf("ids %q and %q: a broker could not tell that they are one", messages[0].ID, messages[1].ID)
	}
}

func TestACancellationThatArrivesFirstKeepsTheTicketFree(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	for _, happens := range []func(ctx context.Context, ticketID, orderID string) error{s.Free, s.Reserve, s.Free} {
		if err := happens(t.Context(), ticket.ID, "O1"); err != nil {
			t.Fatal(err)
		}
	}
	natstest.RequireSequence(t, &r)
	requireTicket(t, s, ticket)
}

func TestAnOrderCannotHaveAnothersTicket(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	ticket := create(t, s, &r)
	if err := s.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve(t.Context(), ticket.ID, "O2"); !errors.Is(err, tickets.ErrReserved) {
		t.Errorf("error %v, want ErrReserved", err)
	}
	if err := s.Reserve(t.Context(), "T0", "O3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	if err := s.Free(t.Context(), "T0", "O3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	natstest.RequirePublished(t, &r, events.TicketUpdated{ID: ticket.ID, OrderID: "O1", Version: 1},
		cmpopts.IgnoreFields(events.TicketUpdated{}, "Title", "Price", "UserID"))
	natstest.RequireOnePublished[events.TicketUpdated](t, &r)

	// Once it is free, the order that had to wait gets it.
	if err := s.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reserve(t.Context(), ticket.ID, "O2"); err != nil {
		t.Error(err)
	}
}

func TestTheListHasWhatIsForSale(t *testing.T) {
	var r natstest.Recorder
	s := newService(t, &r)
	first, second := create(t, s, &r), create(t, s, &r)
	if err := s.Reserve(t.Context(), first.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	list, err := s.ForSale(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0] != second {
		t.Errorf("list %+v, error %v; want %+v", list, err, second)
	}
}
