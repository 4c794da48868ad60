package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/internal/once"
	"github.com/ducnguyen96/ticketing-common/internal/sqlitecode"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
)

// Options configures a [Store]. Nil and the zero value are good.
type Options struct {
	// Table is the table's name. Default "inbox".
	Table string
}

// Store is an inbox in SQLite. Its methods may be called concurrently. There
// should be one for each table and process: its transactions take turns
// without polling the file's lock.
type Store struct {
	db      *sql.DB
	dialect once.Dialect
	schema  string
	check   string
	writing chan struct{} // the writer in this process
}

var _ inbox.Store = (*Store)(nil)

// now is the database's time in microseconds; its resolution is a millisecond.
const now = `CAST((julianday('now')-2440587.5)*86400000000 AS INTEGER)`

//go:embed schema.sql
var schema string

// New returns a store in db. The error says what is wrong with a name. db is
// not used before Migrate.
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("inbox/sqlite: the database is nil")
	}
	table := "inbox"
	if opts != nil && opts.Table != "" {
		table = opts.Table
	}
	if err := sqlstore.CheckName("inbox: table", table); err != nil {
		return nil, err
	}
	fill := strings.NewReplacer(
		"{{table}}", `"`+table+`"`,
		"{{table_handled}}", `"`+table+`_handled"`,
		"{{now}}", now,
	).Replace
	return &Store{
		db:      db,
		writing: make(chan struct{}, 1),
		schema:  fill(schema),
		check:   fill(`SELECT count(handled_at) FROM {{table}} WHERE consumer = '' AND event_id = ''`),
		dialect: once.Dialect{
			Insert: fill(`INSERT INTO {{table}} (consumer, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING`),
			Delete: fill(`DELETE FROM {{table}} WHERE (consumer, event_id) IN (
				SELECT consumer, event_id FROM {{table}} WHERE handled_at < {{now}} - ? ORDER BY handled_at LIMIT ?)`),
			Conflict: sqlitecode.IsBusy,
			Explain:  func(err error) error { return explain(err, table) },
		},
	}, nil
}

// Schema returns the SQL that Migrate runs, for those who have a migration
// tool of their own. Running it again changes nothing.
func (s *Store) Schema() string { return s.schema }

// Migrate makes the table, or leaves it as it is. Several processes may call
// it at the same time.
func (s *Store) Migrate(ctx context.Context) error {
	var n int
	if err := s.db.QueryRowContext(ctx, s.check).Scan(&n); err == nil {
		return nil // without waiting for a writer
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("inbox/sqlite: migrate: %w", s.dialect.Name(err))
	}
	return nil
}

// Once notes down in tx that consumer has handled the event, and calls f. If
// that is noted down already, f is not called, ran is false and err is nil. tx
// is a *sql.Tx, or a *sql.Conn on which a transaction was begun.
//
// While another transaction is writing, Once waits for the connection's busy
// timeout. With any error, f's too, the transaction has to be rolled back. The
// error matches [inbox.ErrTryAgain] where another transaction was in the way.
func (s *Store) Once(ctx context.Context, tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, consumer, eventID string, f func() error) (ran bool, err error) {
	return s.dialect.Run(ctx, once.SQL(tx), consumer, eventID, f)
}

// InTx is an [inbox.InTx]: it runs fn once in a transaction of its own. The
// transactions of one store take turns, and fn must not call InTx.
func (s *Store) InTx(ctx context.Context, consumer, eventID string, fn func(tx *sql.Tx) error) (ran bool, err error) {
	return s.Within(s.inTx)(ctx, consumer, eventID, fn)
}

// Within returns an [inbox.InTx] whose transactions are run by inTx. That may
// be an outbox's InTx, so that a handler's own events go out at once:
//
//	inbox.Handler(in.Within(out.InTx), "accounts", …)
func (s *Store) Within(inTx func(ctx context.Context, fn func(tx *sql.Tx) error) error) inbox.InTx[*sql.Tx] {
	return once.Within(&s.dialect, inTx, func(tx *sql.Tx) once.Exec { return once.SQL(tx) })
}

// inTx begins no transaction IMMEDIATE: one whose first statement writes takes
// the lock just so.
func (s *Store) inTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return sqlstore.InTx(ctx, s.db, fn)
}

// Purge implements [inbox.Store].
func (s *Store) Purge(ctx context.Context, age time.Duration, limit int) (n int, err error) {
	return s.dialect.Purge(ctx, s.inTx, age, limit)
}
