package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// onBoth runs a test on a database in a file and one in memory.
func onBoth(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Run("file", func(t *testing.T) { test(t, open(t, filepath.Join(t.TempDir(), "tickets #1?.db"))) })
	t.Run("memory", func(t *testing.T) { test(t, open(t, store.Memory)) })
}

func insert(t *testing.T, s *store.Store, tickets ...store.Ticket) {
	t.Helper()
	err := s.Outbox.InTx(t.Context(), func(tx *sql.Tx) error {
		for _, ticket := range tickets {
			if err := s.Insert(t.Context(), tx, ticket); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func update(ctx context.Context, s *store.Store, ticket store.Ticket) error {
	return s.Outbox.InTx(ctx, func(tx *sql.Tx) error { return s.Update(ctx, tx, ticket) })
}

func TestATicketComesBackAsItWasStored(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		want := store.Ticket{ID: "T1", Title: "Opera & 'Ballet' \x00 é", Price: 20.1, UserID: "ann", Version: 3, OrderID: "O1"}
		insert(t, s, want)
		got, err := s.Ticket(t.Context(), "T1")
		if err != nil || got != want {
			t.Errorf("ticket %+v, error %v; want %+v", got, err, want)
		}
		if _, err := s.Ticket(t.Context(), "T2"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v for a ticket that is not there", err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnUpdateFromAnOldVersionIsAConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ticket := store.Ticket{ID: "T1", Title: "Opera", Price: 20, UserID: "ann"}
		insert(t, s, ticket)
		first, second := ticket, ticket
		first.Version, first.Price = 1, 30
		second.Version, second.Price = 1, 40
		if err := update(t.Context(), s, first); err != nil {
			t.Fatal(err)
		}
		if err := update(t.Context(), s, second); !errors.Is(err, store.ErrConflict) {
			t.Errorf("error %v, want ErrConflict", err)
		}
		if got, err := s.Ticket(t.Context(), "T1"); err != nil || got != first {
			t.Errorf("ticket %+v, error %v; want %+v", got, err, first)
		}
	})
}

func TestOfManyUpdatesAtOnceOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ticket := store.Ticket{ID: "T1", Title: "Opera", UserID: "ann"}
		insert(t, s, ticket)
		const rounds, writers = 20, 8
		for version := 1; version <= rounds; version++ {
			var won atomic.Int32
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					if _, err := s.Ticket(t.Context(), "T1"); err != nil {
						t.Error(err)
					}
					next := ticket
					next.Version = version
					switch err := update(t.Context(), s, next); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, store.ErrConflict):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Fatalf("version %d was stored %d times", version, won.Load())
			}
		}
	})
}

func TestAFailedTransactionLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		failure := errors.New("on purpose")
		err := s.Outbox.InTx(t.Context(), func(tx *sql.Tx) error {
			return errors.Join(s.Insert(t.Context(), tx, store.Ticket{ID: "T1"}), failure)
		})
		if !errors.Is(err, failure) {
			t.Errorf("error %v, want f's", err)
		}
		if _, err := s.Ticket(t.Context(), "T1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
	})
}

func TestTicketsForSaleAreListedInPages(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		if list, err := s.ForSale(t.Context(), "", 10); err != nil || list == nil || len(list) != 0 {
			t.Errorf("list %v, error %v; want one that is empty", list, err)
		}
		insert(t, s,
			store.Ticket{ID: "T1"}, store.Ticket{ID: "T2", OrderID: "O1"}, store.Ticket{ID: "T3"}, store.Ticket{ID: "T4"})
		var ids []string
		for after := ""; ; {
			page, err := s.ForSale(t.Context(), after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, ticket := range page {
				ids = append(ids, ticket.ID)
			}
			after = ids[len(ids)-1]
		}
		if diff := cmp.Diff([]string{"T1", "T3", "T4"}, ids); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFileKeepsItsTicketsAndItsVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets.db")
	want := store.Ticket{ID: "T1", Title: "Opera", Price: 20, UserID: "ann"}
	insert(t, open(t, path), want)
	if got, err := open(t, path).Ticket(t.Context(), "T1"); err != nil || got != want {
		t.Errorf("ticket %+v, error %v; want %+v", got, err, want)
	}
}

func TestADatabaseOfANewerProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets.db")
	s := open(t, path)
	err := s.Outbox.InTx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "PRAGMA user_version = 99")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("error %v", err)
	}
}

func TestAFileThatCannotBeOpenedIsAnErrorThatNamesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "tickets.db")
	if _, err := store.Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "tickets.db"))
	insert(t, s, store.Ticket{ID: "T1"})
	err := s.Outbox.InTx(t.Context(), func(tx *sql.Tx) error {
		if err := s.Update(t.Context(), tx, store.Ticket{ID: "T1", Version: 1}); err != nil {
			return err
		}
		if got, err := s.TicketIn(t.Context(), tx, "T1"); err != nil || got.Version != 1 {
			return fmt.Errorf("read version %d in the transaction that wrote 1, error %w", got.Version, err)
		}
		got, err := s.Ticket(t.Context(), "T1")
		if err == nil && got.Version != 0 {
			err = fmt.Errorf("read version %d before it was committed", got.Version)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
