package sqlite

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
	return list, s.explain(err)
}

// Requeue implements [outbox.Store].
func (s *Store) Requeue(ctx context.Context, ids ...string) (int, error) {
	return s.revive(ctx, s.q.requeue, list(ids))
}

// Discard implements [outbox.Store].
func (s *Store) Discard(ctx context.Context, ids ...string) (int, error) {
	return s.revive(ctx, s.q.discard, list(ids))
}

// Replay implements [outbox.Store].
func (s *Store) Replay(ctx context.Context, age time.Duration) (int, error) {
	return s.revive(ctx, s.q.replay, age.Microseconds())
}

// revive runs a statement that lets old rows become pending, and tells the
// relay, which may be in the middle of a pass.
func (s *Store) revive(ctx context.Context, query string, arg any) (n int, err error) {
	err = s.InTx(ctx, func(tx *sql.Tx) error {
		changed, err := sqlstore.Affected(tx.ExecContext(ctx, query, arg))
		if err != nil || changed == 0 {
			return err
		}
		n = int(changed)
		for _, query := range []string{s.q.unwait, s.q.generation} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Stats implements [outbox.Store].
func (s *Store) Stats(ctx context.Context) (outbox.Stats, error) {
	st, err := record.Stats(ctx, s.db, s.q.stats)
	return st, s.explain(err)
}
