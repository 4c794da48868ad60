package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/sqlitecode"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Options configures a [Store]. Nil and the zero value are good.
type Options struct {
	// Table is the name of the events' table; the relay's has the same name
	// with "_relay" behind it. Default "outbox".
	Table string
	// MaxPayload is the largest payload, in bytes: an event that the broker
	// would refuse is refused in the transaction already. It should be the
	// server's max_payload. Default 1 MiB, as NATS has it; negative: no limit.
	MaxPayload int
	// BusyTimeout is how long InTx and the relay's own transactions wait for
	// another process to finish writing, on top of what the connections are
	// set to. Default 5 s.
	BusyTimeout time.Duration
}

// Store is an outbox in SQLite. Its methods may be called concurrently. There
// should be one for each table and process: it wakes the relay that uses the
// same one, and its writers take turns without polling the file's lock.
type Store struct {
	outbox.Wakeups
	db      *sql.DB
	o       Options
	q       queries
	writing chan struct{} // the writer in this process

	lock, insert, pending prepared               // the statements that latency depends on
	current               atomic.Pointer[sql.Tx] // that of InTx; insert is compiled while there is one
}

// prepared is a statement that is compiled when it is first needed: compiling
// takes SQLite longer than running it.
type prepared struct {
	mu   sync.Mutex
	stmt *sql.Stmt
}

func (p *prepared) of(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stmt == nil {
		stmt, err := db.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		p.stmt = stmt
	}
	return p.stmt, nil
}

var _ outbox.Store = (*Store)(nil)

// New returns a store in db. The error says what is wrong with a name. db is
// not used before Migrate.
func New(db *sql.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("outbox/sqlite: the database is nil")
	}
	s := &Store{db: db, writing: make(chan struct{}, 1)}
	if opts != nil {
		s.o = *opts
	}
	if s.o.Table == "" {
		s.o.Table = "outbox"
	}
	if s.o.BusyTimeout <= 0 {
		s.o.BusyTimeout = 5 * time.Second
	}
	if err := sqlstore.CheckName("outbox: table", s.o.Table); err != nil {
		return nil, err
	}
	s.q = newQueries(s.o.Table)
	return s, nil
}

//go:embed schema.sql
var schema string

// Table returns the name of the events' table as SQL has it, quoted.
func (s *Store) Table() string { return s.q.fill("{{table}}") }

// Schema returns the SQL that Migrate runs, for those who have a migration
// tool of their own. Running it again changes nothing.
func (s *Store) Schema() string { return s.q.fill(schema) }

// Migrate makes the tables, or leaves them as they are. Several processes may
// call it at the same time.
func (s *Store) Migrate(ctx context.Context) error {
	var has int
	if err := s.db.QueryRowContext(ctx, s.q.version).Scan(&has); err == nil && has == version {
		return nil // without waiting for a writer
	}
	err := s.inTx(ctx, false, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.Schema())
		return err
	})
	if err != nil {
		return fmt.Errorf("outbox/sqlite: migrate: %w", err)
	}
	return nil
}

// InTx runs fn in a transaction that has the write lock from the beginning, as
// one that was begun IMMEDIATE, commits it and wakes the relay. It waits for
// other writers, for at most Options.BusyTimeout if they are other processes.
// If fn returns an error, InTx rolls back and returns it. fn must not call
// InTx.
func (s *Store) InTx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	if err := s.inTx(ctx, true, fn); err != nil {
		return err
	}
	s.Wake()
	return nil
}

// inTx runs fn in a transaction, which takes the write lock first where fn's
// first statement may be a read.
func (s *Store) inTx(ctx context.Context, lock bool, fn func(tx *sql.Tx) error) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	until := time.Now().Add(s.o.BusyTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		began, err := s.try(ctx, lock, fn)
		if began || !sqlitecode.IsBusy(err) || time.Now().After(until) {
			return s.explain(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// try reports also whether fn was called: then it must not be tried again.
func (s *Store) try(ctx context.Context, lock bool, fn func(tx *sql.Tx) error) (began bool, err error) {
	var stmt *sql.Stmt
	if lock {
		// Not in the transaction: it may be the only connection.
		if stmt, err = s.lock.of(ctx, s.db, s.q.lock); err != nil {
			return false, err
		}
		if _, err = s.insert.of(ctx, s.db, s.q.insert); err != nil {
			return false, err
		}
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // it may be committed, and if not, err says why
	if lock {
		if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx); err != nil {
			return false, err
		}
		s.current.Store(tx)
		defer s.current.Store(nil)
	}
	if err := fn(tx); err != nil {
		return lock, err
	}
	return true, tx.Commit()
}

// Tx returns a sender that writes events into the outbox within a transaction
// of the service's: a *sql.Tx, or a *sql.Conn on which one was begun. After it
// committed, [outbox.Wakeups.Wake] makes the relay look at once; InTx does
// that by itself.
//
// An event that is written again with the same id is one row. If it is not the
// same event the error matches [outbox.ErrIDTaken]. An error of the database
// matches [ticketing.ErrTransaction].
func (s *Store) Tx(tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}) ticketing.Sender {
	return sender{s: s, tx: tx}
}

// ErrUpgrade means that the transaction read before it wrote, and that another
// has written since then, or is writing. SQLite cannot make it a writing
// one. Roll back and run it again, and let it take the write lock first: with
// outbox.InTx, with BEGIN IMMEDIATE (the driver's _txlock=immediate), or by
// writing before it reads.
var ErrUpgrade = errors.New("the transaction read first and cannot write any more, because another has written since: " +
	"roll back and run it again, with outbox.InTx or BEGIN IMMEDIATE (_txlock=immediate), or write before you read")

// explain names the errors that a caller can do something about.
func (s *Store) explain(err error) error {
	if err != nil && strings.Contains(err.Error(), "no such table") && strings.Contains(err.Error(), s.o.Table) {
		return fmt.Errorf("%w: %w", outbox.ErrNotMigrated, err)
	}
	return err
}
