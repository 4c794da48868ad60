package outbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// Relay brings the events of an outbox to a broker. Any number may run, in any
// number of processes: one has the lease and does the work, the others stand
// by. Its methods may be called concurrently.
type Relay struct {
	store   Store
	sender  ticketing.Sender
	o       RelayOptions
	wake    chan struct{}
	running atomic.Bool
	rate    meter
	said    throttle
}

// NewRelay returns a relay from store to sender, which has to have a place for
// every subject in the table. It panics when one of them is nil.
func NewRelay(store Store, sender ticketing.Sender, opts *RelayOptions) *Relay {
	if store == nil || sender == nil {
		panic("outbox: NewRelay: the store or the sender is nil")
	}
	r := &Relay{store: store, sender: sender, o: opts.withDefaults(), wake: make(chan struct{}, 1)}
	r.said.log = r.o.Logger
	return r
}

// Wake makes the relay look at the table now. It does not block. A relay that
// stands by takes no notice.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Stats asks the store how the outbox is doing. Counting the rows of a long
// backlog takes the database a moment: about 50 ms for a million.
func (r *Relay) Stats(ctx context.Context) (Stats, error) {
	s, err := r.store.Stats(ctx)
	s.PerSecond = r.rate.perSecond(time.Now())
	return s, err
}

var errRunning = errors.New("outbox: the relay is running already")

// Run publishes what is in the table until ctx ends, then returns nil: no new
// events are sent, those in flight are waited for and noted down, for at most
// RelayOptions.DrainTimeout, and the lease is given back. While another relay
// has the lease it stands by.
//
// Whatever the broker or the database does, Run tries on, and says so in the
// log. It returns an error only when it cannot go on: the tables are missing
// ([ErrNotMigrated]), or the sender was closed ([ticketing.ErrClosed]). It may
// be called again after it returned, but runs once at a time.
func (r *Relay) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer r.running.Store(false)
	defer r.store.Subscribe(r.Wake)()
	holder := r.o.Name + "/" + rand.Text()[:8]
	var left []Ref // sent in the last term, and not noted down
	for {
		l, err := r.acquire(ctx, holder)
		if err != nil {
			return err
		}
		if l == nil {
			return nil
		}
		t := newTerm(r, l, left)
		err = t.run(ctx)
		left = t.left()
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case ctx.Err() != nil:
			return nil
		}
	}
}

// standby is how often a relay without the lease asks for it.
func (r *Relay) standby() time.Duration { return min(r.o.Lease/3, time.Second) }

// acquire waits for the lease. It returns nil when ctx ends.
func (r *Relay) acquire(ctx context.Context, holder string) (*lease, error) {
	for failures := 0; ctx.Err() == nil; {
		asked := time.Now()
		call, cancel := context.WithTimeout(ctx, r.o.Lease)
		has, ok, err := r.store.Acquire(call, holder, r.o.Lease)
		cancel()
		pause := r.standby()
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case errors.Is(err, ErrNotMigrated):
			return nil, fmt.Errorf("outbox: the relay cannot start: %w", err)
		case err != nil:
			failures++
			pause = backoff(r.o.Backoff, r.o.MaxBackoff, failures)
			r.said.error(asked, "acquire", "the outbox relay cannot ask for its lease", err)
		case ok:
			r.o.Logger.Info("the outbox relay has the lease", "holder", holder, "epoch", has.Epoch)
			return newLease(r.store, has, r.o.Lease, asked), nil
		default:
			failures = 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return nil, nil
}
