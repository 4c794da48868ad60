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
func (s *Store) Acquire(ctx context.Context, holder string, d time.Duration) (epoch int64, ok bool, err error) {
	var has int
	err = s.db.QueryRowContext(ctx, s.q.acquirable, holder).Scan(&has, &ok)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && has != version:
		return 0, false, fmt.Errorf("%w (they have version %d, this is %d)", outbox.ErrNotMigrated, has, version)
	case err != nil || !ok:
		return 0, false, explain(err)
	}
	err = s.db.QueryRowContext(ctx, s.q.acquire, holder, d.Microseconds()).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return epoch, err == nil, err
}

// Renew implements [outbox.Store].
func (s *Store) Renew(ctx context.Context, epoch int64, d time.Duration) error {
	return fenced(sqlstore.Affected(s.db.ExecContext(ctx, s.q.renew, d.Microseconds(), epoch)))
}

// fenced is ErrLeaseLost when a statement about the lease found none.
func fenced(n int64, err error) error {
	if err == nil && n == 0 {
		return outbox.ErrLeaseLost
	}
	return err
}

// Release implements [outbox.Store].
func (s *Store) Release(ctx context.Context, epoch int64) error {
	_, err := s.db.ExecContext(ctx, s.q.release, epoch)
	return err
}

// Horizon implements [outbox.Store].
func (s *Store) Horizon(ctx context.Context) (h outbox.Horizon, err error) {
	err = s.db.QueryRowContext(ctx, s.q.horizon).Scan(&h.Last, &h.Generation)
	return h, explain(err)
}

// Settle implements [outbox.Store].
func (s *Store) Settle(ctx context.Context, epoch int64, st outbox.Settlement) error {
	if len(st.Parked) == 0 && len(st.Waiting) == 0 {
		return s.settleSent(ctx, s.db, epoch, st)
	}
	return sqlstore.InTx(ctx, s.db, func(tx *sql.Tx) error {
		if err := s.settleSent(ctx, tx, epoch, st); err != nil {
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
}, epoch int64, st outbox.Settlement) error {
	if len(st.Sent) == 0 {
		return fenced(sqlstore.Affected(tx.ExecContext(ctx, s.q.count, 0, epoch)))
	}
	query := s.q.remove
	if st.Keep {
		query = s.q.keep
	}
	var n int64
	seqs, ids := lists(st.Sent)
	err := tx.QueryRowContext(ctx, query, epoch, seqs, len(st.Sent), ids).Scan(&n)
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
func (s *Store) Purge(ctx context.Context, epoch int64, age time.Duration, limit int) (int, error) {
	n, err := sqlstore.Affected(s.db.ExecContext(ctx, s.q.purge, age.Microseconds(), limit, epoch))
	return int(n), err
}
