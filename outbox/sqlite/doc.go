// Package sqlite is the [outbox.Store] for SQLite 3.35 and later, over any
// database/sql driver: it imports none. It is tested with modernc.org/sqlite.
//
// SQLite has one writer at a time, and so rows commit in the order of their
// sequence numbers. The database should be in WAL mode, so that the relay's
// reads and the service's writes do not wait for each other.
//
// A transaction that reads before it writes cannot always be made a writing
// one: if another has written meanwhile, SQLite refuses at once, whatever the
// busy timeout is. Store.InTx takes the write lock at the beginning. See
// [ErrUpgrade] for transactions of the service's own.
package sqlite
