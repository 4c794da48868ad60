package postgres

import (
	"context"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/internal/once"
)

// RowCount is what pgx's Exec returns, a pgconn.CommandTag.
type RowCount interface{ RowsAffected() int64 }

// PgxTx is a pgx.Tx. R is found by itself.
type PgxTx[R RowCount] interface {
	Exec(ctx context.Context, query string, args ...any) (R, error)
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// Once is Store.Once for a transaction of pgx v5, a pgx.Tx.
func Once[R RowCount](ctx context.Context, s *Store, tx PgxTx[R], consumer, eventID string, f func() error) (ran bool, err error) {
	return s.dialect.Run(ctx, pgx(tx), consumer, eventID, f)
}

// Within is Store.Within for pgx v5: inTx runs a function in a pgx.Tx.
//
//	inTx := func(ctx context.Context, fn func(pgx.Tx) error) error {
//		return pgx.BeginFunc(ctx, pool, fn)
//	}
//	inbox.Handler(postgres.Within(store, inTx), "accounts", …)
func Within[T PgxTx[R], R RowCount](s *Store, inTx func(ctx context.Context, fn func(tx T) error) error) inbox.InTx[T] {
	return once.Within(&s.dialect, inTx, func(tx T) once.Exec { return pgx[R](tx) })
}

func pgx[R RowCount](tx PgxTx[R]) once.Exec {
	return func(ctx context.Context, query string, args ...any) (int64, error) {
		tag, err := tx.Exec(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return tag.RowsAffected(), nil
	}
}
