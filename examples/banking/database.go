package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/accounts"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/transactions"
	inboxpostgres "github.com/ducnguyen96/ticketing-common/inbox/postgres"
	inboxsqlite "github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	outboxpostgres "github.com/ducnguyen96/ticketing-common/outbox/postgres"
	outboxsqlite "github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// database is one service's own, which no other service looks into.
type database struct {
	*sql.DB
	url string // of PostgreSQL, or a path
}

func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func openDatabase(url string) (*database, error) {
	driver, dsn := "pgx", url
	if !isPostgres(url) {
		// In WAL mode the relay and the service do not wait for each other's reads.
		driver, dsn = "sqlite", url+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	return &database{db, url}, nil
}

// outbox returns the outbox in the database.
func (db *database) outbox() (transactions.Store, error) {
	if isPostgres(db.url) {
		// A deposit locks nothing of its account, so the outbox does.
		return outboxpostgres.New(db.DB, &outboxpostgres.Options{LockKeys: true})
	}
	return outboxsqlite.New(db.DB, nil)
}

// inbox returns the inbox in the database.
func (db *database) inbox() (accounts.Store, error) {
	if isPostgres(db.url) {
		return inboxpostgres.New(db.DB, nil)
	}
	return inboxsqlite.New(db.DB, nil)
}

// databases makes a database for each service: a file of SQLite, or a schema
// of PostgreSQL.
type databases struct {
	dir     string
	server  *sql.DB // PostgreSQL, or nil
	url     *url.URL
	prefix  string
	schemas []string
}

var errNoPostgres = errors.New("-db is not a URL that begins with postgres://")

func openDatabases(ctx context.Context, server, dir string) (*databases, error) {
	d := &databases{dir: dir}
	if server == "" {
		return d, nil
	}
	u, err := url.Parse(server)
	if err != nil || !isPostgres(server) {
		return nil, errNoPostgres // and no more of it, which may have a password
	}
	d.url, d.prefix = u, "banking_"+strings.ToLower(rand.Text()[:8])
	if d.server, err = sql.Open("pgx", server); err != nil {
		return nil, errNoPostgres
	}
	if err := d.server.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot connect to the database of -db: %w", err), d.server.Close())
	}
	return d, nil
}

func (d *databases) kind() string {
	if d.server != nil {
		return "PostgreSQL"
	}
	return "SQLite"
}

// create makes a database.
func (d *databases) create(ctx context.Context, name string) (*database, error) {
	if d.server == nil {
		return openDatabase(filepath.Join(d.dir, name+".db"))
	}
	schema := d.prefix + "_" + name
	if _, err := d.server.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
		return nil, err
	}
	d.schemas = append(d.schemas, schema)
	u, query := *d.url, d.url.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return openDatabase(u.String())
}

// close drops what was made on the server. The files go with their directory.
func (d *databases) close() error {
	if d.server == nil {
		return nil
	}
	var errs []error
	for _, schema := range d.schemas {
		_, err := d.server.Exec(`DROP SCHEMA ` + schema + ` CASCADE`)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, d.server.Close())...)
}
