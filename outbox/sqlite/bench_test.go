package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/outbench"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

const insertBusiness = `INSERT INTO tickets (id, key, title, price) VALUES (?, ?, ?, ?)`

// BenchmarkOutbox compares with what one would write by hand, in a file with
// durable settings.
func BenchmarkOutbox(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bench.db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
	open := func(more string) *sql.DB {
		db, err := sql.Open("sqlite", path+more)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close() })
		db.SetMaxIdleConns(16)
		return db
	}
	db := open("")
	s, err := sqlite.New(db, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE tickets (id TEXT PRIMARY KEY, key TEXT NOT NULL, title TEXT NOT NULL, price INTEGER NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	outbench.New(b, database(s, db, open("&_txlock=immediate"))).Run(b)
}

func database(s *sqlite.Store, db, hand *sql.DB) *outbench.DB {
	publisher := ticketing.NewPublisher[outbench.Event](s.Tx(db), nil)
	wake := new(outbox.Wakeups)
	inTx := func(ctx context.Context, fn func(tx *sql.Tx) error) error {
		tx, err := hand.BeginTx(ctx, nil)
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
	const insert = `INSERT INTO outbox (id, key, subject, data, time, created_at) VALUES (?, ?, ?, ?, ?, ?)`
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
				now := time.Now().UnixMicro()
				_, err = tx.ExecContext(ctx, insert, uuid.Must(uuid.NewV7()).String(), key, string(e.Subject()), data, now, now)
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
			_, err = hand.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
				INSERT INTO outbox (id, key, subject, data, time, created_at)
				SELECT ? || printf('%08d', i), 'key' || (i % ?), 'bench:event', ?, 0, 0 FROM n`, n, uuid.Must(uuid.NewV7()).String(), keys, e)
			return err
		},
		Select: func(ctx context.Context, limit int) ([]outbench.Row, error) {
			rows, err := hand.QueryContext(ctx, `SELECT seq, id, subject, data FROM outbox WHERE state = 0 ORDER BY seq LIMIT ?`, limit)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			var list []outbench.Row
			for rows.Next() {
				var r outbench.Row
				if err := rows.Scan(&r.Seq, &r.ID, &r.Subject, &r.Data); err != nil {
					return nil, err
				}
				list = append(list, r)
			}
			return list, rows.Err()
		},
		Delete: func(ctx context.Context, seqs []int64) error {
			list, err := json.Marshal(seqs)
			if err != nil {
				return err
			}
			_, err = hand.ExecContext(ctx, `DELETE FROM outbox WHERE state = 0 AND seq IN (SELECT value FROM json_each(?))`, strings.TrimSpace(string(list)))
			return err
		},
	}
}
