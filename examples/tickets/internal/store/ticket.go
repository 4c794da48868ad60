package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Ticket is a ticket that somebody sells. Its JSON is what the service answers.
type Ticket struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	Price  float64 `json:"price"`
	UserID string  `json:"userId"` // the seller
	// Version is 0 when the ticket is made, and one more at each change.
	Version int `json:"version"`
	// OrderID is the order that the ticket is reserved for; empty: for sale.
	OrderID string `json:"orderId,omitempty"`
}

// statements are prepared once, because parsing takes longer than running.
type statements struct {
	get, list, insert, update *sql.Stmt
}

func (s *Store) prepare(ctx context.Context) (err error) {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.get, `SELECT id, title, price, user_id, version, order_id FROM tickets WHERE id = ?`},
		{&s.list, `SELECT id, title, price, user_id, version, order_id FROM tickets
			WHERE order_id = '' AND id > ? ORDER BY id LIMIT ?`},
		{&s.insert, `INSERT INTO tickets (id, title, price, user_id, version, order_id) VALUES (?, ?, ?, ?, ?, ?)`},
		{&s.update, `UPDATE tickets SET title = ?, price = ?, version = ?, order_id = ? WHERE id = ? AND version = ?`},
	} {
		if *p.stmt, err = s.db.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	return nil
}

// Ticket returns the ticket with that id, or [ErrNotFound].
func (s *Store) Ticket(ctx context.Context, id string) (Ticket, error) {
	return scanOne(s.get.QueryRowContext(ctx, id))
}

// ForSale returns at most limit tickets that are not reserved, in the order of
// their ids, from the one behind the id after.
func (s *Store) ForSale(ctx context.Context, after string, limit int) ([]Ticket, error) {
	rows, err := s.list.QueryContext(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("store: list tickets: %w", err)
	}
	defer rows.Close()
	tickets := []Ticket{} // in JSON a list also when it is empty
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, err
		}
		tickets = append(tickets, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: list tickets: %w", err)
	}
	return tickets, nil
}

// TicketIn is [Store.Ticket] within a transaction.
func (s *Store) TicketIn(ctx context.Context, tx *sql.Tx, id string) (Ticket, error) {
	return scanOne(tx.StmtContext(ctx, s.get).QueryRowContext(ctx, id))
}

// Insert stores a new ticket.
func (s *Store) Insert(ctx context.Context, tx *sql.Tx, t Ticket) error {
	_, err := tx.StmtContext(ctx, s.insert).ExecContext(ctx, t.ID, t.Title, t.Price, t.UserID, t.Version, t.OrderID)
	if err != nil {
		return fmt.Errorf("store: insert ticket: %w", err)
	}
	return nil
}

// Update stores t as the successor of the version before t.Version. If there
// is another one meanwhile it stores nothing and returns [ErrConflict].
func (s *Store) Update(ctx context.Context, tx *sql.Tx, t Ticket) error {
	result, err := tx.StmtContext(ctx, s.update).ExecContext(ctx, t.Title, t.Price, t.Version, t.OrderID, t.ID, t.Version-1)
	if err != nil {
		return fmt.Errorf("store: update ticket: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("store: update ticket: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("store: ticket %s, version %d: %w", t.ID, t.Version-1, ErrConflict)
	}
	return nil
}

func scanOne(row *sql.Row) (Ticket, error) {
	t, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Ticket{}, ErrNotFound
	}
	return t, err
}

func scan(row interface{ Scan(...any) error }) (t Ticket, err error) {
	if err := row.Scan(&t.ID, &t.Title, &t.Price, &t.UserID, &t.Version, &t.OrderID); err != nil {
		return Ticket{}, fmt.Errorf("store: read ticket: %w", err)
	}
	return t, nil
}
