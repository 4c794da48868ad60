// Package tickets is what can be done with a ticket: a seller makes and changes
// it, an order reserves it and sets it free again. Each of these is a row that
// changes and an event that says so.
package tickets

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

var (
	// ErrForbidden means that the ticket is somebody else's.
	ErrForbidden = errors.New("the ticket is somebody else's")
	// ErrReserved means that the ticket is reserved for an order.
	ErrReserved = errors.New("the ticket is reserved")
)

// Service does it. Its methods may be called concurrently. The change and its
// event are in one transaction: after an error there is neither.
type Service struct {
	store   *store.Store
	created *events.TicketCreatedPublisher
	updated *events.TicketUpdatedPublisher
}

// New returns a Service that keeps its tickets in s. Their events are for
// broker, and go there by way of s.Outbox: somebody has to run its relay.
func New(s *store.Store, broker ticketing.Sender) *Service {
	return &Service{
		store:   s,
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

// Create makes a ticket of version 0.
func (s *Service) Create(ctx context.Context, userID string, terms Terms) (store.Ticket, error) {
	id, err := uuid.NewV7() // in the order in which they are made
	if err != nil {
		return store.Ticket{}, fmt.Errorf("tickets: make an id: %w", err)
	}
	t := store.Ticket{ID: id.String(), Title: terms.Title, Price: terms.Price, UserID: userID}
	return t, outbox.InTx(ctx, s.store.Outbox, func(tx *sql.Tx) error {
		if err := s.store.Insert(ctx, tx, t); err != nil {
			return err
		}
		return s.created.Via(s.store.Outbox.Tx(tx)).Publish(ctx, events.TicketCreated{
			ID:      t.ID,
			Title:   t.Title,
			Price:   t.Price,
			UserID:  t.UserID,
			Version: t.Version,
		})
	})
}

// AnyVersion is for Update: it changes the ticket whatever its version is.
const AnyVersion = -1

// Update changes a ticket of userID's. version is the one that the seller has
// seen, or AnyVersion: one that is not the latest is [store.ErrConflict], as is
// a change by somebody else at the same time. Other errors are
// [store.ErrNotFound], [ErrForbidden] and [ErrReserved].
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
	return t, outbox.InTx(ctx, s.store.Outbox, func(tx *sql.Tx) error { return s.update(ctx, tx, t) })
}

// update stores the next version of a ticket, and the event that tells of it.
func (s *Service) update(ctx context.Context, tx *sql.Tx, t store.Ticket) error {
	if err := s.store.Update(ctx, tx, t); err != nil {
		return err
	}
	return s.updated.Via(s.store.Outbox.Tx(tx)).Publish(ctx, events.TicketUpdated{
		ID:      t.ID,
		Title:   t.Title,
		Price:   t.Price,
		UserID:  t.UserID,
		Version: t.Version,
		OrderID: t.OrderID,
	})
}
