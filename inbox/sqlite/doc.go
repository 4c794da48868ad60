// Package sqlite is the inbox in SQLite 3.35 and later, over any database/sql
// driver: it imports none. It is tested with modernc.org/sqlite.
//
// SQLite has one writer at a time. A duplicate waits for it for as long as the
// connection's busy timeout says, so set one (modernc.org/sqlite:
// _pragma=busy_timeout(5000)).
//
// A transaction that reads before it writes cannot always be made a writing
// one: if another has written meanwhile, SQLite refuses at once, whatever the
// busy timeout is, and Once returns [inbox.ErrTryAgain]. Call Once first, as
// Store.InTx does, or begin the transaction IMMEDIATE.
package sqlite
