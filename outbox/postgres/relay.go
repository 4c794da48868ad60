package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Acquire implements [outbox.Store].
func (s *Store) Acquire(ctx context.Context, holder string, d time.Duration) (l outbox.Lease, ok bool, err error) {
	var has int
	err = s.db.QueryRowContext(ctx, s.q.acquirable, holder).Scan(&has, &ok)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && has != version:
		return l, false, fmt.Errorf("%w (they have version %d, this is %d)", outbox.ErrNotMigrated, has, version)
	case err != nil || !ok:
		return l, false, explain(err)
	}
	err = s.db.QueryRowContext(ctx, s.q.acquire, holder, d.Microseconds()).Scan(&l.Epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return l, false, nil
	}
	l.Holder = holder
	return l, err == nil, err
}

// Renew implements [outbox.Store].
func (s *Store) Renew(ctx context.Context, l outbox.Lease, d time.Duration) error {
	return fenced(sqlstore.Affected(s.db.ExecContext(ctx, s.q.renew, d.Microseconds(), l.Epoch, l.Holder)))
}

// fenced is ErrLeaseLost when a statement about the lease found none.
func fenced(n int64, err error) error {
	if err == nil && n == 0 {
		return outbox.ErrLeaseLost
	}
	return err
}

// Release implements [outbox.Store].
func (s *Store) Release(ctx context.Context, l outbox.Lease) error {
	_, err := s.db.ExecContext(ctx, s.q.release, l.Epoch, l.Holder)
	return err
}

// Horizon implements [outbox.Store].
func (s *Store) Horizon(ctx context.Context) (h outbox.Horizon, err error) {
	err = s.db.QueryRowContext(ctx, s.q.horizon).Scan(&h.Last, &h.Generation)
	return h, explain(err)
}

// Settle implements [outbox.Store].
func (s *Store) Settle(ctx context.Context, l outbox.Lease, st outbox.Settlement) error {
	if len(st.Parked) == 0 && len(st.Waiting) == 0 {
		return s.settleSent(ctx, s.db, l, st)
	}
	return sqlstore.InTx(ctx, s.db, func(tx *sql.Tx) error {
		if err := s.settleSent(ctx, tx, l, st); err != nil {
			return err
		}
		for _, p := range st.Parked {
			if _, err := tx.ExecContext(ctx, s.q.park, p.Reason, p.Seq, p.ID); err != nil {
				return err
			}
		}
		if len(st.Waiting) == 0 {
			return nil
		}
		// This statement sees what was requeued while the fence was waited for.
		seqs, ids := lists(st.Waiting)
		_, err := tx.ExecContext(ctx, s.q.wait, seqs, ids)
		return err
	})
}

// settleSent is one statement: it begins and ends the transaction where there
// is none.
func (s *Store) settleSent(ctx context.Context, tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, l outbox.Lease, st outbox.Settlement) error {
	if len(st.Sent) == 0 {
		return fenced(sqlstore.Affected(tx.ExecContext(ctx, s.q.count, 0, l.Epoch, l.Holder)))
	}
	query := s.q.remove
	if st.Keep {
		query = s.q.keep
	}
	var n int64
	seqs, ids := lists(st.Sent)
	err := tx.QueryRowContext(ctx, query, l.Epoch, seqs, len(st.Sent), ids, l.Holder).Scan(&n)
	return fenced(n, err)
}

// lists are the numbers and the ids of rows, each an array as text.
func lists(rows []outbox.Ref) (seqs, ids string) {
	s, i := make([]byte, 0, 2+12*len(rows)), make([]byte, 0, 2+40*len(rows))
	sep := byte('{')
	for _, r := range rows {
		s, i = append(s, sep), append(i, sep, '"')
		s = strconv.AppendInt(s, r.Seq, 10)
		for _, c := range []byte(r.ID) {
			if c == '"' || c == '\\' {
				i = append(i, '\\')
			}
			i = append(i, c)
		}
		i = append(i, '"')
		sep = ','
	}
	return string(append(s, '}')), string(append(i, '}'))
}

// Purge implements [outbox.Store].
func (s *Store) Purge(ctx context.Context, l outbox.Lease, age time.Duration, limit int) (int, error) {
	n, err := sqlstore.Affected(s.db.ExecContext(ctx, s.q.purge, age.Microseconds(), limit, l.Epoch, l.Holder))
	return int(n), err
}
