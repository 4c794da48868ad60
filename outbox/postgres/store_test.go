package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
	"github.com/ducnguyen96/ticketing-common/outbox/storetest"
)

func TestMain(m *testing.M) {
	process.Dispatch(process.Roles{
		"nats": natsserver.Role(),
		"relay": faulttest.Relay(func(ctx context.Context, url string) (outbox.Store, error) {
			db, err := sql.Open("pgx", url)
			if err != nil {
				return nil, err
			}
			return postgres.New(db, nil)
		}),
	})
	pgtest.Main(m)
}

// openDB opens a database by its URL.
func openDB(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
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

// empty returns a store in a schema of its own, without tables.
func empty(t testing.TB, opts *postgres.Options) *postgres.Store {
	t.Helper()
	_, url := pgtest.Schema(t, pgtest.URL(t))
	s, err := postgres.New(openDB(t, url), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, url string, opts *postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.New(openDB(t, url), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// aggregates is the service's own table, whose rows its transactions lock.
const (
	aggregates = `CREATE TABLE aggregates (key text PRIMARY KEY, version int NOT NULL)`
	lock       = `INSERT INTO aggregates VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET version = aggregates.version + 1`
)

func TestStoreKeepsTheContractThroughDatabaseSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		_, url := pgtest.Schema(t, pgtest.URL(t))
		pgtest.Exec(t, url, aggregates)
		s := open(t, url, nil)
		db := openDB(t, url)
		return storetest.Harness{
			Store: s,
			Open:  func(t *testing.T) outbox.Store { return open(t, url, nil) },
			Empty: func(t *testing.T) storetest.Migrator { return empty(t, nil) },
			Begin: func(ctx context.Context) (storetest.Tx, error) {
				tx, err := db.BeginTx(ctx, nil)
				return &sqlTx{tx, s}, err
			},
			InTx: func(ctx context.Context, fn func(ticketing.Sender) error) error {
				return outbox.InTx(ctx, s, func(tx *sql.Tx) error { return fn(s.Tx(tx)) })
			},
			Lose: lose(s, url),
		}
	})
}

// lose makes it as it was before the last commits.
func lose(s *postgres.Store, url string) func(ctx context.Context, seq int64) error {
	return func(ctx context.Context, seq int64) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.Exec(ctx, fmt.Sprintf(`DELETE FROM %[1]s WHERE seq >= %[2]d; ALTER TABLE %[1]s ALTER seq RESTART WITH %[2]d`, s.Table(), seq))
		return err
	}
}

type sqlTx struct {
	*sql.Tx
	s *postgres.Store
}

func (x *sqlTx) Sender() ticketing.Sender { return x.s.Tx(x.Tx) }
func (x *sqlTx) Lock(ctx context.Context, key string) error {
	_, err := x.ExecContext(ctx, lock, key)
	return err
}

func TestStoreKeepsTheContractThroughPgx(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		schema, url := pgtest.Schema(t, pgtest.URL(t))
		pgtest.Exec(t, url, aggregates)
		opts := &postgres.Options{Schema: schema, Table: "events", Notify: true}
		s := open(t, pgtest.URL(t), opts)
		pool, err := pgxpool.New(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return storetest.Harness{
			Store: s,
			Open:  func(t *testing.T) outbox.Store { return open(t, pgtest.URL(t), opts) },
			Empty: func(t *testing.T) storetest.Migrator { return empty(t, &postgres.Options{Table: "events"}) },
			Begin: func(ctx context.Context) (storetest.Tx, error) {
				tx, err := pool.Begin(ctx)
				return &pgxTx{tx, s}, err
			},
			InTx: func(ctx context.Context, fn func(ticketing.Sender) error) error {
				return postgres.InTx(ctx, s, pool, func(tx pgx.Tx) error { return fn(postgres.Tx(s, tx)) })
			},
			Lose: lose(s, url),
		}
	})
}

type pgxTx struct {
	tx pgx.Tx
	s  *postgres.Store
}

func (x *pgxTx) Sender() ticketing.Sender { return postgres.Tx(x.s, x.tx) }
func (x *pgxTx) Lock(ctx context.Context, key string) error {
	_, err := x.tx.Exec(ctx, lock, key)
	return err
}
func (x *pgxTx) Commit() error   { return x.tx.Commit(context.Background()) }
func (x *pgxTx) Rollback() error { return x.tx.Rollback(context.Background()) }
