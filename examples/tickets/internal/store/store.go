// Package store keeps the tickets, in SQLite.
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
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
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
type Store struct {
	read, write *sql.DB       // the same for a database in memory
	turn        chan struct{} // has an element while somebody writes
	statements
}

// Open opens the database at path, or a new one in memory, and brings its
// tables up to date.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string) (_ *Store, err error) {
	s := &Store{turn: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	// SQLite has one writer at a time, and so there is one connection for it.
	if s.write, err = sql.Open("sqlite", dsn(path, "_txlock=immediate")); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	s.read = s.write // a database in memory belongs to its one connection
	if path != Memory {
		if s.read, err = sql.Open("sqlite", dsn(path, "_pragma=query_only(1)")); err != nil {
			return nil, err
		}
		n := max(4, runtime.GOMAXPROCS(0))
		s.read.SetMaxOpenConns(n)
		s.read.SetMaxIdleConns(n)
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, s.prepare(ctx)
}

// dsn adds what every connection is opened with: a log beside the file, so that
// readers and the writer do not wait for each other; a wait where another
// process writes; and the default sync at each commit, because what was
// acknowledged is to survive a power cut.
func dsn(path string, options ...string) string {
	if path != Memory {
		path = "file:" + (&url.URL{Path: path}).EscapedPath()
		options = append([]string{"_pragma=busy_timeout(5000)", "_pragma=journal_mode(WAL)"}, options...)
	}
	return path + "?" + strings.Join(options, "&")
}

// takeTurn waits to be the one that writes. A channel serves who waits in
// order; waiting for the connection would be in none, with a few that wait very
// long, and for SQLite's own lock by polling.
func (s *Store) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("store: wait to write: %w", context.Cause(ctx))
	}
}

func (s *Store) endTurn() { <-s.turn }

// Ping reports whether the database can be used.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Close closes the database. It waits for what uses it.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil {
		s.closeStatements()
		errs = append(errs, s.write.Close())
	}
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if err := errors.Join(errs...); err != nil {
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
	) STRICT, WITHOUT ROWID;
	CREATE TABLE order_changes (
		order_id  TEXT NOT NULL,
		kind      TEXT NOT NULL,
		ticket    TEXT NOT NULL,             -- JSON; empty: the order changed none
		announced INTEGER NOT NULL DEFAULT 0,
		PRIMARY KEY (order_id, kind)
	) STRICT, WITHOUT ROWID;`,
}

// migrate runs the steps that the database has not seen.
func (s *Store) migrate(ctx context.Context) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
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
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return err
	}
	return tx.Commit()
}
