package postgres

import (
	"context"
	"database/sql"
	"iter"
	"math/bits"
	"strconv"

	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// Pending implements [outbox.Store].
func (s *Store) Pending(ctx context.Context, q outbox.Query) iter.Seq2[outbox.Row, error] {
	return func(yield func(outbox.Row, error) bool) {
		r := reading{s: s, left: q.Limit, yield: yield}
		var err error
		if q.Horizon == (outbox.Horizon{}) {
			err = r.poll(ctx, q)
		} else {
			err = r.windows(ctx, q)
		}
		if err != nil && !r.over {
			yield(outbox.Row{}, explain(err))
		}
	}
}

// reading is one call of Pending.
type reading struct {
	s     *Store
	c     record.Reader
	left  int // how many rows may come
	over  bool
	yield func(outbox.Row, error) bool
}

// poll reads in one statement. Its limit is no parameter: PostgreSQL would
// believe in a tenth of the table, and plan each poll anew because of that. A
// power of two makes few statements.
func (r *reading) poll(ctx context.Context, q outbox.Query) error {
	limit := strconv.FormatUint(1<<bits.Len64(uint64(max(q.Limit-1, 0))), 10)
	return r.rows(r.s.db.QueryContext(ctx, r.s.q.pending+limit, q.After))
}

// windows reads ranges of sequence numbers, until there are enough rows. A
// planner that believes in few pending rows, as statistics of an empty table
// tell it, reads and sorts all that are above q.After: of a long backlog, at
// each read.
func (r *reading) windows(ctx context.Context, q outbox.Query) error {
	after := q.After
	if after == 0 {
		var first sql.NullInt64
		if err := r.s.db.QueryRowContext(ctx, r.s.q.first, after).Scan(&first); err != nil || !first.Valid {
			return err
		}
		after = first.Int64 - 1
	}
	for width := int64(q.Limit); after < q.Horizon.Last && r.left > 0 && !r.over; width *= 2 {
		to := min(after+max(width, 1), q.Horizon.Last)
		if err := r.rows(r.s.db.QueryContext(ctx, r.s.q.window, after, to, q.Horizon.Generation)); err != nil {
			return err
		}
		after = to
	}
	return nil
}

func (r *reading) rows(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for !r.over && r.left > 0 && rows.Next() {
		var row outbox.Row
		if err := r.c.Scan(rows, &row, &row.Blocked); err != nil {
			return err
		}
		r.left--
		r.over = !r.yield(row, nil)
	}
	// A Scan into sql.RawBytes holds a lock until the next Next or Close, and Err
	// takes it again: with the end of ctx in between each would wait for the other.
	_ = rows.Close()
	return rows.Err()
}
