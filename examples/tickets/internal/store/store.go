// Package store keeps the tickets, in SQLite, and beside them the events that
// tell of their changes: they wait in an outbox for the relay. An inbox has the
// orders that were heard of.
//
// Every ticket has a version, which each change makes one higher. A change
// names the version that it was made from, and is refused with [ErrConflict]
// when another one came first: no update is ever lost.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"runtime"

	_ "modernc.org/sqlite" // the driver "sqlite"

	inbox "github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	outbox "github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// Memory is the path of a database that lives as long as its Store.
const Memory = ":memory:"

var (
	// ErrNotFound means that there is no ticket with that id.
	ErrNotFound = errors.New("no such ticket")
	// ErrConflict means that the ticket was changed since it was read.
	ErrConflict = errors.New("the ticket was changed meanwhile")
)

// Store is a database of tickets. Its methods may be called concurrently.
// Those that change something take part in a transaction, which the outbox's
// InTx begins.
type Store struct {
	Outbox *outbox.Store
	Inbox  *inbox.Store
	db     *sql.DB
	statements
}

// Open opens the database at path, or a new one in memory, and brings its
// tables up to date.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	n := max(4, runtime.GOMAXPROCS(0)) // readers, and the one who writes
	if path == Memory {
		n = 1 // the database belongs to its connection
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	s := &Store{db: db}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: open %s: %w", path, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.Outbox, err = outbox.New(s.db, nil); err != nil {
		return err
	}
	if s.Inbox, err = inbox.New(s.db, nil); err != nil {
		return err
	}
	for _, migrate := range []func(context.Context) error{s.Outbox.Migrate, s.Inbox.Migrate, s.migrate} {
		if err := migrate(ctx); err != nil {
			return err
		}
	}
	return s.prepare(ctx)
}

// dsn adds what every connection is opened with: a log beside the file, so that
// readers and the writer do not wait for each other; a wait where another
// process writes; and the default sync at each commit, because what was
// acknowledged is to survive a power cut.
func dsn(path string) string {
	if path == Memory {
		return path
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"
}

// Ping reports whether the database can be used.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Close closes the database. It waits for what uses it.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// migrations are the steps from an empty database to today's. A step that was
// released is never changed; the next one is added.
var migrations = []string{
	`CREATE TABLE tickets (
		id       TEXT PRIMARY KEY,
		title    TEXT NOT NULL,
		price    REAL NOT NULL,
		user_id  TEXT NOT NULL,
		version  INTEGER NOT NULL,
		order_id TEXT NOT NULL DEFAULT ''  -- empty: for sale
	) STRICT, WITHOUT ROWID`,
}

// migrate runs the steps that the database has not seen.
func (s *Store) migrate(ctx context.Context) error {
	return s.Outbox.InTx(ctx, func(tx *sql.Tx) error {
		var done int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&done); err != nil {
			return err
		}
		if done > len(migrations) {
			return fmt.Errorf("the database is of version %d, this program knows %d: run a newer one", done, len(migrations))
		}
		for i, step := range migrations[done:] {
			if _, err := tx.ExecContext(ctx, step); err != nil {
				return fmt.Errorf("migration %d: %w", done+i+1, err)
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations)))
		return err
	})
}
