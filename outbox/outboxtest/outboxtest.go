// Package outboxtest shows a unit test what its service has written into an
// outbox, so that package natstest asserts it as it does with a broker: what is
// in the table is handed over as a [natstest.Recorder].
//
//	box := outboxtest.New(t, store)
//	tx, err := db.BeginTx(t.Context(), nil)
//	…
//	err = svc.Create(t.Context(), tx, "concert", 20)
//	natstest.RequireOnePublished[events.TicketCreated](t, box.In(t, tx))
//
//	err = tx.Rollback()
//	natstest.RequireNonePublished[events.TicketCreated](t, box.Committed(t))
//
// No relay runs in such a test: what it has published is not in the table any
// more.
package outboxtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// Store is an outbox whose table can be read in a transaction: that of
// outbox/postgres or of outbox/sqlite.
type Store interface {
	outbox.Store
	// Table returns the name of the events' table as SQL has it.
	Table() string
}

// Box is what has come into an outbox's table since [New]. Its methods may be
// called concurrently, those that take a transaction as far as that allows it.
//
// They return a recorder that holds the events which wait to be published, in
// the order of their insertion, at the time of the call: it does not follow
// what happens later. They fail the test when the table cannot be read, or not
// within [natstest.DefaultWait].
type Box struct {
	store Store
	after int64
}

// New returns what comes into the table of store from now on. What waits there
// already does not count, so that a test may share a table with those before
// it, or look at its next step alone.
func New(t testing.TB, store Store) *Box {
	t.Helper()
	b := &Box{store: store}
	look(t, func(ctx context.Context, _ *natstest.Recorder) error {
		h, err := store.Horizon(ctx)
		b.after = h.Last
		return err
	})
	return b
}

// In returns the events that tx sees: those that were written in it, and those
// that others have committed. tx is a *sql.Tx, or a *sql.Conn on which a
// transaction was begun. See [InPgx] for pgx.
func (b *Box) In(t testing.TB, tx interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}) *natstest.Recorder {
	t.Helper()
	return look(t, func(ctx context.Context, r *natstest.Recorder) error {
		rows, err := tx.QueryContext(ctx, b.query())
		if err != nil {
			return err
		}
		defer rows.Close()
		return scan(ctx, rows, r)
	})
}

// InPgx is [Box.In] for a transaction of pgx v5, a pgx.Tx. R is found by itself.
func InPgx[R interface {
	cursor
	Close()
}](t testing.TB, b *Box, tx interface {
	Query(ctx context.Context, query string, args ...any) (R, error)
}) *natstest.Recorder {
	t.Helper()
	return look(t, func(ctx context.Context, r *natstest.Recorder) error {
		rows, err := tx.Query(ctx, b.query())
		if err != nil {
			return err
		}
		defer rows.Close()
		return scan(ctx, rows, r)
	})
}

// Committed returns the events whose transactions have committed. It takes a
// connection of the store's database, besides those that transactions have.
func (b *Box) Committed(t testing.TB) *natstest.Recorder {
	t.Helper()
	return look(t, b.committed)
}

// batch is how many rows Committed reads at once.
const batch = 1000

func (b *Box) committed(ctx context.Context, r *natstest.Recorder) error {
	for after, n := b.after, batch; n == batch; {
		n = 0
		for row, err := range b.store.Pending(ctx, outbox.Query{After: after, Limit: batch}) {
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w: is there a connection for it, besides that of a transaction? (sql.DB.SetMaxOpenConns)", err)
			}
			if err == nil {
				err = keep(ctx, r, &row)
			}
			if err != nil {
				return err
			}
			after = row.Seq
			n++
		}
	}
	return nil
}

// query selects what waits to be published.
func (b *Box) query() string {
	return fmt.Sprintf(`SELECT %s FROM %s WHERE state = 0 AND seq > %d ORDER BY seq`, record.Columns, b.store.Table(), b.after)
}

// cursor is the rows of database/sql or of pgx.
type cursor interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

func scan(ctx context.Context, rows cursor, r *natstest.Recorder) error {
	var c record.Reader
	for rows.Next() {
		var row outbox.Row
		if err := c.Scan(rows, &row); err != nil {
			return err
		}
		if err := keep(ctx, r, &row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func keep(ctx context.Context, r *natstest.Recorder, row *outbox.Row) (err error) {
	r.Send(ctx, &row.Message, func(e error) { err = e })
	return err
}

// look returns a recorder that read has filled.
func look(t testing.TB, read func(ctx context.Context, r *natstest.Recorder) error) *natstest.Recorder {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), natstest.DefaultWait)
	defer cancel()
	r := new(natstest.Recorder)
	if err := read(ctx, r); err != nil {
		t.Fatalf("outboxtest: the outbox cannot be read: %v", err)
	}
	return r
}
