package tickets

import (
	"context"
	"database/sql"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

// reserving is what an order does once, under its own id: the inbox tells that
// it has, or will not any more. An id of the message's would not do, because
// not every broker carries one, and an order may be published twice.
const reserving = "tickets: reserve"

// Reserve reserves a ticket for an order, once. After the order was cancelled
// it does nothing, because the events of two subjects may arrive in either
// order. Errors are [store.ErrNotFound] and [ErrReserved], when another order
// has the ticket.
func (s *Service) Reserve(ctx context.Context, ticketID, orderID string) error {
	reserve := s.store.Inbox.Within(s.store.Outbox.InTx)
	_, err := reserve(ctx, reserving, orderID, func(tx *sql.Tx) error {
		t, err := s.store.TicketIn(ctx, tx, ticketID)
		if err != nil {
			return err
		}
		if t.OrderID != "" {
			return ErrReserved
		}
		t.OrderID = orderID
		t.Version++
		return s.update(ctx, tx, t)
	})
	return err
}

// Free puts a ticket up for sale again when its order was cancelled. A ticket
// that the order does not have is left as it is.
func (s *Service) Free(ctx context.Context, ticketID, orderID string) error {
	return outbox.InTx(ctx, s.store.Outbox, func(tx *sql.Tx) error {
		// If the order has not been heard of yet, it is not to be later.
		if _, err := s.store.Inbox.Once(ctx, tx, reserving, orderID, func() error { return nil }); err != nil {
			return err
		}
		t, err := s.store.TicketIn(ctx, tx, ticketID)
		if err != nil || t.OrderID != orderID {
			return err
		}
		t.OrderID = ""
		t.Version++
		return s.update(ctx, tx, t)
	})
}
