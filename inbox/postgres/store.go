package postgres

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/internal/once"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
)

// Options configures a [Store]. Nil and the zero value are good.
type Options struct {
	// Table is the table's name. Default "inbox".
	Table string
	// Schema is where the table is. Default: where the connection's
	// search_path says.
	Schema string
}

// Store is an inbox in PostgreSQL. Its methods may be called concurrently.
type Store struct {
	db      *sql.DB
	dialect once.Dialect
	schema  string
	check   string
	lock    int64 // the advisory lock of Migrate
}

var _ inbox.Store = (*Store)(nil)

//go:embed schema.sql
var schema string

// New returns a store in db, which Migrate, InTx and Purge use. The error says
// what is wrong with a name.
//
// A service that has a pgxpool.Pool makes db with stdlib.OpenDBFromPool.
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("inbox/postgres: the database is nil")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Table == "" {
		o.Table = "inbox"
	}
	if err := sqlstore.CheckName("inbox: table", o.Table); err != nil {
		return nil, err
	}
	table := `"` + o.Table + `"`
	if o.Schema != "" {
		if err := sqlstore.CheckName("inbox: schema", o.Schema); err != nil {
			return nil, err
		}
		table = `"` + o.Schema + `".` + table
	}
	h := fnv.New64a()
	h.Write([]byte("inbox " + table))
	fill := strings.NewReplacer("{{table}}", table, "{{table_handled}}", `"`+o.Table+`_handled"`).Replace
	return &Store{
		db:     db,
		lock:   int64(h.Sum64()),
		schema: fill(schema),
		check:  fill(`SELECT count(handled_at) FROM {{table}} WHERE consumer = '' AND event_id = ''`),
		dialect: once.Dialect{
			Insert: fill(`INSERT INTO {{table}} (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`),
			// Purges at the same time take different rows.
			Delete: fill(`DELETE FROM {{table}} WHERE ctid = ANY (ARRAY(
				SELECT ctid FROM {{table}} WHERE handled_at < clock_timestamp() - $1::bigint * interval '1 microsecond'
				ORDER BY handled_at LIMIT $2 FOR UPDATE SKIP LOCKED))`),
			Conflict: conflict,
			Explain:  explain,
		},
	}, nil
}

// Schema returns the SQL that Migrate runs, for those who have a migration
// tool of their own. Running it again changes nothing.
func (s *Store) Schema() string { return s.schema }

// Migrate makes the table, or leaves it as it is. Several processes may call
// it at the same time. The schema, if one is named, has to exist.
func (s *Store) Migrate(ctx context.Context) error {
	var n int
	if err := s.db.QueryRowContext(ctx, s.check).Scan(&n); err == nil {
		return nil
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		// Two at a time would meet in the catalogue.
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, s.lock); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("inbox/postgres: migrate: %w", err)
	}
	return nil
}

// Once notes down in tx that consumer has handled the event, and calls f. If
// that is noted down already, f is not called, ran is false and err is nil. tx
// is a *sql.Tx, or a *sql.Conn on which a transaction was begun. See the
// function [Once] for pgx.
//
// While another transaction that has noted down the same is open, Once waits,
// as ctx and lock_timeout allow. With any error, f's too, the transaction has
// to be rolled back. The error matches [inbox.ErrTryAgain] where another
// transaction was in the way.
func (s *Store) Once(ctx context.Context, tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, consumer, eventID string, f func() error) (ran bool, err error) {
	return s.dialect.Run(ctx, once.SQL(tx), consumer, eventID, f)
}

// InTx is an [inbox.InTx]: it runs fn once in a transaction of its own, with
// the database's default isolation.
func (s *Store) InTx(ctx context.Context, consumer, eventID string, fn func(tx *sql.Tx) error) (ran bool, err error) {
	return s.Within(s.inTx)(ctx, consumer, eventID, fn)
}

// Within returns an [inbox.InTx] whose transactions are run by inTx: one that
// begins them at another isolation level, or an outbox's InTx, so that a
// handler's own events go out at once:
//
//	inbox.Handler(in.Within(out.InTx), "accounts", …)
//
// See the function [Within] for pgx.
func (s *Store) Within(inTx func(ctx context.Context, fn func(tx *sql.Tx) error) error) inbox.InTx[*sql.Tx] {
	return once.Within(&s.dialect, inTx, func(tx *sql.Tx) once.Exec { return once.SQL(tx) })
}

func (s *Store) inTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return sqlstore.InTx(ctx, s.db, fn)
}

// Purge implements [inbox.Store].
func (s *Store) Purge(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	return s.dialect.Purge(ctx, s.inTx, age, limit)
}

// Why PostgreSQL refused, by SQLSTATE.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
)

func conflict(err error) bool {
	s := sqlstore.SQLState(err)
	return s == serializationFailure || s == deadlockDetected
}

// explain names the errors of the store's statements that a caller can do
// something about.
func explain(err error) error {
	if sqlstore.Undefined(err) {
		return fmt.Errorf("%w: %w", inbox.ErrNotMigrated, err)
	}
	return err
}
