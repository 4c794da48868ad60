package outbox

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

var (
	// ErrLeaseLost means that another relay took over, so this one's
	// bookkeeping is refused.
	ErrLeaseLost = errors.New("the lease is lost: another relay took over")
	// ErrNotMigrated means that the store's tables do not exist, or are of
	// another version. Its Migrate makes them.
	ErrNotMigrated = errors.New("the outbox tables are missing or outdated: call the store's Migrate")
	// ErrIDTaken means that the table has another event with this id: another
	// subject, key, dedupe id or payload. It comes with
	// [ticketing.ErrInvalidEvent].
	ErrIDTaken = errors.New("the outbox has another event with this id")
)

// What a database can have in an index, and package inbox tell apart. A longer
// id or key is refused in the transaction, with [ticketing.ErrInvalidEvent].
const (
	MaxIDLen  = 512  // bytes
	MaxKeyLen = 1024 // bytes
)

// A Store is what a [Relay] needs of a database, and what an operator needs to
// look after the table. Package storetest holds an implementation to what is
// written here. The methods may be called concurrently, by any number of
// processes.
//
// A row has a sequence number that the database draws when it is inserted, and
// a state: it is pending, or waiting behind a parked row of its key, or parked
// because of its own fault, or sent and kept for a while.
//
// All times are the database's: the clock of the application does not matter.
type Store interface {
	// Acquire takes the lease for d if it is free, expired, or held by holder
	// already, and then it has a new epoch, one above the last. Otherwise ok
	// is false. A holder's name is a relay's own.
	Acquire(ctx context.Context, holder string, d time.Duration) (l Lease, ok bool, err error)
	// Renew makes the lease last d from now. The epoch stays. The error
	// matches ErrLeaseLost when the lease is not l any more.
	Renew(ctx context.Context, l Lease, d time.Duration) error
	// Release frees the lease at once. One that is not l any more stays, and
	// that is no error.
	Release(ctx context.Context, l Lease) error

	// Horizon returns the bound of a pass that takes more than one Pending.
	Horizon(ctx context.Context) (Horizon, error)
	// Pending reads pending rows in the order of their sequence numbers. If
	// it has a row, it has every pending row within the query's bounds whose
	// transaction had committed when that row's sequence number was drawn. An
	// error ends the sequence.
	Pending(ctx context.Context, q Query) iter.Seq2[Row, error]
	// Settle notes down what became of pending rows, all of it or nothing. A
	// row that is not pending any more, or has another event, is left alone.
	// The error matches ErrLeaseLost when the lease is not l any more, and then nothing
	// was changed.
	Settle(ctx context.Context, l Lease, s Settlement) error
	// Purge deletes at most limit kept rows that were sent longer than age
	// ago, and returns how many: none when the lease is not l any more.
	Purge(ctx context.Context, l Lease, age time.Duration, limit int) (int, error)

	// Parked lists parked rows with a sequence number above after, in order,
	// at most limit.
	Parked(ctx context.Context, after int64, limit int) ([]Parked, error)
	// Requeue makes parked events pending again, with those that wait behind
	// them, and returns how many were parked.
	Requeue(ctx context.Context, ids ...string) (int, error)
	// Discard deletes parked events, so that those behind them go on, and
	// returns how many were parked.
	Discard(ctx context.Context, ids ...string) (int, error)
	// Replay makes the kept rows that were sent at most age ago pending again,
	// and returns how many.
	Replay(ctx context.Context, age time.Duration) (int, error)
	// Stats counts. PerSecond is left to the Relay.
	Stats(ctx context.Context) (Stats, error)

	// Subscribe has wake called after each commit of a transaction that this
	// Store value made. wake does not block. After cancel it is not called
	// any more.
	Subscribe(wake func()) (cancel func())
}

// Lease is the right to publish, as its holder has it. The epoch alone does not
// tell it from the next: a database that lost its last commits draws the epoch
// again, for another holder.
type Lease struct {
	Holder string
	Epoch  int64 // counts the holders
}

// Row is a pending row.
type Row struct {
	Seq     int64
	Message ticketing.Message
	// Blocked: a parked row has the same key, so that this one has to wait.
	Blocked bool
}

// Ref returns what names the row.
func (r *Row) Ref() Ref { return Ref{r.Seq, r.Message.ID} }

// Ref names a row. Its sequence number alone does not: a database that lost
// its last commits draws the number again, for another event.
type Ref struct {
	Seq int64
	ID  string // the event's
}

// Query says which pending rows to read.
type Query struct {
	// After is a sequence number; the rows read are above it.
	After int64
	// Horizon bounds the read. The zero value does not.
	Horizon Horizon
	// Limit is the most rows to read.
	Limit int
}

// Last is the highest sequence number that the query covers.
func (q Query) Last() int64 {
	if q.Horizon == (Horizon{}) {
		return math.MaxInt64
	}
	return q.Horizon.Last
}

// Horizon is what a pass over the pending rows covers, if it takes several
// reads. Without it, the order could be lost: a row may commit behind the
// point that the pass has reached, and a later one of its key before it. What
// the horizon includes was drawn before the pass began, and so everything that
// such a row may have to follow was visible from the pass's beginning.
type Horizon struct {
	// Last is the highest sequence number of a pending row; 0 when there is
	// none.
	Last int64
	// Generation counts what makes old rows pending again: requeue, discard,
	// replay. It is never 0. A Pending whose horizon has another generation
	// finds nothing.
	Generation int64
}

// Settlement is what became of some rows.
type Settlement struct {
	Sent    []Ref     // the broker has them: delete, or keep
	Keep    bool      // keep the sent rows, with the time
	Parked  []Parking // refused by their own fault
	Waiting []Ref     // behind a parked row of their key; if it is not parked any more, they stay pending
}

// Parking is a row to be parked.
type Parking struct {
	Ref
	Reason string
}

// Parked is a row whose event the broker refuses by its own fault. It stays,
// and later events of its key wait, until it is requeued or discarded.
type Parked struct {
	Row
	Reason string
	Age    time.Duration // since it was parked
}

// Stats says how an outbox is doing.
type Stats struct {
	Pending int64         // rows to be published
	Oldest  time.Duration // age of the oldest of them
	Parked  int64         // rows that are refused by their own fault
	Waiting int64         // rows behind a parked one of their key
	// Published counts the events that were published since the table was
	// made, by all relays.
	Published int64
	// PerSecond is how many events this relay published per second, over the
	// last ten seconds.
	PerSecond float64
	Holder    string        // who has, or last had, the lease
	Epoch     int64         // how often it changed hands
	Lease     time.Duration // how long the lease lasts; zero: it is free
}
