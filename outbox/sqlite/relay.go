package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

const version = 1

// Acquire implements [outbox.Store].
func (s *Store) Acquire(ctx context.Context, holder string, d time.Duration) (l outbox.Lease, ok bool, err error) {
	var has int
	err = s.db.QueryRowContext(ctx, s.q.acquirable, holder).Scan(&has, &ok)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && has != version:
		return l, false, fmt.Errorf("%w (they have version %d, this is %d)", outbox.ErrNotMigrated, has, version)
	case err != nil || !ok:
		return l, false, s.explain(err)
	}
	err = s.inTx(ctx, false, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, s.q.acquire, holder, d.Microseconds()).Scan(&l.Epoch)
		if errors.Is(err, sql.ErrNoRows) {
			ok, err = false, nil
		}
		return err
	})
	l.Holder = holder
	return l, ok && err == nil, err
}

// Renew implements [outbox.Store].
func (s *Store) Renew(ctx context.Context, l outbox.Lease, d time.Duration) error {
	return s.inTx(ctx, false, func(tx *sql.Tx) error {
		return fenced(tx.ExecContext(ctx, s.q.renew, d.Microseconds(), l.Epoch, l.Holder))
	})
}

// fenced is ErrLeaseLost when a statement about the lease found none.
func fenced(res sql.Result, err error) error {
	n, err := sqlstore.Affected(res, err)
	if err == nil && n == 0 {
		return outbox.ErrLeaseLost
	}
	return err
}

// Release implements [outbox.Store].
func (s *Store) Release(ctx context.Context, l outbox.Lease) error {
	return s.inTx(ctx, false, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.q.release, l.Epoch, l.Holder)
		return err
	})
}

// Horizon implements [outbox.Store].
func (s *Store) Horizon(ctx context.Context) (h outbox.Horizon, err error) {
	err = s.db.QueryRowContext(ctx, s.q.horizon).Scan(&h.Last, &h.Generation)
	return h, s.explain(err)
}

// Pending implements [outbox.Store].
func (s *Store) Pending(ctx context.Context, q outbox.Query) iter.Seq2[outbox.Row, error] {
	return func(yield func(outbox.Row, error) bool) {
		rows, err := s.query(ctx, q)
		if err != nil {
			yield(outbox.Row{}, s.explain(err))
			return
		}
		defer rows.Close()
		var c record.Reader
		for rows.Next() {
			var r outbox.Row
			if err := c.Scan(rows, &r, &r.Blocked); err != nil {
				yield(r, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(outbox.Row{}, err)
		}
	}
}

func (s *Store) query(ctx context.Context, q outbox.Query) (*sql.Rows, error) {
	if q.Horizon != (outbox.Horizon{}) {
		return s.db.QueryContext(ctx, s.q.bounded, q.After, q.Horizon.Last, q.Horizon.Generation, q.Limit)
	}
	stmt, err := s.pending.of(ctx, s.db, s.q.pending)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, q.After, q.Limit)
}

// Settle implements [outbox.Store].
func (s *Store) Settle(ctx context.Context, l outbox.Lease, st outbox.Settlement) error {
	return s.inTx(ctx, false, func(tx *sql.Tx) error {
		if err := fenced(tx.ExecContext(ctx, s.q.count, len(st.Sent), l.Epoch, l.Holder)); err != nil {
			return err
		}
		if len(st.Sent) > 0 {
			query := s.q.remove
			if st.Keep {
				query = s.q.keep
			}
			if _, err := tx.ExecContext(ctx, query, object(st.Sent)); err != nil {
				return err
			}
		}
		for _, p := range st.Parked {
			if _, err := tx.ExecContext(ctx, s.q.park, p.Reason, p.Seq, p.ID); err != nil {
				return err
			}
		}
		if len(st.Waiting) > 0 {
			if _, err := tx.ExecContext(ctx, s.q.wait, object(st.Waiting)); err != nil {
				return err
			}
		}
		return nil
	})
}

// list is a parameter for json_each.
func list(values []string) string { return string(marshal(values)) }

// object is a parameter for json_each, with the ids by their numbers.
func object(rows []outbox.Ref) string {
	b := make([]byte, 0, 2+60*len(rows))
	sep := byte('{')
	for _, r := range rows {
		b = append(b, sep, '"')
		b = strconv.AppendInt(b, r.Seq, 10)
		b = append(b, `":`...)
		b = append(b, marshal(r.ID)...)
		sep = ','
	}
	return string(append(b, '}'))
}

func marshal[T string | []string](v T) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings
	}
	return b
}

// Purge implements [outbox.Store].
func (s *Store) Purge(ctx context.Context, l outbox.Lease, age time.Duration, limit int) (n int, err error) {
	err = s.inTx(ctx, false, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, s.q.purge, age.Microseconds(), limit, l.Epoch, l.Holder)
		deleted, err := sqlstore.Affected(res, err)
		n = int(deleted)
		return err
	})
	return n, err
}
