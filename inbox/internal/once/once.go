// Package once is what the inbox's stores have in common.
package once

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
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
		return sqlstore.Affected(tx.ExecContext(ctx, query, args...))
	}
}

// Dialect is what the databases differ in.
type Dialect struct {
	Insert   string                // notes down $1, $2, or changes no row where they stand already
	Delete   string                // deletes rows older than $1 microseconds, at most $2
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

// Purge is the Purge of a store, whose transactions are run by inTx.
func (d *Dialect) Purge(ctx context.Context, inTx func(ctx context.Context, fn func(tx *sql.Tx) error) error, age time.Duration, limit int) (n int, err error) {
	err = inTx(ctx, func(tx *sql.Tx) error {
		deleted, err := SQL(tx)(ctx, d.Delete, age.Microseconds(), limit)
		n = int(deleted)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("inbox: purge: %w", d.Name(d.Explain(err)))
	}
	return n, nil
}
