package postgres

import (
	"context"
	"fmt"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// sender writes rows. It is synchronous: done is called before Send returns.
type sender struct {
	record.Place
	s    *Store
	exec func(ctx context.Context, query string, args ...any) (int64, error)
}

func (w sender) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	done(w.send(ctx, m))
}

func (w sender) send(ctx context.Context, m *ticketing.Message) error {
	if ctx.Err() != nil {
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, context.Cause(ctx))
	}
	if err := record.Check(m, w.s.o.MaxPayload); err != nil {
		return err
	}
	taken, err := w.insert(ctx, m)
	switch {
	case err != nil:
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, fmt.Errorf("%w: %w", ticketing.ErrTransaction, explain(err)))
	case taken:
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m,
			fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, outbox.ErrIDTaken))
	}
	return nil
}

// insert reports whether another event has the id.
func (w sender) insert(ctx context.Context, m *ticketing.Message) (taken bool, err error) {
	if w.s.o.LockKeys && m.Key != "" {
		if _, err := w.exec(ctx, w.s.q.lock, w.s.locks^hash(m.Key)); err != nil {
			return false, err
		}
	}
	same := []any{m.ID, m.DedupeID, m.Key, string(m.Subject), record.NotNil(m.Data)}
	query, row := w.s.q.insert, append(same, record.EncodeHeader(m.Header), m.Time)
	if w.s.o.Notify {
		query, row = w.s.q.insertNotify, append(row, w.s.channel)
	}
	for {
		if n, err := w.exec(ctx, query, row...); n > 0 || err != nil {
			return false, err
		}
		// Exec tells how many rows a SELECT has. With none, a relay has just
		// deleted what the INSERT met.
		if n, err := w.exec(ctx, w.s.q.same, same...); n > 0 || err != nil {
			return n == 1, err
		}
	}
}

// explain names the errors that a caller can do something about.
func explain(err error) error {
	if sqlstore.Undefined(err) {
		return fmt.Errorf("%w: %w", outbox.ErrNotMigrated, err)
	}
	return err
}
