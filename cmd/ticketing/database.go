package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	if strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://") || keywords.MatchString(where) {
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

// keywords is libpq's other form: host=db user=app password='…' dbname=x.
var keywords = regexp.MustCompile(`(?s)^\s*(\w+\s*=.*\s)?(host|port|dbname|database|user|password|service)\s*=`)

func openPostgres(where string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(where)
	if err != nil || misread(cfg) { // the error may quote a part of a password
		return nil, usagef("the database's address is malformed; it is postgres://user:password@host:5432/name, " +
			"with %%40 for an @ in the password and so on, or host=… user=… password='…' dbname=…")
	}
	return stdlib.OpenDB(*cfg), nil
}

// misread reports whether a part of a password seems to be in what errors show:
// where it has an @ or a / in a URL, or where there are semicolons between
// keywords. A user may have an @.
func misread(cfg *pgx.ConnConfig) bool {
	shown := []string{cfg.Host, cfg.Database}
	for _, f := range cfg.Fallbacks {
		shown = append(shown, f.Host)
	}
	return strings.ContainsAny(cfg.User, ";=") ||
		slices.ContainsFunc(shown, func(s string) bool { return strings.ContainsAny(s, "@;=") })
}

// file is what is plainly one, and no password or token.
var file = regexp.MustCompile(`^([A-Za-z]:[\\/])?[\w ./\\-]+\.\w{1,8}$`)

// openSQLite opens a file that exists: SQLite would make one.
func openSQLite(path string) (*sql.DB, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = errors.New("it is a directory")
	}
	if err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		if !file.MatchString(path) {
			return nil, usagef("the database is neither PostgreSQL's, which is postgres://… or host=… dbname=…, nor an SQLite file: %w", err)
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
