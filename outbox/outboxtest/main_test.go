package outboxtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	_ "modernc.org/sqlite"             // the driver

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox/outboxtest"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// road is an outbox, and a way to use it.
type road struct {
	store interface {
		outboxtest.Store
		Migrate(ctx context.Context) error
	}
	start func(t testing.TB) *transaction
}

// begin begins a transaction that is rolled back at the test's end.
func (r *road) begin(t testing.TB) *transaction {
	t.Helper()
	tx := r.start(t)
	t.Cleanup(func() { _ = tx.rollback() })
	return tx
}

// transaction is one of a service, of whatever kind.
type transaction struct {
	sender           ticketing.Sender
	in               func(t testing.TB, b *outboxtest.Box) *natstest.Recorder
	commit, rollback func() error
}

func openDB(t testing.TB, driver, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// sqlTx begins transactions through database/sql.
func sqlTx(db *sql.DB, sender func(tx *sql.Tx) ticketing.Sender) func(t testing.TB) *transaction {
	return func(t testing.TB) *transaction {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		return &transaction{
			sender: sender(tx),
			in:     func(t testing.TB, b *outboxtest.Box) *natstest.Recorder { return b.In(t, tx) },
			commit: tx.Commit, rollback: tx.Rollback,
		}
	}
}

// roads are functions that open an outbox whose tables are missing.
var roads = map[string]func(t testing.TB) *road{
	"sqlite": func(t testing.TB) *road {
		db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "test.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
		s, err := sqlite.New(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &road{s, sqlTx(db, func(tx *sql.Tx) ticketing.Sender { return s.Tx(tx) })}
	},
	"sqlite connection": func(t testing.TB) *road {
		db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "test.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
		s, err := sqlite.New(db, &sqlite.Options{Table: "select"}) // quoted
		if err != nil {
			t.Fatal(err)
		}
		return &road{s, func(t testing.TB) *transaction {
			conn, err := db.Conn(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			exec := func(statement string) error {
				_, err := conn.ExecContext(context.Background(), statement)
				return err
			}
			if err := exec("BEGIN IMMEDIATE"); err != nil {
				t.Fatal(err)
			}
			return &transaction{
				sender:   s.Tx(conn),
				in:       func(t testing.TB, b *outboxtest.Box) *natstest.Recorder { return b.In(t, conn) },
				commit:   func() error { return exec("COMMIT") },
				rollback: func() error { return exec("ROLLBACK") },
			}
		}}
	},
	"postgres": func(t testing.TB) *road {
		_, url := pgtest.Schema(t, pgtest.URL(t))
		db := openDB(t, "pgx", url)
		s, err := postgres.New(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &road{s, sqlTx(db, func(tx *sql.Tx) ticketing.Sender { return s.Tx(tx) })}
	},
	"pgx": func(t testing.TB) *road {
		schema, url := pgtest.Schema(t, pgtest.URL(t))
		s, err := postgres.New(openDB(t, "pgx", pgtest.URL(t)), &postgres.Options{Schema: schema, Table: "events"})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := pgxpool.New(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return &road{s, func(t testing.TB) *transaction {
			ctx := context.Background()
			tx, err := pool.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return &transaction{
				sender:   postgres.Tx(s, tx),
				in:       func(t testing.TB, b *outboxtest.Box) *natstest.Recorder { return outboxtest.InPgx(t, b, tx) },
				commit:   func() error { return tx.Commit(ctx) },
				rollback: func() error { return tx.Rollback(ctx) },
			}
		}}
	},
}

// everyRoad runs a test with each store and each kind of transaction.
func everyRoad(t *testing.T, test func(t *testing.T, r *road)) {
	for name, open := range roads {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			if err := r.store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, r)
		})
	}
}

// publish writes the event of a ticket.
func (x *transaction) publish(t testing.TB, id string, opts ...ticketing.PublishOption) {
	t.Helper()
	p := ticketing.NewPublisher[events.TicketCreated](x.sender, nil)
	if err := p.Publish(context.Background(), events.TicketCreated{ID: id, Title: "concert"}, opts...); err != nil {
		t.Fatal(err)
	}
}

func (x *transaction) mustCommit(t testing.TB) {
	t.Helper()
	if err := x.commit(); err != nil {
		t.Fatal(err)
	}
}

// fakeTB is the test that a helper fails.
type fakeTB struct {
	testing.TB // nil: any other method is a mistake
	text       strings.Builder
}

func (f *fakeTB) Helper() {}
func (f *fakeTB) Fatalf(format string, args ...any) {
	fmt.Fprintf(&f.text, format, args...)
	runtime.Goexit()
}

// failure is what f fails its test with, or empty.
func failure(f func(t testing.TB)) string {
	fake := new(fakeTB)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(fake)
	}()
	<-done
	return fake.text.String()
}
