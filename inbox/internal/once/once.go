// Package once is what the inbox's stores have in common.
package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"

	"github.com/ducnguyen96/ticketing-common/inbox"
)

// Execer is a transaction of database/sql: a *sql.Tx, or a *sql.Conn on which
// one was begun.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Exec runs a statement and tells how many rows it changed.
type Exec func(ctx context.Context, query string, args ...any) (int64, error)

// SQL returns tx's Exec.
func SQL(tx Execer) Exec {
	return func(ctx context.Context, query string, args ...any) (int64, error) {
		if _, ok := tx.(*sql.DB); ok {
			return 0, inbox.ErrNoTransaction
		}
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	}
}

// Dialect is what the databases differ in.
type Dialect struct {
	Insert   string                // notes down $1, $2, or changes no row where they stand already
	Conflict func(err error) bool  // another transaction was in the way
	Explain  func(err error) error // names what else a failed statement of the store's means
}

// Name makes an error that another transaction caused match
// [inbox.ErrTryAgain].
func (d *Dialect) Name(err error) error {
	if err == nil || errors.Is(err, inbox.ErrTryAgain) || !d.Conflict(err) {
		return err
	}
	return fmt.Errorf("%w: %w", inbox.ErrTryAgain, err)
}

// Run is the Once of a store.
func (d *Dialect) Run(ctx context.Context, exec Exec, consumer, eventID string, f func() error) (ran bool, err error) {
	if err := inbox.CheckID("consumer", consumer); err != nil {
		return false, err
	}
	if err := inbox.CheckID("event id", eventID); err != nil {
		return false, err
	}
	n, err := exec(ctx, d.Insert, consumer, eventID)
	switch {
	case err != nil:
		return false, fmt.Errorf("inbox: note down that %q handles %q: %w", consumer, eventID, d.Name(d.Explain(err)))
	case n == 0:
		return false, nil
	}
	if err := f(); err != nil {
		return false, d.Name(err)
	}
	return true, nil
}

// Within makes an [inbox.InTx] of a function that runs transactions. exec
// gives a transaction's Exec.
func Within[T any](d *Dialect, inTx func(ctx context.Context, fn func(tx T) error) error, exec func(tx T) Exec) inbox.InTx[T] {
	return func(ctx context.Context, consumer, eventID string, fn func(tx T) error) (ran bool, err error) {
		err = inTx(ctx, func(tx T) (err error) {
			ran, err = d.Run(ctx, exec(tx), consumer, eventID, func() error { return fn(tx) })
			return err
		})
		if err != nil {
			return false, d.Name(err)
		}
		return ran, nil
	}
}

// InTx runs fn in a transaction of db.
func InTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it may be committed, and if not, the error says why
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// maxName leaves room for an index's suffix within the 63 bytes that
// PostgreSQL allows.
const maxName = 40

var name = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// CheckName reports why a table or schema cannot have the name.
func CheckName(what, s string) error {
	if len(s) > maxName || !name.MatchString(s) {
		return fmt.Errorf("inbox: %s name %q: it has to be a lower-case letter or '_', then lower-case letters, digits and '_', at most %d bytes", what, s, maxName)
	}
	return nil
}
