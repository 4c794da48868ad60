package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// Parked implements [outbox.Store].
func (s *Store) Parked(ctx context.Context, after int64, limit int) ([]outbox.Parked, error) {
	list, err := record.Parked(s.db.QueryContext(ctx, s.q.parked, after, limit))
	return list, explain(err)
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
			changed, err := sqlstore.Affected(tx.ExecContext(ctx, query, arg))
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
	st, err := record.Stats(ctx, s.db, s.q.stats)
	return st, explain(err)
}
