// Package transactions is the service that takes deposits. It books a deposit
// in its own database, and tells the other services with an event.
package transactions

import (
	"context"
	"database/sql"
	"log/slog"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Store is the outbox in the service's database: that of outbox/sqlite or of
// outbox/postgres. A service that has one database names its type instead.
type Store interface {
	outbox.Store
	Migrate(ctx context.Context) error
	InTx(ctx context.Context, fn func(tx *sql.Tx) error) error
	Tx(tx interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}) ticketing.Sender
}

// Deposit is what a user asks for. The user chooses the id, and keeps it where
// the same deposit is asked for again.
type Deposit struct {
	ID      string
	Account string
	Amount  int64
}

// Service takes deposits. Its methods may be called concurrently.
type Service struct {
	db       *sql.DB
	store    Store
	received *ticketing.Publisher[bank.DepositReceived]
	relay    *outbox.Relay
}

// New returns the service on db, with its outbox there, and makes the tables
// that are missing.
func New(ctx context.Context, db *sql.DB, store Store, broker ticketing.Sender, log *slog.Logger) (*Service, error) {
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS deposits (
		id text PRIMARY KEY, account text NOT NULL, amount bigint NOT NULL)`); err != nil {
		return nil, err
	}
	return &Service{
		db:       db,
		store:    store,
		received: ticketing.NewPublisher[bank.DepositReceived](broker, &ticketing.PublisherOptions{Logger: log}),
		relay:    outbox.NewRelay(store, broker, &outbox.RelayOptions{Logger: log}),
	}, nil
}

// Run publishes what is in the outbox until ctx ends. Every instance of the
// service runs it.
func (s *Service) Run(ctx context.Context) error { return s.relay.Run(ctx) }

// Deposit books d. Nil says that it is booked, and that every service will
// hear of it, whether or not the broker is there: the row and the event are
// committed together. With an error the user may try again under the same id,
// also where it is unknown whether the commit happened.
func (s *Service) Deposit(ctx context.Context, d Deposit) error {
	return outbox.InTx(ctx, s.store, func(tx *sql.Tx) error {
		booked, err := insert(ctx, tx, d)
		if err != nil || !booked {
			return err // nil: it was booked before, and its event with it
		}
		return s.received.Via(s.store.Tx(tx)).Publish(ctx, bank.DepositReceived(d), ticketing.WithID(d.ID))
	})
}

// insert reports whether the deposit is a new one.
func insert(ctx context.Context, tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, d Deposit) (booked bool, err error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO deposits (id, account, amount) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		d.ID, d.Account, d.Amount)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Booked returns the ids of all deposits in the table, with their amounts.
func (s *Service) Booked(ctx context.Context) (map[string]int64, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, amount FROM deposits`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	booked := map[string]int64{}
	for rows.Next() {
		var id string
		var amount int64
		if err := rows.Scan(&id, &amount); err != nil {
			return nil, err
		}
		booked[id] = amount
	}
	return booked, rows.Err()
}
