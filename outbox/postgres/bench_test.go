package postgres_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/outbench"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
)

// BenchmarkOutbox compares with what one would write by hand, on a server with
// durable settings.
func BenchmarkOutbox(b *testing.B) {
	url := pgtest.New(b).URL()
	pgtest.Exec(b, url, outbench.Tickets)
	db := openDB(b, url)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	s, err := postgres.New(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	pool, err := pgxpool.New(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	outbench.New(b, database(s, db, pool)).Run(b)
}

func database(s *postgres.Store, db *sql.DB, pool *pgxpool.Pool) *outbench.DB {
	d := outbench.Through(s, db, `INSERT INTO outbox (id, key, subject, data, time) VALUES ($1, $2, $3, $4, $5)`,
		func() []any { return []any{time.Now()} })
	d.Fill = func(n, keys int) error {
		prefix, e, err := outbench.Sample()
		if err != nil {
			return err
		}
		_, err = pool.Exec(context.Background(), `INSERT INTO outbox (id, key, subject, data, time)
				SELECT $4::text || to_char(i, 'FM00000000'), 'key' || i % $2, 'bench:event', $3, now() FROM generate_series(1, $1) i`,
			n, keys, e, prefix)
		return err
	}
	d.Select = func(ctx context.Context, limit int) ([]outbench.Row, error) {
		rows, err := pool.Query(ctx, `SELECT seq, id, subject, data FROM outbox WHERE state = 0 ORDER BY seq LIMIT $1`, limit)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r outbench.Row, err error) {
			return r, row.Scan(&r.Seq, &r.ID, &r.Subject, &r.Data)
		})
	}
	d.Delete = func(ctx context.Context, seqs []int64) error {
		_, err := pool.Exec(ctx, `DELETE FROM outbox WHERE state = 0 AND seq = ANY ($1)`, seqs)
		return err
	}
	return d
}
