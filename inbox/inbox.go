package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ducnguyen96/ticketing-common"
)

var (
	// ErrTryAgain means that the transaction failed because of others that ran
	// at the same time: a serialization failure, a deadlock, a database that
	// is locked. Roll back, and run all of it again in a new transaction. The
	// event has not taken effect in this one.
	ErrTryAgain = errors.New("the transaction met another one: roll back and run it again")
	// ErrNotMigrated means that the store's table does not exist, or is not
	// this package's. The store's Migrate makes it.
	ErrNotMigrated = errors.New("the inbox table is missing or another one: call the store's Migrate")
	// ErrInvalidID means that an event's id or a consumer's name cannot be
	// noted down. Another attempt does not help.
	ErrInvalidID = errors.New("not 1 to 512 bytes of UTF-8 without NUL")
	// ErrNoTransaction means that Once was called without a transaction, so
	// that the note would have been committed before the effect.
	ErrNoTransaction = errors.New("this is not a transaction: pass the *sql.Tx in which the event takes effect")
)

// MaxIDLen is the longest id of an event or name of a consumer, in bytes: both
// have to fit into an entry of an index.
const MaxIDLen = 512

// CheckID reports why an event's id or a consumer's name cannot be noted down,
// or nil. It is for stores. The error matches [ErrInvalidID].
func CheckID(what, id string) error {
	if id == "" || len(id) > MaxIDLen || !utf8.ValidString(id) || strings.IndexByte(id, 0) >= 0 {
		if len(id) > 40 {
			id = id[:40] + "…"
		}
		return fmt.Errorf("inbox: %s %q: %w", what, id, ErrInvalidID)
	}
	return nil
}

// InTx runs fn in a transaction of its own in which it is noted down that
// consumer has handled the event, and commits both. If consumer has handled it
// before, fn is not called, ran is false and err is nil. With any error
// nothing is committed, or it is unknown whether all is, and the next call
// tells. The error matches [ErrTryAgain] where another transaction was in the
// way.
//
// The stores have such functions: their methods InTx and Within, and
// inbox/postgres's function Within for pgx.
type InTx[T any] func(ctx context.Context, consumer, eventID string, fn func(tx T) error) (ran bool, err error)

// Handler makes h a handler whose effect happens once for each event: it runs
// in a transaction that also notes down that consumer has handled the event,
// and the event is acknowledged after the commit, not before. A duplicate is
// acknowledged without a call of h. One that is delivered while the first is
// being handled waits for the end of that transaction.
//
// If h fails, or the commit does, the transaction is rolled back and the error
// is the handler's, for the listener to try again. Where the result of a
// commit is unknown, the next attempt finds out. A transaction that met
// another one ([ErrTryAgain]) is run again at once, up to 8 times within about
// half a second, as one and the same attempt, and h with it: what h does
// elsewhere than in tx may happen more often than once.
//
// h must use tx alone to change the database. Handler panics when consumer is
// not a valid name ([CheckID]) and when inTx or h is nil.
func Handler[E ticketing.Event, T any](inTx InTx[T], consumer string, h func(ctx context.Context, tx T, d *ticketing.Delivery[E]) error) ticketing.Handler[E] {
	if err := CheckID("consumer", consumer); err != nil {
		panic(err.Error())
	}
	if inTx == nil || h == nil {
		panic(fmt.Sprintf("inbox: Handler[%v]: inTx or the handler is nil", reflect.TypeFor[E]()))
	}
	return func(ctx context.Context, d *ticketing.Delivery[E]) error {
		pause := firstPause
		for try := 1; ; try++ {
			_, err := inTx(ctx, consumer, d.ID, func(tx T) error { return h(ctx, tx, d) })
			switch {
			case errors.Is(err, ErrInvalidID):
				return ticketing.Permanent(err)
			case !errors.Is(err, ErrTryAgain) || try == maxTries:
				return err
			}
			// Half of it by chance: those that met part.
			t := time.NewTimer(pause/2 + rand.N(pause))
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return err
			}
			pause *= 2
		}
	}
}

// A conflict is no fault of the event's, so the first few do not count as
// attempts of the listener's.
const (
	maxTries   = 8
	firstPause = 4 * time.Millisecond
)
