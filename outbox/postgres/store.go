package postgres

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Options configures a [Store]. Nil and the zero value are good.
type Options struct {
	// Table is the name of the events' table; the relay's has the same name
	// with "_relay" behind it. Default "outbox".
	Table string
	// Schema is where the tables are. Default: where the connection's
	// search_path says.
	Schema string
	// MaxPayload is the largest payload, in bytes: an event that the broker
	// would refuse is refused in the transaction already. It should be the
	// server's max_payload. Default 1 MiB, as NATS has it; negative: no limit.
	MaxPayload int
	// LockKeys takes an advisory lock of an event's key before it is written,
	// until the transaction ends, so that events of one key get their numbers
	// in the order of the commits. It takes one more round trip. Transactions
	// that write events of several keys should write them in the same order:
	// otherwise PostgreSQL ends one of two that wait for each other. A service
	// that locks its aggregates needs it not.
	LockKeys bool
	// Notify sends a notification with each commit, for [Listen]. PostgreSQL
	// lets one transaction at a time commit that has notifications: it was
	// measured to cost 8 writers two fifths of their throughput.
	Notify bool
}

// Store is an outbox in PostgreSQL. Its methods may be called concurrently.
// There should be one for each table and process: it wakes the relay that uses
// the same one.
type Store struct {
	outbox.Wakeups
	db      *sql.DB
	o       Options
	q       queries
	channel string // of notifications
	locks   int64  // where this table's advisory locks begin
}

var _ outbox.Store = (*Store)(nil)

// New returns a store in db. The error says what is wrong with a name. db is
// not used before Migrate. A relay uses at most four of its connections.
//
// A service that has a pgxpool.Pool makes db with stdlib.OpenDBFromPool.
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("outbox/postgres: the database is nil")
	}
	s := &Store{db: db}
	if opts != nil {
		s.o = *opts
	}
	if s.o.Table == "" {
		s.o.Table = "outbox"
	}
	if err := sqlstore.CheckName("outbox: table", s.o.Table); err != nil {
		return nil, err
	}
	if s.o.Schema != "" {
		if err := sqlstore.CheckName("outbox: schema", s.o.Schema); err != nil {
			return nil, err
		}
	}
	s.q = newQueries(s.o)
	s.channel = s.o.Table
	if s.o.Schema != "" {
		s.channel = s.o.Schema + "." + s.o.Table
	}
	s.locks = hash(s.channel)
	s.channel = channel(s.channel)
	return s, nil
}

// channel is name, or its beginning and a hash where that has more than the 63
// bytes that PostgreSQL takes.
func channel(name string) string {
	const most, digits = 63, 16
	if len(name) <= most {
		return name
	}
	return fmt.Sprintf("%s_%0*x", name[:most-digits-1], digits, uint64(hash(name)))
}

func hash(parts ...string) int64 {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return int64(h.Sum64())
}

const version = 1

//go:embed schema.sql
var schema string

// Table returns the name of the events' table as SQL has it: quoted, and with
// its schema where Options.Schema names one.
func (s *Store) Table() string { return s.q.fill("{{table}}") }

// Schema returns the SQL that Migrate runs, for those who have a migration
// tool of their own. Running it again changes nothing.
func (s *Store) Schema() string { return s.q.fill(schema) }

// Migrate makes the tables, or leaves them as they are. Several processes may
// call it at the same time. The schema, if one is named, has to exist.
func (s *Store) Migrate(ctx context.Context) error {
	var has int
	if err := s.db.QueryRowContext(ctx, s.q.version).Scan(&has); err == nil && has == version {
		return nil
	}
	err := sqlstore.InTx(ctx, s.db, func(tx *sql.Tx) error {
		// Two at a time would meet in the catalogue.
		if _, err := tx.ExecContext(ctx, s.q.lock, s.locks); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.Schema())
		return err
	})
	if err != nil {
		return fmt.Errorf("outbox/postgres: migrate: %w", err)
	}
	return nil
}

// InTx runs fn in a transaction with the database's default isolation, commits
// it and wakes the relay. If fn returns an error, InTx rolls back and returns
// it. See also the function [InTx], for pgx.
func (s *Store) InTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	if err := sqlstore.InTx(ctx, s.db, fn); err != nil {
		return err
	}
	s.Wake()
	return nil
}

// Tx returns a sender that writes events into the outbox within a transaction
// of the service's: a *sql.Tx, or a *sql.Conn on which one was begun. After it
// committed, [outbox.Wakeups.Wake] makes the relay look at once; InTx does
// that by itself.
//
// An event that is written again with the same id is one row. If it is not the
// same event the error matches [outbox.ErrIDTaken]. An error of the database
// matches [ticketing.ErrTransaction] and leaves the transaction to be rolled back,
// as PostgreSQL has it.
func (s *Store) Tx(tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}) ticketing.Sender {
	return sender{s: s, exec: func(ctx context.Context, query string, args ...any) (int64, error) {
		return sqlstore.Affected(tx.ExecContext(ctx, query, args...))
	}}
}

// Tx returns a sender as Store.Tx does, for a transaction of pgx v5: a pgx.Tx,
// or a *pgx.Conn on which one was begun. After it committed,
// [outbox.Wakeups.Wake] makes the relay look at once; [InTx] does that by
// itself.
func Tx[T interface{ RowsAffected() int64 }](s *Store, tx interface {
	Exec(ctx context.Context, query string, args ...any) (T, error)
}) ticketing.Sender {
	return sender{s: s, exec: func(ctx context.Context, query string, args ...any) (int64, error) {
		tag, err := tx.Exec(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return tag.RowsAffected(), nil
	}}
}

// InTx is outbox.InTx for pgx v5: db is a *pgxpool.Pool or a *pgx.Conn.
func InTx[T interface {
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}](ctx context.Context, s *Store, db interface {
	Begin(ctx context.Context) (T, error)
}, fn func(tx T) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it may be committed, and if not, the error says why
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	s.Wake()
	return nil
}

// Listen is for RelayOptions.Listen: notifications wake the relay, if the
// services that write have Options.Notify. connect makes a connection of pgx
// v5, not one of a pool, which Listen closes.
//
//	Listen: postgres.Listen(store, func(ctx context.Context) (*pgx.Conn, error) {
//		return pgx.Connect(ctx, url)
//	})
func Listen[T, N any, C interface {
	Exec(ctx context.Context, query string, args ...any) (T, error)
	WaitForNotification(ctx context.Context) (N, error)
	Close(ctx context.Context) error
}](s *Store, connect func(ctx context.Context) (C, error)) func(ctx context.Context, wake func()) error {
	return func(ctx context.Context, wake func()) error {
		conn, err := connect(ctx)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if _, err := conn.Exec(ctx, `LISTEN "`+s.channel+`"`); err != nil {
			return err
		}
		for {
			wake() // also for what came before LISTEN
			if _, err := conn.WaitForNotification(ctx); err != nil {
				return err
			}
		}
	}
}
