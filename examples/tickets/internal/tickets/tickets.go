// Package tickets is what can be done with a ticket: a seller makes and changes
// it, an order reserves it and sets it free again. Each of these is a row that
// changes and an event that says so.
package tickets

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
)

var (
	// ErrForbidden means that the ticket is somebody else's.
	ErrForbidden = errors.New("the ticket is somebody else's")
	// ErrReserved means that the ticket is reserved for an order.
	ErrReserved = errors.New("the ticket is reserved")
)

// Service does it. Its methods may be called concurrently.
//
// An error that is a [*ticketing.PublishError] means that the change is stored,
// and its event is not, or perhaps not: that is the gap which an outbox closes.
// After any other error nothing has changed.
type Service struct {
	store   *store.Store
	broker  ticketing.Sender
	created *events.TicketCreatedPublisher
	updated *events.TicketUpdatedPublisher
}

// New returns a Service that keeps its tickets in s and publishes to broker.
func New(s *store.Store, broker ticketing.Sender) *Service {
	return &Service{
		store:   s,
		broker:  broker,
		created: ticketing.NewPublisher[events.TicketCreated](broker, nil),
		updated: ticketing.NewPublisher[events.TicketUpdated](broker, nil),
	}
}

// Ticket returns a ticket, or [store.ErrNotFound].
func (s *Service) Ticket(ctx context.Context, id string) (store.Ticket, error) {
	return s.store.Ticket(ctx, id)
}

// ForSale returns at most limit tickets that are not reserved, the oldest
// first, from the one behind the id after.
func (s *Service) ForSale(ctx context.Context, after string, limit int) ([]store.Ticket, error) {
	return s.store.ForSale(ctx, after, limit)
}

// Terms are what the seller decides.
type Terms struct {
	Title string
	Price float64
}

// Create makes a ticket of version 0. It returns the ticket also with a
// [*ticketing.PublishError].
func (s *Service) Create(ctx context.Context, userID string, terms Terms) (store.Ticket, error) {
	id, err := uuid.NewV7() // in the order in which they are made
	if err != nil {
		return store.Ticket{}, fmt.Errorf("tickets: make an id: %w", err)
	}
	t := store.Ticket{ID: id.String(), Title: terms.Title, Price: terms.Price, UserID: userID}
	ctx, cancel := detach(ctx)
	defer cancel()
	err = s.commit(ctx, func(tx *store.Tx) (event, error) {
		return s.ticketCreated(t), tx.Insert(ctx, t)
	})
	return t, err
}

// AnyVersion is for Update: it changes the ticket whatever its version is.
const AnyVersion = -1

// Update changes a ticket of userID's. version is the one that the seller has
// seen, or AnyVersion: one that is not the latest is [store.ErrConflict], as is
// a change by somebody else at the same time. Other errors are
// [store.ErrNotFound], [ErrForbidden] and [ErrReserved]. It returns the ticket
// also with a [*ticketing.PublishError].
func (s *Service) Update(ctx context.Context, userID, id string, version int, terms Terms) (store.Ticket, error) {
	t, err := s.store.Ticket(ctx, id)
	switch {
	case err != nil:
		return store.Ticket{}, err
	case t.UserID != userID:
		return store.Ticket{}, ErrForbidden
	case t.OrderID != "":
		return store.Ticket{}, ErrReserved
	case version != AnyVersion && version != t.Version:
		return store.Ticket{}, store.ErrConflict
	}
	// What was just read holds until the update, or the update finds another
	// version: no lock is held in between.
	t.Title, t.Price = terms.Title, terms.Price
	t.Version++
	ctx, cancel := detach(ctx)
	defer cancel()
	err = s.commit(ctx, func(tx *store.Tx) (event, error) {
		return s.ticketUpdated(t), tx.Update(ctx, t)
	})
	return t, err
}

// changeTimeout bounds a change with its event. A publish alone is bounded by
// the connection's AckTimeout, 5 s.
const changeTimeout = 10 * time.Second

// detach returns a context for a change and its event that does not end with
// the request. A client that hangs up after the commit would otherwise leave a
// change that nobody hears of.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
}

// event publishes an event by the road that it is given.
type event func(ctx context.Context, road ticketing.Sender) error

// commit makes a change and publishes the event that tells of it, if there is
// one. This is the only place where the database and the broker meet: the
// process may die between the two lines, and then a change has no event. With
// an outbox the event's road is the transaction, and the second line stands
// inside of the first.
func (s *Service) commit(ctx context.Context, change func(*store.Tx) (event, error)) error {
	var publish event
	err := s.store.Tx(ctx, func(tx *store.Tx) (err error) {
		publish, err = change(tx)
		return err
	})
	if err != nil || publish == nil {
		return err
	}
	return publish(ctx, s.broker)
}

func (s *Service) ticketCreated(t store.Ticket) event {
	return func(ctx context.Context, road ticketing.Sender) error {
		return s.created.Via(road).Publish(ctx, events.TicketCreated{
			ID:      t.ID,
			Title:   t.Title,
			Price:   t.Price,
			UserID:  t.UserID,
			Version: t.Version,
		}, eventID(t))
	}
}

func (s *Service) ticketUpdated(t store.Ticket) event {
	return func(ctx context.Context, road ticketing.Sender) error {
		return s.updated.Via(road).Publish(ctx, events.TicketUpdated{
			ID:      t.ID,
			Title:   t.Title,
			Price:   t.Price,
			UserID:  t.UserID,
			Version: t.Version,
			OrderID: t.OrderID,
		}, eventID(t))
	}
}

// eventID derives an event's id from what it tells of. However often a version
// is published, JetStream stores it once.
func eventID(t store.Ticket) ticketing.PublishOption {
	return ticketing.WithID(t.ID + "/" + strconv.Itoa(t.Version))
}
