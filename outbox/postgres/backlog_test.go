package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
)

func TestALongBacklogIsReadByItsIndex(t *testing.T) {
	wantFewRead(t, func(ctx context.Context, s *postgres.Store) error {
		h, err := s.Horizon(ctx)
		if err != nil {
			return err
		}
		n := 0
		for _, err := range s.Pending(ctx, outbox.Query{After: 1000, Horizon: h, Limit: 1000}) {
			if err != nil {
				return err
			}
			n++
		}
		if n != 1000 {
			return fmt.Errorf("%d rows", n)
		}
		return nil
	})
}

// With the pairs of numbers and ids alone, without the numbers by themselves, all
// are read.
func TestTheBookkeepingOfALongBacklogUsesItsIndex(t *testing.T) {
	var rows []outbox.Ref
	for i := range 1000 {
		rows = append(rows, outbox.Ref{Seq: int64(i + 1), ID: fmt.Sprint(i + 1)})
	}
	for name, st := range map[string]outbox.Settlement{
		"sent":    {Sent: rows},
		"kept":    {Sent: rows, Keep: true},
		"waiting": {Waiting: rows},
	} {
		t.Run(name, func(t *testing.T) {
			wantFewRead(t, func(ctx context.Context, s *postgres.Store) error {
				lease, _, err := s.Acquire(ctx, "r", time.Minute)
				if err != nil {
					return err
				}
				return s.Settle(ctx, lease, st)
			})
		})
	}
}

// wantFewRead does something with 1 000 rows of a backlog of which the planner
// knows nothing.
func wantFewRead(t *testing.T, do func(ctx context.Context, s *postgres.Store) error) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	open(t, url, nil)
	pgtest.Exec(t, url, `ANALYZE outbox; INSERT INTO outbox (id, key, subject, time, data)
		SELECT i, i % 1000, 'ticket:created', now(), '{}' FROM generate_series(1, 100000) i`)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := postgres.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	// A connection tells what it has read when it ends, at the latest.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	count := openDB(t, url)
	faulttest.Eventually(t, "the reading is counted", func() bool { return readTuples(t, count) >= 1000 })
	if read := readTuples(t, count); read > 3000 {
		t.Errorf("%d rows were read for 1000", read)
	}
}

// readTuples is how many rows of the table were read, by whatever plan.
func readTuples(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	err := db.QueryRow(`SELECT seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)
		FROM pg_stat_user_tables t WHERE relid = 'outbox'::regclass`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
