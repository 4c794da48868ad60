package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/postgres"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
)

// result is what Once returned.
type result struct {
	ran bool
	err error
}

// once runs Once in tx, with the effect of the event id.
func once(tx transaction, consumer, id string) result {
	ctx := context.Background()
	ran, err := tx.Once(ctx, consumer, id, func() error { return tx.Exec(ctx, effect(id)) })
	return result{ran, err}
}

func (r result) want(t testing.TB, ran bool) {
	t.Helper()
	if r.err != nil || r.ran != ran {
		t.Fatalf("Once: %v, %v, want %v", r.ran, r.err, ran)
	}
}

func commit(t testing.TB, tx transaction) {
	t.Helper()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventTakesEffectOncePerConsumer(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		for _, step := range []struct {
			consumer, id string
			ran          bool
		}{
			{"a", "1", true}, {"a", "1", false}, {"b", "1", true}, {"a", "2", true}, {"b", "1", false}, {"a", "1 ", true}, {"A", "1", true},
		} {
			tx := h.mustBegin(t, l)
			once(tx, step.consumer, step.id).want(t, step.ran)
			commit(t, tx)
		}
		if n := h.effects(t, "1"); n != 3 {
			t.Errorf("event 1 took effect %d times, want 3: a, b and A", n)
		}
		tx := h.mustBegin(t, l)
		once(tx, "a", "3").want(t, true)
		once(tx, "a", "3").want(t, false) // also within one transaction
	})
}

func TestARolledBackFirstLetsTheSecondRun(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		failed := errors.New("failed")
		tx := h.mustBegin(t, l)
		ran, err := tx.Once(t.Context(), consumer, "e", func() error { return failed })
		if ran || !errors.Is(err, failed) || errors.Is(err, inbox.ErrTryAgain) {
			t.Fatalf("Once: %v, %v, want the error of f", ran, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		tx = h.mustBegin(t, l)
		once(tx, consumer, "e").want(t, true)
		commit(t, tx)
	})
}

func TestADuplicateAtTheSameTimeWaitsForTheFirst(t *testing.T) {
	for _, committed := range []bool{true, false} {
		name := "committed"
		if !committed {
			name = "rolled back"
		}
		t.Run(name, func(t *testing.T) {
			everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
				first := h.mustBegin(t, l)
				once(first, consumer, "e").want(t, true)

				second := h.mustBegin(t, l)
				told := make(chan result, 1)
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() { told <- once(second, consumer, "e") })
				h.awaitBlocked(t, told)
				end := first.Rollback
				if committed {
					end = first.Commit
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}

				got := <-told
				if committed && h.snapshots(l) {
					if got.ran || !errors.Is(got.err, inbox.ErrTryAgain) {
						t.Fatalf("Once: %v, %v, want ErrTryAgain", got.ran, got.err)
					}
					if err := second.Rollback(); err != nil {
						t.Fatal(err)
					}
					second = h.mustBegin(t, l)
					got = once(second, consumer, "e")
				}
				got.want(t, !committed)
				commit(t, second)
				if n := h.effects(t, "e"); n != 1 {
					t.Errorf("it took effect %d times", n)
				}
			})
		})
	}
}

// awaitBlocked waits until a transaction waits for another one. SQLite has no
// way to ask for that: there it only gives the other a chance.
func (h *harness) awaitBlocked(t testing.TB, told <-chan result) {
	t.Helper()
	_, pg := h.store.(*postgres.Store)
	deadline := time.Now().Add(60 * time.Second)
	for i := 0; ; i++ {
		select {
		case r := <-told:
			t.Fatalf("the duplicate did not wait: %v, %v", r.ran, r.err)
		case <-time.After(5 * time.Millisecond):
		}
		if !pg && i == 10 {
			return
		}
		if pg && h.count(t, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%inbox%'
			AND pid <> pg_backend_pid()`) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the duplicate does not wait for the first")
		}
	}
}

func TestADuplicateThatCannotWaitLongerIsToldToTryAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	s, err := sqlite.New(openDB(t, "sqlite", path+pragmas), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	impatient, err := sqlite.New(openDB(t, "sqlite", path+"?_pragma=busy_timeout(20)"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran, err := s.InTx(t.Context(), consumer, "e", func(*sql.Tx) error {
		ran, err := impatient.InTx(t.Context(), consumer, "e", func(*sql.Tx) error { return nil })
		if ran || !errors.Is(err, inbox.ErrTryAgain) {
			t.Errorf("the duplicate: %v, %v, want ErrTryAgain", ran, err)
		}
		if n, err := impatient.Purge(t.Context(), 0, 1); n != 0 || !errors.Is(err, inbox.ErrTryAgain) {
			t.Errorf("Purge: %d, %v, want ErrTryAgain", n, err)
		}
		return nil
	})
	result{ran, err}.want(t, true)
}

func TestATransactionWithAnOlderSnapshotIsToldToTryAgain(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		older := h.mustBegin(t, l)
		if err := older.Exec(t.Context(), `SELECT count(*) FROM inbox`); err != nil {
			t.Fatal(err)
		}
		if q, ok := older.(*sqlTx); ok { // Exec of a query takes no snapshot in SQLite
			var n int
			if err := q.QueryRow(`SELECT count(*) FROM inbox`).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		first := h.mustBegin(t, l)
		once(first, consumer, "e").want(t, true)
		commit(t, first)
		got := once(older, consumer, "e")
		if l == sql.LevelReadCommitted {
			got.want(t, false)
			return
		}
		if got.ran || !errors.Is(got.err, inbox.ErrTryAgain) {
			t.Fatalf("Once: %v, %v, want ErrTryAgain", got.ran, got.err)
		}
		if _, ok := h.store.(*sqlite.Store); ok && !strings.Contains(got.err.Error(), "IMMEDIATE") {
			t.Errorf("the error does not say what to do: %v", got.err)
		}
	})
}

func TestAConflictOfTheHandlersOwnStatementsIsNamed(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harness{"postgres": openPostgres, "pgx": openPgx} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.exec(t, `CREATE TABLE balances (account int, amount int)`)
			h.exec(t, `INSERT INTO balances VALUES (1, 0)`)
			update := func(tx transaction) error {
				return tx.Exec(context.Background(), `UPDATE balances SET amount = amount + 1`)
			}
			a, b := h.mustBegin(t, sql.LevelRepeatableRead), h.mustBegin(t, sql.LevelRepeatableRead)
			ran, err := b.Once(t.Context(), consumer, "b", func() error {
				ran, err := a.Once(t.Context(), consumer, "a", func() error { return update(a) })
				result{ran, err}.want(t, true)
				commit(t, a)
				return update(b)
			})
			if ran || !errors.Is(err, inbox.ErrTryAgain) {
				t.Errorf("Once: %v, %v, want ErrTryAgain", ran, err)
			}
		})
	}
}

func TestOneOfTwoThatWaitForEachOtherIsToldToTryAgain(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harness{"postgres": openPostgres, "pgx": openPgx} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			a, b := h.mustBegin(t, sql.LevelReadCommitted), h.mustBegin(t, sql.LevelReadCommitted)
			once(a, consumer, "1").want(t, true)
			once(b, consumer, "2").want(t, true)
			told := make(chan result, 2)
			var wg sync.WaitGroup
			defer wg.Wait()
			for _, step := range []struct {
				tx transaction
				id string
			}{{a, "2"}, {b, "1"}} {
				wg.Go(func() {
					r := once(step.tx, consumer, step.id)
					if r.err != nil {
						_ = step.tx.Rollback()
					}
					told <- r
				})
			}
			first, second := <-told, <-told
			if first.err == nil {
				first, second = second, first
			}
			if !errors.Is(first.err, inbox.ErrTryAgain) {
				t.Errorf("%v, want ErrTryAgain", first.err)
			}
			second.want(t, true)
		})
	}
}

func TestWhatIsNotATransactionIsRefused(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harness{"sqlite": openSQLite, "postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			ran, err := h.store.(sqlStore).Once(t.Context(), h.db, consumer, "e", func() error { return nil })
			if ran || !errors.Is(err, inbox.ErrNoTransaction) {
				t.Errorf("Once: %v, %v", ran, err)
			}
			if n := h.count(t, `SELECT count(*) FROM inbox`); n != 0 {
				t.Error("the event is noted down")
			}
		})
	}
}

func TestATransactionOnAConnectionWorks(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harness{"sqlite": openSQLite, "postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			conn, err := h.db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, want := range []bool{true, false} {
				if _, err := conn.ExecContext(t.Context(), `BEGIN`); err != nil {
					t.Fatal(err)
				}
				ran, err := h.store.(sqlStore).Once(t.Context(), conn, consumer, "e", func() error { return nil })
				result{ran, err}.want(t, want)
				if _, err := conn.ExecContext(t.Context(), `COMMIT`); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestOnlyWhatCanBeNotedDownIsAnID(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		tx := h.mustBegin(t, h.levels[0])
		for _, id := range []string{"", "a\x00b", "a\xff", strings.Repeat("x", inbox.MaxIDLen+1)} {
			for _, r := range []result{
				once(tx, consumer, id),
				once(tx, id, "e"),
			} {
				if r.ran || !errors.Is(r.err, inbox.ErrInvalidID) {
					t.Errorf("%.20q: %v, %v, want ErrInvalidID", id, r.ran, r.err)
				}
			}
		}
		longest := strings.Repeat("é", inbox.MaxIDLen/2)
		ran, err := tx.Once(t.Context(), longest, longest, func() error { return nil })
		result{ran, err}.want(t, true)
	})
}

func TestMigrateMayBeCalledAgainAndByManyAtOnce(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		h.exec(t, `DROP TABLE inbox`)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := h.store.Migrate(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		h.exec(t, `INSERT INTO inbox (consumer, event_id) VALUES ('c', 'e')`)
		h.exec(t, h.store.Schema())
		if err := h.store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := h.count(t, `SELECT count(*) FROM inbox`); n != 1 {
			t.Errorf("the table has %d rows, want the one that it had", n)
		}
	})
}

func TestAMissingTableIsNamed(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		h.exec(t, `DROP TABLE inbox`)
		tx := h.mustBegin(t, h.levels[0])
		if got := once(tx, consumer, "e"); got.ran || !errors.Is(got.err, inbox.ErrNotMigrated) {
			t.Errorf("Once: %v, %v, want ErrNotMigrated", got.ran, got.err)
		}
		_ = tx.Rollback()
		if _, err := h.store.Purge(t.Context(), time.Hour, 1); !errors.Is(err, inbox.ErrNotMigrated) {
			t.Errorf("Purge: %v, want ErrNotMigrated", err)
		}
		h.exec(t, `CREATE TABLE inbox (consumer varchar(80))`)
		if got := once(h.mustBegin(t, h.levels[0]), consumer, "e"); got.ran || !errors.Is(got.err, inbox.ErrNotMigrated) {
			t.Errorf("Once with another table: %v, %v, want ErrNotMigrated", got.ran, got.err)
		}
	})
}

func TestAHandlersOwnMissingTableIsNotTheInboxes(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		h.exec(t, `DROP TABLE effects`)
		if got := once(h.mustBegin(t, h.levels[0]), consumer, "e"); got.err == nil || errors.Is(got.err, inbox.ErrNotMigrated) {
			t.Errorf("Once: %v", got.err)
		}
	})
}

// Error has a code that means SQLITE_BUSY to nobody but SQLite, whose drivers
// call theirs Error too.
type Error struct{}

func (Error) Error() string { return "status 5" }
func (Error) Code() int     { return 5 }

func TestAHandlersOwnCodesAreNotTheDatabases(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		_, err := h.mustBegin(t, h.levels[0]).Once(t.Context(), consumer, "e", func() error { return Error{} })
		if !errors.Is(err, Error{}) || errors.Is(err, inbox.ErrTryAgain) {
			t.Errorf("Once: %v, want the error of f alone", err)
		}
	})
}

func TestNamesAreChecked(t *testing.T) {
	db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "test.db"))
	for _, name := range []string{"a b", `a"; DROP TABLE x; --`, "Inbox", "1a", strings.Repeat("a", 41)} {
		if _, err := sqlite.New(db, &sqlite.Options{Table: name}); err == nil {
			t.Errorf("sqlite: table %q is allowed", name)
		}
		if _, err := postgres.New(db, &postgres.Options{Table: name}); err == nil {
			t.Errorf("postgres: table %q is allowed", name)
		}
		if _, err := postgres.New(db, &postgres.Options{Schema: name}); err == nil {
			t.Errorf("postgres: schema %q is allowed", name)
		}
	}
	if _, err := sqlite.New(nil, nil); err == nil {
		t.Error("sqlite: no database is allowed")
	}
	if _, err := postgres.New(nil, nil); err == nil {
		t.Error("postgres: no database is allowed")
	}
}

func TestTheTableIsWhereTheOptionsSay(t *testing.T) {
	schema, url := pgtest.Schema(t, pgtest.URL(t))
	h := openPostgresAt(t, url)
	s, err := postgres.New(openDB(t, "pgx", pgtest.URL(t)), &postgres.Options{Schema: schema, Table: "handled"})
	if err != nil {
		t.Fatal(err)
	}
	lite := openSQLite(t)
	l, err := sqlite.New(lite.db, &sqlite.Options{Table: "handled"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		h *harness
		s sqlStore
	}{{h, s}, {lite, l}} {
		if err := x.s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		ran, err := x.s.InTx(t.Context(), consumer, "e", func(*sql.Tx) error { return nil })
		result{ran, err}.want(t, true)
		if n := x.h.count(t, `SELECT count(*) FROM handled`); n != 1 {
			t.Errorf("handled has %d rows", n)
		}
	}
}

func TestATransactionOfTheStoreIsCommittedOrRolledBackAsAWhole(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harness{"sqlite": openSQLite, "postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.exec(t, `CREATE TABLE nodes (id int PRIMARY KEY, parent int REFERENCES nodes (id) DEFERRABLE INITIALLY DEFERRED)`)
			s := h.store.(sqlStore)
			failed := errors.New("failed")
			for _, try := range []struct {
				statement string
				err       error
				ok        bool
			}{
				{statement: effect("e"), err: failed},
				{statement: `INSERT INTO nodes VALUES (1, 2)`}, // the commit refuses it
				{statement: effect("e"), ok: true},
			} {
				ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
				defer cancel()
				ran, err := s.InTx(ctx, consumer, "e", func(tx *sql.Tx) error {
					if _, err := tx.ExecContext(ctx, try.statement); err != nil {
						return err
					}
					return try.err
				})
				if ran != try.ok || (err == nil) != try.ok || !errors.Is(err, try.err) && try.err != nil {
					t.Errorf("%s: %v, %v", try.statement, ran, err)
				}
				if open := h.db.Stats().InUse; open != 0 {
					t.Fatalf("%s: the transaction is still open", try.statement)
				}
			}
			if h.effects(t, "e") != 1 {
				t.Errorf("it took effect %d times", h.effects(t, "e"))
			}
		})
	}
}
