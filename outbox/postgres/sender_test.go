package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
)

func TestAnEventWithoutATableSaysWhatToDo(t *testing.T) {
	err := faulttest.Add(t.Context(), empty(t, nil), faulttest.Message("a", "k"))
	if !errors.Is(err, outbox.ErrNotMigrated) || !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrTransaction) {
		t.Errorf("an event: %v, want ErrNotMigrated, not sent, because of the transaction", err)
	}
}

func TestATransactionThatFailedTakesNoEvent(t *testing.T) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	s := open(t, url, nil)
	tx, err := openDB(t, url).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`SELECT 1/0`); err == nil {
		t.Fatal("no error")
	}
	err = faulttest.Send(t.Context(), s.Tx(tx), faulttest.Message("a", "k"))
	if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrTransaction) {
		t.Errorf("%v, want not sent, because of the transaction", err)
	}
}

// between does something before the second statement of a transaction.
type between struct {
	*sql.Tx
	n  int
	do func()
}

func (b *between) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if b.n++; b.n == 2 {
		b.do()
	}
	return b.Tx.ExecContext(ctx, query, args...)
}

// Without the loop in insert it is refused, as another event.
func TestAnEventWhoseFirstRowIsDeletedMeanwhileIsWrittenAgain(t *testing.T) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	s := open(t, url, nil)
	m := faulttest.Message("a", "k")
	if err := faulttest.Add(t.Context(), s, m); err != nil {
		t.Fatal(err)
	}
	tx, err := openDB(t, url).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	relay := func() { pgtest.Exec(t, url, `DELETE FROM outbox`) }
	if err := faulttest.Send(t.Context(), s.Tx(&between{Tx: tx, do: relay}), m); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Pending != 1 {
		t.Errorf("%d rows, %v", st.Pending, err)
	}
}
