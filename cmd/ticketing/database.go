package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver

	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// databaseTimeout bounds what is done in a database.
const databaseTimeout = 30 * time.Second

// database says where an outbox is.
type database struct{ url, table, schema string }

// open calls f with the outbox.
func (d *database) open(ctx context.Context, f func(ctx context.Context, s outbox.Store) error) error {
	where := d.url
	if where == "" {
		where = os.Getenv("DATABASE_URL")
	}
	if where == "" {
		return usagef("which database? give --db, or set DATABASE_URL")
	}
	db, store, err := d.store(where)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, databaseTimeout, fmt.Errorf("the database did not answer within %v", databaseTimeout))
	defer cancel()
	return f(ctx, store)
}

func (d *database) store(where string) (*sql.DB, outbox.Store, error) {
	var db *sql.DB
	var store outbox.Store
	var err error
	if strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://") {
		if db, err = openPostgres(where); err != nil {
			return nil, nil, err
		}
		store, err = postgres.New(db, &postgres.Options{Table: d.table, Schema: d.schema})
	} else {
		if db, err = openSQLite(strings.TrimPrefix(where, "sqlite:")); err != nil {
			return nil, nil, err
		}
		store, err = sqlite.New(db, &sqlite.Options{Table: d.table})
	}
	if err != nil {
		_ = db.Close()
		return nil, nil, usage(err)
	}
	return db, store, nil
}

func openPostgres(where string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(where)
	if err != nil { // which may quote a part of a password
		return nil, usagef("the database's URL is malformed; it is postgres://user:password@host:5432/name")
	}
	return stdlib.OpenDB(*cfg), nil
}

// openSQLite opens a file that exists: SQLite would make one.
func openSQLite(path string) (*sql.DB, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = errors.New("it is a directory")
	}
	if err != nil {
		if strings.Contains(path, "://") { // a URL, and perhaps a password
			return nil, usagef("the database is neither a postgres:// URL nor a file")
		}
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, usagef("no SQLite database in %q: %w", clip(path, 200), err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "mode=rw&_pragma=busy_timeout(5000)"}
	return sql.Open("sqlite", dsn.String())
}
