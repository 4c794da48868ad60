package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/postgres"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
)

const (
	benchWriters  = 8
	benchAccounts = 1000
	benchDeposit  = `INSERT INTO deposits (id, account, amount) VALUES ($1, $2, $3)`
	benchBalance  = `UPDATE balances SET amount = amount + $1 WHERE account = $2`
)

// BenchmarkOnce compares transactions that book a deposit, with their event
// noted down and without, of 8 writers. It alternates between the two in short
// rounds, so that whatever else the machine does falls on both. The number of
// iterations is that of rounds; "ratio" is the throughput with Once over that
// without, the median of the rounds. The settings are durable.
func BenchmarkOnce(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		db := openDB(b, "sqlite", filepath.Join(b.TempDir(), "bench.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
		s, err := sqlite.New(db, nil)
		if err != nil {
			b.Fatal(err)
		}
		benchSQL(b, db, s, new(sync.Mutex)) // one writer at a time, on both sides
	})
	durable := pgtest.New(b).URL()
	b.Run("postgres", func(b *testing.B) {
		_, url := pgtest.Schema(b, durable)
		db := openDB(b, "pgx", url)
		db.SetMaxIdleConns(benchWriters)
		s, err := postgres.New(db, nil)
		if err != nil {
			b.Fatal(err)
		}
		benchSQL(b, db, s, nil)
	})
	b.Run("pgx", func(b *testing.B) {
		_, url := pgtest.Schema(b, durable)
		db := openDB(b, "pgx", url)
		s, err := postgres.New(db, nil)
		if err != nil {
			b.Fatal(err)
		}
		benchSetUp(b, db, s)
		cfg, err := pgxpool.ParseConfig(url)
		if err != nil {
			b.Fatal(err)
		}
		cfg.MaxConns = benchWriters
		pool, err := pgxpool.NewWithConfig(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		defer pool.Close()
		compare(b, func(ctx context.Context, fn func(pgx.Tx) error) error {
			return pgx.BeginFunc(ctx, pool, fn)
		}, func(inTx func(context.Context, func(pgx.Tx) error) error) inbox.InTx[pgx.Tx] {
			return postgres.Within(s, inTx)
		}, func(ctx context.Context, tx pgx.Tx, query string, args ...any) error {
			_, err := tx.Exec(ctx, query, args...)
			return err
		})
	})
}

func benchSetUp(b *testing.B, db *sql.DB, s store) {
	b.Helper()
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, statement := range []string{
		`CREATE TABLE deposits (id varchar(40) PRIMARY KEY, account int NOT NULL, amount int NOT NULL)`,
		`CREATE TABLE balances (account int PRIMARY KEY, amount int NOT NULL)`,
	} {
		if _, err := db.Exec(statement); err != nil {
			b.Fatal(err)
		}
	}
	for account := range benchAccounts {
		if _, err := db.Exec(fmt.Sprintf(`INSERT INTO balances VALUES (%d, 0)`, account)); err != nil {
			b.Fatal(err)
		}
	}
}

func benchSQL(b *testing.B, db *sql.DB, s sqlStore, turn *sync.Mutex) {
	benchSetUp(b, db, s)
	compare(b, func(ctx context.Context, fn func(*sql.Tx) error) error {
		if turn != nil {
			turn.Lock()
			defer turn.Unlock()
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it is committed, or the error is known
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Commit()
	}, s.Within, func(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

func compare[T any](b *testing.B, inTx func(context.Context, func(T) error) error,
	within func(func(context.Context, func(T) error) error) inbox.InTx[T],
	exec func(ctx context.Context, tx T, query string, args ...any) error) {
	var next atomic.Int64
	book := func(ctx context.Context, tx T, id string) error {
		if err := exec(ctx, tx, benchDeposit, id, next.Add(1)%benchAccounts, 10); err != nil {
			return err
		}
		return exec(ctx, tx, benchBalance, 10, next.Load()%benchAccounts)
	}
	noting := within(inTx)
	contestants := [2]func(ctx context.Context) error{
		func(ctx context.Context) error {
			id := newID()
			return inTx(ctx, func(tx T) error { return book(ctx, tx, id) })
		},
		func(ctx context.Context) error {
			id := newID()
			_, err := noting(ctx, consumer, id, func(tx T) error { return book(ctx, tx, id) })
			return err
		},
	}
	const round = 250 * time.Millisecond
	run := func(do func(ctx context.Context) error) (perSecond float64) {
		var done atomic.Int64
		began := time.Now()
		var wg sync.WaitGroup
		for range benchWriters {
			wg.Go(func() {
				for time.Since(began) < round {
					if err := do(context.Background()); err != nil {
						b.Error(err)
						return
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		return float64(done.Load()) / time.Since(began).Seconds()
	}
	for _, do := range contestants { // connections and prepared statements
		run(do)
	}
	var rates [2][]float64
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		var rate [2]float64
		for k := range 2 {
			k = (k + i) % 2
			rate[k] = run(contestants[k])
			rates[k] = append(rates[k], rate[k])
		}
		ratios = append(ratios, rate[1]/rate[0])
	}
	median := func(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates[0]), "without/s")
	b.ReportMetric(median(rates[1]), "with/s")
	b.ReportMetric(median(ratios), "ratio")
}

// newID is an id as publishers make them.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
