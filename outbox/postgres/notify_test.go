package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
)

func TestANotificationWakesTheRelay(t *testing.T) {
	schema, _ := pgtest.Schema(t, pgtest.URL(t))
	testNotification(t, &postgres.Options{Schema: schema, Notify: true})
}

// PostgreSQL refuses to notify a channel whose name has more than 63 bytes, and that
// would be the end of the service's transaction.
func TestTheLongestNamesHaveNotificationsToo(t *testing.T) {
	url := pgtest.URL(t)
	schema, _ := pgtest.Schema(t, url)
	schema += strings.Repeat("s", 40-len(schema))
	pgtest.Exec(t, url, `CREATE SCHEMA `+schema)
	t.Cleanup(func() { pgtest.Exec(t, url, `DROP SCHEMA `+schema+` CASCADE`) })
	testNotification(t, &postgres.Options{Schema: schema, Table: strings.Repeat("t", 40), Notify: true})
}

func testNotification(t *testing.T, opts *postgres.Options) {
	t.Helper()
	url := pgtest.URL(t)
	s := open(t, url, opts)
	rec, _ := run(t, s, &outbox.RelayOptions{
		MinPoll: time.Hour, MaxPoll: time.Hour,
		Listen: postgres.Listen(s, func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, url) }),
	})
	db := openDB(t, url)
	faulttest.Eventually(t, "it listens", func() bool {
		var n int
		err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND query LIKE $1`, "%"+opts.Schema+"%").Scan(&n)
		return err == nil && n == 1
	})
	add(t, open(t, url, opts), 0, 1) // which wakes nobody in this process
	wantAll(t, rec, 1)
}
