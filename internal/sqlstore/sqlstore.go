// Package sqlstore is what the stores of the outbox and of the inbox have in
// common, whatever the database.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
)

// maxName leaves room for the suffixes of indexes within the 63 bytes that
// PostgreSQL allows.
const maxName = 40

var name = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// CheckName reports why what, a table or a schema, cannot have the name.
func CheckName(what, s string) error {
	if len(s) > maxName || !name.MatchString(s) {
		return fmt.Errorf("%s name %q: it has to be a lower-case letter or '_', then lower-case letters, digits and '_', at most %d bytes", what, s, maxName)
	}
	return nil
}

// InTx runs fn in a transaction of db, with the database's default isolation,
// and commits it. If fn returns an error or panics it is rolled back.
func InTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it may be committed, and if not, the error says why
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Affected is how many rows a statement changed.
func Affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// SQLState is why PostgreSQL refused, or empty. The errors of pgx and of
// lib/pq have a method for it.
func SQLState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// Undefined reports whether PostgreSQL knows no such table, column or schema.
func Undefined(err error) bool {
	switch SQLState(err) {
	case "42P01", "42703", "3F000":
		return true
	}
	return false
}
