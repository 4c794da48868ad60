package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox/internal/outbench"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

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
	if _, err := db.Exec(outbench.Tickets); err != nil {
		b.Fatal(err)
	}
	outbench.New(b, database(s, open("&_txlock=immediate"))).Run(b)
}

func database(s *sqlite.Store, hand *sql.DB) *outbench.DB {
	d := outbench.Through(s, hand, `INSERT INTO outbox (id, key, subject, data, time, created_at) VALUES ($1, $2, $3, $4, $5, $5)`,
		func() []any { return []any{time.Now().UnixMicro()} })
	d.Fill = func(n, keys int) error {
		prefix, e, err := outbench.Sample()
		if err != nil {
			return err
		}
		_, err = hand.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
				INSERT INTO outbox (id, key, subject, data, time, created_at)
				SELECT ? || printf('%08d', i), 'key' || (i % ?), 'bench:event', ?, 0, 0 FROM n`, n, prefix, keys, e)
		return err
	}
	d.Select = func(ctx context.Context, limit int) ([]outbench.Row, error) {
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
	}
	d.Delete = func(ctx context.Context, seqs []int64) error {
		list, err := json.Marshal(seqs)
		if err != nil {
			return err
		}
		_, err = hand.ExecContext(ctx, `DELETE FROM outbox WHERE state = 0 AND seq IN (SELECT value FROM json_each(?))`, string(list))
		return err
	}
	return d
}
