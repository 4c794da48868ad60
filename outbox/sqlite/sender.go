package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/sqlitecode"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/record"
)

// sender writes rows. It is synchronous: done is called before Send returns.
type sender struct {
	record.Place
	s  *Store
	tx interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	}
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
	same := []any{m.ID, m.DedupeID, m.Key, string(m.Subject), record.NotNil(m.Data)}
	n, err := sqlstore.Affected(w.insert(ctx, append(same, record.EncodeHeader(m.Header), m.Time.UnixMicro())))
	if err == nil && n == 0 {
		// A write that changes nothing, because Exec is all there is.
		if n, err = sqlstore.Affected(w.tx.ExecContext(ctx, w.s.q.same, same...)); err == nil && n == 0 {
			return ticketing.NewPublishError(ticketing.OutcomeRejected, m,
				fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, outbox.ErrIDTaken))
		}
	}
	if err != nil {
		if c := sqlitecode.Of(err); c == sqlitecode.BusySnapshot || c == sqlitecode.Busy {
			err = fmt.Errorf("%w: %w", ErrUpgrade, err)
		}
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, fmt.Errorf("%w: %w", ticketing.ErrTransaction, w.s.explain(err)))
	}
	return nil
}

// insert uses the statement that InTx has compiled, in its own transaction:
// one of another *sql.DB cannot take it.
func (w sender) insert(ctx context.Context, values []any) (sql.Result, error) {
	if tx, ok := w.tx.(*sql.Tx); ok && tx == w.s.current.Load() {
		return tx.StmtContext(ctx, w.s.insert.stmt).ExecContext(ctx, values...)
	}
	return w.tx.ExecContext(ctx, w.s.q.insert, values...)
}
