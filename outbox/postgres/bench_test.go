package postgres_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/outbench"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
)

const insertBusiness = `INSERT INTO tickets (id, key, title, price) VALUES ($1, $2, $3, $4)`

// BenchmarkOutbox compares with what one would write by hand, on a server with
// durable settings.
func BenchmarkOutbox(b *testing.B) {
	url := pgtest.New(b).URL()
	pgtest.Exec(b, url, `CREATE TABLE tickets (id uuid PRIMARY KEY, key text NOT NULL, title text NOT NULL, price int NOT NULL)`)
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
	publisher := ticketing.NewPublisher[outbench.Event](s.Tx(db), nil)
	wake := new(outbox.Wakeups)
	inTx := func(ctx context.Context, fn func(tx *sql.Tx) error) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it is committed, or the error is known
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Commit()
	}
	business := func(ctx context.Context, tx *sql.Tx, key string) (outbench.Event, error) {
		e := outbench.NewEvent(key)
		_, err := tx.ExecContext(ctx, insertBusiness, uuid.NewString(), key, e.Title, e.Price)
		return e, err
	}
	return &outbench.DB{
		Store: s,
		Wake:  wake,
		Write: func(ctx context.Context, key string) error {
			return outbox.InTx(ctx, s, func(tx *sql.Tx) error {
				e, err := business(ctx, tx, key)
				if err != nil {
					return err
				}
				return publisher.Via(s.Tx(tx)).Publish(ctx, e)
			})
		},
		Hand: func(ctx context.Context, key string) error {
			defer wake.Wake()
			return inTx(ctx, func(tx *sql.Tx) error {
				e, err := business(ctx, tx, key)
				if err != nil {
					return err
				}
				data, err := json.Marshal(e)
				if err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, `INSERT INTO outbox (id, key, subject, data, time) VALUES ($1, $2, $3, $4, $5)`,
					uuid.Must(uuid.NewV7()).String(), key, string(e.Subject()), data, time.Now())
				return err
			})
		},
		Business: func(ctx context.Context, key string) error {
			return inTx(ctx, func(tx *sql.Tx) error {
				_, err := business(ctx, tx, key)
				return err
			})
		},
		Fill: func(n, keys int) error {
			e, err := json.Marshal(outbench.NewEvent("key"))
			if err != nil {
				return err
			}
			_, err = pool.Exec(context.Background(), `INSERT INTO outbox (id, key, subject, data, time)
				SELECT $4::text || to_char(i, 'FM00000000'), 'key' || i % $2, 'bench:event', $3, now() FROM generate_series(1, $1) i`,
				n, keys, e, uuid.Must(uuid.NewV7()).String())
			return err
		},
		Select: func(ctx context.Context, limit int) ([]outbench.Row, error) {
			rows, err := pool.Query(ctx, `SELECT seq, id, subject, data FROM outbox WHERE state = 0 ORDER BY seq LIMIT $1`, limit)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r outbench.Row, err error) {
				return r, row.Scan(&r.Seq, &r.ID, &r.Subject, &r.Data)
			})
		},
		Delete: func(ctx context.Context, seqs []int64) error {
			_, err := pool.Exec(ctx, `DELETE FROM outbox WHERE state = 0 AND seq = ANY ($1)`, seqs)
			return err
		},
	}
}
