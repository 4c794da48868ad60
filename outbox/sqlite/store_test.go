package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/outbox/storetest"
)

func TestMain(m *testing.M) {
	process.Dispatch(process.Roles{
		"nats": natsserver.Role(),
		"relay": faulttest.Relay(func(ctx context.Context, path string) (outbox.Store, error) {
			db, err := sql.Open("sqlite", path+pragmas)
			if err != nil {
				return nil, err
			}
			return sqlite.New(db, nil)
		}),
		"writer": writer,
	})
	leaktest.Main(m)
}

const pragmas = "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)"

// openDB opens a database file of the test's own, or another handle of one.
func openDB(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path+pragmas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// store returns a store in db, without tables.
func store(t testing.TB, db *sql.DB) *sqlite.Store {
	t.Helper()
	s, err := sqlite.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, db *sql.DB) *sqlite.Store {
	t.Helper()
	s := store(t, db)
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		path := filepath.Join(t.TempDir(), "test.db")
		db := openDB(t, path)
		s := open(t, db)
		return storetest.Harness{
			Store: s,
			Open:  func(t *testing.T) outbox.Store { return open(t, openDB(t, path)) },
			Empty: func(t *testing.T) storetest.Migrator {
				return store(t, openDB(t, filepath.Join(t.TempDir(), "empty.db")))
			},
			Begin: func(ctx context.Context) (storetest.Tx, error) {
				conn, err := db.Conn(ctx)
				if err != nil {
					return nil, err
				}
				if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
					return nil, err
				}
				return &tx{conn, s}, nil
			},
			InTx: func(ctx context.Context, fn func(ticketing.Sender) error) error {
				return outbox.InTx(ctx, s, func(tx *sql.Tx) error { return fn(s.Tx(tx)) })
			},
			Lose: func(ctx context.Context, seq int64) error {
				_, err := db.ExecContext(ctx, `DELETE FROM outbox WHERE seq >= ?1; UPDATE sqlite_sequence SET seq = ?1 - 1 WHERE name = 'outbox'`, seq)
				return err
			},
			OneWriter: true,
		}
	})
}

// tx is a transaction on a connection, as a service has it whose driver cannot
// begin an immediate one.
type tx struct {
	conn *sql.Conn
	s    *sqlite.Store
}

func (x *tx) Sender() ticketing.Sender           { return x.s.Tx(x.conn) }
func (x *tx) Lock(context.Context, string) error { return nil } // there is one writer
func (x *tx) Commit() error                      { return x.end("COMMIT") }
func (x *tx) Rollback() error                    { return x.end("ROLLBACK") }
func (x *tx) end(how string) error {
	_, err := x.conn.ExecContext(context.Background(), how)
	if closed := x.conn.Close(); err == nil {
		err = closed
	}
	return err
}

// The statement that InTx compiles is of the store's connections. A transaction
// may be of another handle of the same file, and may have the only connection.
func TestEveryTransactionTakesTheEventsStatement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db, other := openDB(t, path), openDB(t, path)
	db.SetMaxOpenConns(1)
	s := open(t, db)
	created := ticketing.NewPublisher[events.TicketCreated](s.Tx(db), nil)
	publish := func(id string) func(tx *sql.Tx) error {
		return func(tx *sql.Tx) error {
			return created.Via(s.Tx(tx)).Publish(t.Context(), events.TicketCreated{ID: id})
		}
	}
	for _, handle := range []*sql.DB{other, db, other} { // before it is compiled, and after
		tx, err := handle.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(publish("foreign")(tx), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		if err := outbox.InTx(t.Context(), s, publish("own")); err != nil {
			t.Fatal(err)
		}
	}
	if stats, err := s.Stats(t.Context()); err != nil || stats.Pending != 6 {
		t.Errorf("%d events, error %v; want 6", stats.Pending, err)
	}
}
