package tickets_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store/storetest"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var opera = tickets.Terms{Title: "Opera", Price: 20}

// fixture is the service and its database, with a recorder in the place of the
// broker that the relay brings events to.
type fixture struct {
	*tickets.Service
	store  *store.Store
	broker natstest.Recorder
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	s, err := store.Open(t.Context(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	past := ticketing.SendFunc(func(_ context.Context, m *ticketing.Message) error {
		t.Errorf("an event on %s went past the outbox", m.Subject)
		return nil
	})
	return &fixture{Service: tickets.New(s, past), store: s}
}

// published is the broker, with what all transactions so far have published.
func (f *fixture) published(t *testing.T) *natstest.Recorder {
	t.Helper()
	storetest.Relay(t, f.store, &f.broker)
	return &f.broker
}

// forget takes all events so far away.
func (f *fixture) forget(t *testing.T) { f.published(t).Reset() }

// create makes a ticket of ann's, and forgets its event.
func (f *fixture) create(t *testing.T) store.Ticket {
	t.Helper()
	ticket, err := f.Create(t.Context(), "ann", opera)
	if err != nil {
		t.Fatal(err)
	}
	f.forget(t)
	return ticket
}

func (f *fixture) requireTicket(t *testing.T, want store.Ticket) {
	t.Helper()
	if got, err := f.Ticket(t.Context(), want.ID); err != nil || got != want {
		t.Fatalf("ticket %+v, error %v; want %+v", got, err, want)
	}
}

func updated(t store.Ticket) events.TicketUpdated {
	return events.TicketUpdated{ID: t.ID, Title: t.Title, Price: t.Price, UserID: t.UserID, Version: t.Version, OrderID: t.OrderID}
}

func TestANewTicketIsPublishedOnce(t *testing.T) {
	f := newFixture(t)
	ticket, err := f.Create(t.Context(), "ann", opera)
	if err != nil {
		t.Fatal(err)
	}
	f.requireTicket(t, store.Ticket{ID: ticket.ID, Title: "Opera", Price: 20, UserID: "ann"})

	// The whole sequence, so that a second event of any kind would be seen.
	messages := natstest.RequireSequence(t, f.published(t),
		events.TicketCreated{ID: ticket.ID, Title: "Opera", Price: 20, UserID: "ann", Version: 0})
	if m := messages[0]; m.ID == "" || m.Key != ticket.ID {
		t.Errorf("message id %q, key %q", m.ID, m.Key)
	}
}

func TestEachUpdateIsPublishedWithTheNextVersion(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	for _, price := range []float64{30, 35.5} {
		if _, err := f.Update(t.Context(), "ann", ticket.ID, tickets.AnyVersion, tickets.Terms{Title: "Opera", Price: price}); err != nil {
			t.Fatal(err)
		}
	}
	natstest.RequireSequence(t, f.published(t),
		events.TicketUpdated{ID: ticket.ID, Title: "Opera", Price: 30, UserID: "ann", Version: 1},
		events.TicketUpdated{ID: ticket.ID, Title: "Opera", Price: 35.5, UserID: "ann", Version: 2},
	)
}

func TestARefusedUpdateChangesAndPublishesNothing(t *testing.T) {
	f := newFixture(t)
	free, reserved := f.create(t), f.create(t)
	if err := f.Reserve(t.Context(), reserved.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	f.forget(t)
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
			if _, err := f.Update(t.Context(), test.user, test.id, test.version, tickets.Terms{Title: "Ballet", Price: 1}); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			natstest.RequireSequence(t, f.published(t)) // nothing at all
			f.requireTicket(t, free)
			f.requireTicket(t, reserved)
		})
	}
}

func TestAChangeWhoseEventCannotBeStoredIsNotMade(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	tooLarge := tickets.Terms{Title: strings.Repeat("x", 1<<20), Price: 20}
	if _, err := f.Create(t.Context(), "ann", tooLarge); !errors.Is(err, ticketing.ErrRejected) {
		t.Errorf("error %v, want ErrRejected", err)
	}
	if _, err := f.Update(t.Context(), "ann", ticket.ID, tickets.AnyVersion, tooLarge); !errors.Is(err, ticketing.ErrRejected) {
		t.Errorf("error %v, want ErrRejected", err)
	}
	natstest.RequireSequence(t, f.published(t))
	if list, err := f.ForSale(t.Context(), "", 10); err != nil || len(list) != 1 || list[0] != ticket {
		t.Errorf("list %+v, error %v; want %+v", list, err, ticket)
	}
}

func TestAClientThatHangsUpHasChangedNothing(t *testing.T) {
	f := newFixture(t)
	request, hangUp := context.WithCancel(t.Context())
	// The database is busy, and meanwhile the client goes.
	err := f.store.Outbox.InTx(t.Context(), func(*sql.Tx) error {
		created := make(chan error)
		go func() {
			_, err := f.Create(request, "ann", opera)
			created <- err
		}()
		hangUp()
		return <-created
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	natstest.RequireSequence(t, f.published(t))
	if list, err := f.ForSale(t.Context(), "", 10); err != nil || len(list) != 0 {
		t.Errorf("list %+v, error %v", list, err)
	}
}

func TestAnOrderReservesAndFreesItsTicket(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	if err := f.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	reserved, freed := ticket, ticket
	reserved.Version, reserved.OrderID = 1, "O1"
	freed.Version = 2
	natstest.RequireSequence(t, f.published(t), updated(reserved), updated(freed))
	f.requireTicket(t, freed)
}

func TestAnOrderThatComesAgainHasNoSecondEffect(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	for range 2 {
		if err := f.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	// The order was cancelled since: its creation must not reserve the ticket
	// again, nor its cancellation free one that the next order has.
	if err := f.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reserve(t.Context(), ticket.ID, "O2"); err != nil {
		t.Fatal(err)
	}
	if err := f.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	ticket.Version, ticket.OrderID = 3, "O2"
	f.requireTicket(t, ticket)
	if got := natstest.Published[events.TicketUpdated](t, f.published(t)); len(got) != 3 {
		t.Errorf("%d events for three changes: %+v", len(got), got)
	}
}

func TestACancellationThatArrivesFirstKeepsTheTicketFree(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	for _, happens := range []func(ctx context.Context, ticketID, orderID string) error{f.Free, f.Reserve, f.Free} {
		if err := happens(t.Context(), ticket.ID, "O1"); err != nil {
			t.Fatal(err)
		}
	}
	natstest.RequireSequence(t, f.published(t))
	f.requireTicket(t, ticket)
}

func TestAnOrderCannotHaveAnothersTicket(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	if err := f.Reserve(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reserve(t.Context(), ticket.ID, "O2"); !errors.Is(err, tickets.ErrReserved) {
		t.Errorf("error %v, want ErrReserved", err)
	}
	if err := f.Reserve(t.Context(), "T0", "O3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	if err := f.Free(t.Context(), "T0", "O3"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	natstest.RequirePublished(t, f.published(t), events.TicketUpdated{ID: ticket.ID, OrderID: "O1", Version: 1},
		cmpopts.IgnoreFields(events.TicketUpdated{}, "Title", "Price", "UserID"))
	natstest.RequireOnePublished[events.TicketUpdated](t, f.published(t))

	// Once it is free, the order that had to wait gets it.
	if err := f.Free(t.Context(), ticket.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reserve(t.Context(), ticket.ID, "O2"); err != nil {
		t.Error(err)
	}
}

func TestTheListHasWhatIsForSale(t *testing.T) {
	f := newFixture(t)
	first, second := f.create(t), f.create(t)
	if err := f.Reserve(t.Context(), first.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	list, err := f.ForSale(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0] != second {
		t.Errorf("list %+v, error %v; want %+v", list, err, second)
	}
}
