// Package accounts is the service that keeps the balances. It hears of
// deposits by their events.
package accounts

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
	"github.com/ducnguyen96/ticketing-common/inbox"
)

// Group is the service's name: that of its listeners' group, and that of the
// consumer in its inbox.
const Group = "accounts"

// Store is the inbox in the service's database: that of inbox/sqlite or of
// inbox/postgres. A service that has one database names its type instead.
type Store interface {
	Migrate(ctx context.Context) error
	InTx(ctx context.Context, consumer, eventID string, fn func(tx *sql.Tx) error) (ran bool, err error)
}

// Service keeps balances. Its methods may be called concurrently.
type Service struct {
	db    *sql.DB
	store Store
	log   *slog.Logger
}

// New returns the service on db, with its inbox there, and makes the tables
// that are missing.
func New(ctx context.Context, db *sql.DB, store Store, log *slog.Logger) (*Service, error) {
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS balances (
		account text PRIMARY KEY, amount bigint NOT NULL)`); err != nil {
		return nil, err
	}
	return &Service{db, store, log}, nil
}

// Listener returns what credits deposits: each of them once, however often its
// event arrives. Every instance of the service runs one.
//
// A service that lives longer than an example runs an [inbox.Purger], too.
func (s *Service) Listener(broker ticketing.Receiver) *ticketing.Listener[bank.DepositReceived] {
	once := inbox.Handler(s.store.InTx, Group, s.credit)
	return ticketing.NewListener(broker, Group, func(ctx context.Context, d *ticketing.Delivery[bank.DepositReceived]) error {
		// Its event has the deposit's id, but NATS Streaming does not carry
		// that. So it is taken from where both brokers have it.
		d.ID = d.Event.ID
		return once(ctx, d)
	}, &ticketing.ListenerOptions{
		AckWait: time.Second, // what a process held that died comes again so soon
		Logger:  s.log,
	})
}

// credit runs in the transaction that also notes down that the deposit is
// credited. Its nil is acknowledged after the commit.
func (s *Service) credit(ctx context.Context, tx *sql.Tx, d *ticketing.Delivery[bank.DepositReceived]) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO balances (account, amount) VALUES ($1, $2)
		ON CONFLICT (account) DO UPDATE SET amount = balances.amount + excluded.amount`, d.Event.Account, d.Event.Amount)
	return err
}

// Balance returns an account's balance, which is zero before the first deposit.
func (s *Service) Balance(ctx context.Context, account string) (amount int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT amount FROM balances WHERE account = $1`, account).Scan(&amount)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return amount, err
}
