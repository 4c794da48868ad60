package inbox_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	_ "modernc.org/sqlite"             // the driver

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/postgres"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// store is what the stores have in common.
type store interface {
	inbox.Store
	Migrate(ctx context.Context) error
	Schema() string
}

// transaction is one of a database/sql or pgx.
type transaction interface {
	Once(ctx context.Context, consumer, eventID string, f func() error) (ran bool, err error)
	Exec(ctx context.Context, statement string) error
	Commit() error
	Rollback() error
}

// event is what the tests' handlers handle.
type event struct{ ID string }

func (event) Subject() ticketing.Subject { return "ticket:created" }

// handler is the tests' handler, whatever its transaction is.
type handler func(ctx context.Context, exec func(statement string) error, d *ticketing.Delivery[event]) error

// harness is a store in a database, with a road to it.
type harness struct {
	db    *sql.DB
	store store
	// levels are the isolation levels that the database has.
	levels []sql.IsolationLevel
	// snapshots tells whether duplicates are told to try again at the level.
	snapshots func(sql.IsolationLevel) bool
	begin     func(ctx context.Context, l sql.IsolationLevel) (transaction, error)
	// handler makes a ticketing.Handler; after, if any, is called with the
	// result of each transaction, and returns the one that is told.
	handler func(l sql.IsolationLevel, after func(error) error, h handler) ticketing.Handler[event]
}

const consumer = "accounts"

// everyRoad runs a test on both databases, and on PostgreSQL also natively.
func everyRoad(t *testing.T, test func(t *testing.T, h *harness)) {
	for name, open := range map[string]func(testing.TB) *harness{
		"sqlite": openSQLite, "postgres": openPostgres, "pgx": openPgx,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// everyLevel also runs it at every isolation level.
func everyLevel(t *testing.T, test func(t *testing.T, h *harness, l sql.IsolationLevel)) {
	everyRoad(t, func(t *testing.T, h *harness) {
		for _, l := range h.levels {
			t.Run(strings.ReplaceAll(l.String(), " ", ""), func(t *testing.T) {
				h.exec(t, `DELETE FROM inbox`)
				h.exec(t, `DELETE FROM effects`)
				test(t, h, l)
			})
		}
	})
}

func (h *harness) setUp(t testing.TB) *harness {
	t.Helper()
	if err := h.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.exec(t, `CREATE TABLE effects (event_id varchar(80))`)
	return h
}

func (h *harness) exec(t testing.TB, statement string) {
	t.Helper()
	if _, err := h.db.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// count returns the result of a query for a number.
func (h *harness) count(t testing.TB, query string) (n int) {
	t.Helper()
	if err := h.db.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (h *harness) effects(t testing.TB, id string) int {
	t.Helper()
	return h.count(t, `SELECT count(*) FROM effects WHERE event_id = '`+id+`'`)
}

func effect(id string) string { return `INSERT INTO effects VALUES ('` + id + `')` }

// mustBegin begins a transaction that is rolled back at the test's end.
func (h *harness) mustBegin(t testing.TB, l sql.IsolationLevel) transaction {
	t.Helper()
	tx, err := h.begin(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
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

const pragmas = "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)"

func openSQLite(t testing.TB) *harness {
	db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "test.db")+pragmas)
	s, err := sqlite.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sqlHarness(t, db, s, []sql.IsolationLevel{sql.LevelDefault})
}

var levels = []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}

func openPostgres(t testing.TB) *harness {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	return openPostgresAt(t, url)
}

func openPostgresAt(t testing.TB, url string) *harness {
	db := openDB(t, "pgx", url)
	s, err := postgres.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sqlHarness(t, db, s, levels)
}

// sqlStore is what the stores have for database/sql.
type sqlStore interface {
	store
	Once(ctx context.Context, tx interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}, consumer, eventID string, f func() error) (bool, error)
	Within(inTx func(ctx context.Context, fn func(*sql.Tx) error) error) inbox.InTx[*sql.Tx]
	InTx(ctx context.Context, consumer, eventID string, fn func(*sql.Tx) error) (bool, error)
}

func sqlHarness(t testing.TB, db *sql.DB, s sqlStore, levels []sql.IsolationLevel) *harness {
	h := &harness{
		db: db, store: s, levels: levels, snapshots: snapshots,
		begin: func(ctx context.Context, l sql.IsolationLevel) (transaction, error) {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: l})
			return &sqlTx{tx, s}, err
		},
		handler: func(l sql.IsolationLevel, after func(error) error, h handler) ticketing.Handler[event] {
			inTx := inbox.InTx[*sql.Tx](s.InTx)
			if l != sql.LevelDefault || after != nil {
				inTx = s.Within(func(ctx context.Context, fn func(*sql.Tx) error) error {
					tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: l})
					if err != nil {
						return err
					}
					defer tx.Rollback() //nolint:errcheck // it is committed, or the error is known
					if err = fn(tx); err == nil {
						err = tx.Commit()
					}
					if after != nil {
						err = after(err)
					}
					return err
				})
			}
			return inbox.Handler(inTx, consumer, func(ctx context.Context, tx *sql.Tx, d *ticketing.Delivery[event]) error {
				return h(ctx, func(statement string) error {
					_, err := tx.ExecContext(ctx, statement)
					return err
				}, d)
			})
		},
	}
	return h.setUp(t)
}

func snapshots(l sql.IsolationLevel) bool {
	return l == sql.LevelRepeatableRead || l == sql.LevelSerializable
}

type sqlTx struct {
	*sql.Tx
	s sqlStore
}

func (x *sqlTx) Once(ctx context.Context, consumer, id string, f func() error) (bool, error) {
	return x.s.Once(ctx, x.Tx, consumer, id, f)
}
func (x *sqlTx) Exec(ctx context.Context, statement string) error {
	_, err := x.ExecContext(ctx, statement)
	return err
}

func openPgx(t testing.TB) *harness {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	h := openPostgresAt(t, url)
	s := h.store.(*postgres.Store)
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	h.begin = func(ctx context.Context, l sql.IsolationLevel) (transaction, error) {
		tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgxLevel(l)})
		return &pgxTx{tx, s}, err
	}
	h.handler = func(l sql.IsolationLevel, after func(error) error, h handler) ticketing.Handler[event] {
		inTx := postgres.Within(s, func(ctx context.Context, fn func(pgx.Tx) error) error {
			err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgxLevel(l)}, fn)
			if after != nil {
				err = after(err)
			}
			return err
		})
		return inbox.Handler(inTx, consumer, func(ctx context.Context, tx pgx.Tx, d *ticketing.Delivery[event]) error {
			return h(ctx, func(statement string) error {
				_, err := tx.Exec(ctx, statement)
				return err
			}, d)
		})
	}
	return h
}

func pgxLevel(l sql.IsolationLevel) pgx.TxIsoLevel {
	if l == sql.LevelDefault {
		return ""
	}
	return pgx.TxIsoLevel(strings.ToLower(l.String()))
}

type pgxTx struct {
	tx pgx.Tx
	s  *postgres.Store
}

func (x *pgxTx) Once(ctx context.Context, consumer, id string, f func() error) (bool, error) {
	return postgres.Once(ctx, x.s, x.tx, consumer, id, f)
}
func (x *pgxTx) Exec(ctx context.Context, statement string) error {
	_, err := x.tx.Exec(ctx, statement)
	return err
}
func (x *pgxTx) Commit() error   { return x.tx.Commit(context.Background()) }
func (x *pgxTx) Rollback() error { return x.tx.Rollback(context.Background()) }
