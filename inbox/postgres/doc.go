// Package postgres is the inbox in PostgreSQL 12 and later. It imports no
// driver: it works in a *sql.Tx, a *sql.Conn, or a transaction of pgx v5
// ([Once], [Within]). It is tested with pgx against PostgreSQL 15.
//
// It works at every isolation level. At READ COMMITTED, the default, a
// duplicate that is handled at the same time waits for the first one's
// transaction and is then skipped, or runs where that was rolled back. At
// REPEATABLE READ and SERIALIZABLE it may have to begin anew first
// ([inbox.ErrTryAgain]), because its snapshot is older than the first one's
// commit.
package postgres
