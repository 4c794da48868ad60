// Package postgres is the [outbox.Store] for PostgreSQL 12 and later. It
// imports no driver: the relay works through database/sql, and events are
// written through a *sql.Tx, a *sql.Conn, or a transaction of pgx v5 ([Tx]).
// It is tested with pgx against PostgreSQL 15.
//
// A sequence number is drawn when a row is inserted, not when it is committed.
// Two transactions with events of one key commit in the order of their numbers
// if each locks the aggregate before it writes the event, as an UPDATE of its
// row or SELECT … FOR UPDATE does. For services that do not, Options.LockKeys
// takes an advisory lock of the key.
package postgres
