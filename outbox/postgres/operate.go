package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Parked implements [outbox.Store].
func (s *Store) Parked(ctx context.Context, after int64, limit int) ([]outbox.Parked, error) {
	rows, err := s.db.QueryContext(ctx, s.q.parked, after, limit)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var list []outbox.Parked
	var c columns
	for rows.Next() {
		var p outbox.Parked
		var age int64
		if err := c.scan(rows, &p.Row, &p.Reason, &age); err != nil {
			return nil, err
		}
		p.Blocked = true
		p.Age = time.Duration(age) * time.Microsecond
		list = append(list, p)
	}
	return list, rows.Err()
}

// Requeue implements [outbox.Store].
func (s *Store) Requeue(ctx context.Context, ids ...string) (int, error) {
	return s.revive(ctx, s.q.requeue, arguments(ids))
}

// Discard implements [outbox.Store].
func (s *Store) Discard(ctx context.Context, ids ...string) (int, error) {
	return s.revive(ctx, s.q.discard, arguments(ids))
}

func arguments(ids []string) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return args
}

// Replay implements [outbox.Store].
func (s *Store) Replay(ctx context.Context, age time.Duration) (int, error) {
	return s.revive(ctx, s.q.replay, []any{age.Microseconds()})
}

// revive runs a statement that lets old rows become pending, once with each
// argument, and tells the relay, which may be in the middle of a pass.
func (s *Store) revive(ctx context.Context, query string, args []any) (n int, err error) {
	err = s.InTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.q.fence); err != nil {
			return err
		}
		for _, arg := range args {
			changed, err := affected(tx.ExecContext(ctx, query, arg))
			if err != nil {
				return err
			}
			n += int(changed)
		}
		if n == 0 {
			return nil
		}
		for _, query := range []string{s.q.unwait, s.q.generation} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, explain(err)
	}
	return n, nil
}

// Stats implements [outbox.Store].
func (s *Store) Stats(ctx context.Context) (outbox.Stats, error) {
	var st outbox.Stats
	var oldest, lease int64
	err := s.db.QueryRowContext(ctx, s.q.stats).Scan(
		&st.Pending, &oldest, &st.Parked, &st.Waiting, &st.Published, &st.Holder, &st.Epoch, &lease)
	st.Oldest = time.Duration(max(oldest, 0)) * time.Microsecond
	st.Lease = time.Duration(max(lease, 0)) * time.Microsecond
	return st, explain(err)
}
