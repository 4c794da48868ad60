package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// Kind is what an order does to a ticket.
type Kind string

// The two things that happen to an order, each at most once.
const (
	Reserved Kind = "reserved"
	Freed    Kind = "freed"
)

// OrderChange is what an order has done to a ticket. It is kept for ever, and
// says of an event that comes again, or comes too late, that its effect is
// there already.
type OrderChange struct {
	OrderID string
	Kind    Kind
	// Ticket is the ticket as the change left it; nil when the change did not
	// concern it, as when an order is cancelled before it was heard of.
	Ticket *Ticket
	// Announced says that the event of the change is stored at the broker.
	Announced bool
}

// OrderChange returns what that order did, or nil when it did nothing yet.
func (tx *Tx) OrderChange(ctx context.Context, orderID string, kind Kind) (*OrderChange, error) {
	c := OrderChange{OrderID: orderID, Kind: kind}
	var ticket string
	err := tx.QueryRowContext(ctx, `SELECT ticket, announced FROM order_changes WHERE order_id = ? AND kind = ?`, orderID, kind).
		Scan(&ticket, &c.Announced)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("store: read order change: %w", err)
	case ticket == "":
		return &c, nil
	}
	if err := json.Unmarshal([]byte(ticket), &c.Ticket); err != nil {
		return nil, fmt.Errorf("store: read order change: %w", err)
	}
	return &c, nil
}

// AddOrderChange stores c. There can be one of an order and a kind.
func (tx *Tx) AddOrderChange(ctx context.Context, c OrderChange) error {
	var ticket []byte
	if c.Ticket != nil {
		var err error
		if ticket, err = json.Marshal(c.Ticket); err != nil {
			return fmt.Errorf("store: add order change: %w", err)
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO order_changes (order_id, kind, ticket, announced) VALUES (?, ?, ?, ?)`,
		c.OrderID, c.Kind, string(ticket), c.Announced)
	if err != nil {
		return fmt.Errorf("store: add order change: %w", err)
	}
	return nil
}

// Announced records that the event of an order's change is stored at the
// broker.
func (s *Store) Announced(ctx context.Context, orderID string, kind Kind) error {
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer s.endTurn()
	_, err := s.write.ExecContext(ctx, `UPDATE order_changes SET announced = 1 WHERE order_id = ? AND kind = ?`, orderID, kind)
	if err != nil {
		return fmt.Errorf("store: mark order change as announced: %w", err)
	}
	return nil
}
