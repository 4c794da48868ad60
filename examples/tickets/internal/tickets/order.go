package tickets

import (
	"context"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
)

// Reserve reserves a ticket for an order, once: called again it only sees to
// it that the event is published. After an order was cancelled it does nothing,
// because the events of two subjects may arrive in either order. Errors are
// [store.ErrNotFound] and [ErrReserved], when another order has the ticket.
func (s *Service) Reserve(ctx context.Context, ticketID, orderID string) error {
	return s.order(ctx, orderID, store.Reserved, func(tx *store.Tx) (*store.Ticket, error) {
		if cancelled, err := tx.OrderChange(ctx, orderID, store.Freed); err != nil || cancelled != nil {
			return nil, err
		}
		t, err := tx.Ticket(ctx, ticketID)
		if err != nil {
			return nil, err
		}
		if t.OrderID != "" {
			return nil, ErrReserved
		}
		t.OrderID = orderID
		t.Version++
		return &t, tx.Update(ctx, t)
	})
}

// Free puts a ticket up for sale again when its order was cancelled, once:
// called again it only sees to it that the event is published. A ticket that
// the order does not have is left as it is.
func (s *Service) Free(ctx context.Context, ticketID, orderID string) error {
	return s.order(ctx, orderID, store.Freed, func(tx *store.Tx) (*store.Ticket, error) {
		t, err := tx.Ticket(ctx, ticketID)
		if err != nil || t.OrderID != orderID {
			return nil, err
		}
		t.OrderID = ""
		t.Version++
		return &t, tx.Update(ctx, t)
	})
}

// order makes an order's change to a ticket, publishes it, and remembers both,
// each as soon as it is done. Wherever it was interrupted, the next call goes
// on from there: the change is not made twice, and what is published is the
// ticket as the change left it, whatever has become of it since.
func (s *Service) order(ctx context.Context, orderID string, kind store.Kind, change func(*store.Tx) (*store.Ticket, error)) error {
	err := s.commit(ctx, func(tx *store.Tx) (event, error) {
		made, err := tx.OrderChange(ctx, orderID, kind)
		if err != nil {
			return nil, err
		}
		if made == nil {
			made = &store.OrderChange{OrderID: orderID, Kind: kind}
			if made.Ticket, err = change(tx); err != nil {
				return nil, err
			}
			if err := tx.AddOrderChange(ctx, *made); err != nil {
				return nil, err
			}
		}
		if made.Ticket == nil || made.Announced {
			return nil, nil
		}
		return s.ticketUpdated(*made.Ticket), nil
	})
	if err != nil {
		return err
	}
	return s.store.Announced(ctx, orderID, kind)
}
