package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// A Store is what a [Purger] needs of one.
type Store interface {
	// Purge deletes at most limit rows that were noted down longer than age
	// ago by the database's clock, the oldest first, and returns how many.
	Purge(ctx context.Context, age time.Duration, limit int) (int, error)
}

// ErrRetention means that rows would be deleted while their events may still
// be delivered again, and would take effect twice.
var ErrRetention = errors.New("the retention is shorter than the redelivery horizon")

// Purger deletes old rows from an inbox, in small steps. Any number may run,
// in any number of processes. Its methods may be called concurrently.
type Purger struct {
	store Store
	o     PurgerOptions
}

// PurgerOptions configures a [Purger]. Nil and the zero value are good.
type PurgerOptions struct {
	// Retention is how long a row is kept. It cannot be shorter than the
	// horizon. Default: the horizon and a day more.
	Retention time.Duration
	// Every is how often Run looks for old rows. Default 1 minute.
	Every time.Duration
	// Step is how many rows are deleted in one transaction. Default 1000.
	Step int
	// Logger hears of purges that failed and are tried again. Default
	// [slog.Default].
	Logger *slog.Logger
}

// NewPurger returns a purger of store. horizon is the redelivery horizon: how
// long after its first delivery an event may be delivered again. That is at
// least as long as the broker keeps an event (a stream's or channel's max
// age), or somebody may replay one: from an outbox that keeps what was sent,
// or from the dead letters. Where there is no such bound an inbox cannot be
// purged.
//
// The error matches [ErrRetention] when the options' Retention is shorter.
// NewPurger panics when store is nil.
func NewPurger(store Store, horizon time.Duration, opts *PurgerOptions) (*Purger, error) {
	if store == nil {
		panic("inbox: NewPurger: the store is nil")
	}
	p := &Purger{store: store}
	if opts != nil {
		p.o = *opts
	}
	const day = 24 * time.Hour
	switch o := &p.o; {
	case horizon <= 0:
		return nil, fmt.Errorf("inbox: the redelivery horizon is %v: it has to be how long an event may be delivered again", horizon)
	case o.Every < 0 || o.Step < 0:
		return nil, errors.New("inbox: PurgerOptions.Every and Step cannot be negative")
	case o.Retention == 0 && horizon > math.MaxInt64-day:
		o.Retention = horizon
	case o.Retention == 0:
		o.Retention = horizon + day
	case o.Retention < horizon:
		return nil, fmt.Errorf("inbox: %w: %v and %v", ErrRetention, o.Retention, horizon)
	}
	if p.o.Every == 0 {
		p.o.Every = time.Minute
	}
	if p.o.Step == 0 {
		p.o.Step = 1000
	}
	if p.o.Logger == nil {
		p.o.Logger = slog.Default()
	}
	return p, nil
}

// Purge deletes what is older than the retention now, and returns how many
// rows that were, also with an error. Between two steps it pauses for as long
// as the first took, so that it leaves the database to others half of the
// time.
func (p *Purger) Purge(ctx context.Context) (int, error) {
	for total := 0; ; {
		began := time.Now()
		n, err := p.store.Purge(ctx, p.o.Retention, p.o.Step)
		total += n
		if err != nil || n < p.o.Step {
			return total, err
		}
		if !sleep(ctx, time.Since(began)) {
			return total, context.Cause(ctx)
		}
	}
}

// Run purges until ctx ends, then returns nil. What fails is said in the log
// and tried again. It returns an error only when it cannot go on: the table is
// missing ([ErrNotMigrated]).
func (p *Purger) Run(ctx context.Context) error {
	for {
		n, err := p.Purge(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrNotMigrated):
			return err
		case err != nil:
			p.o.Logger.Warn("inbox not purged", "deleted", n, "retry_after", p.o.Every, "error", err)
		}
		if !sleep(ctx, p.o.Every) {
			return nil
		}
	}
}

// sleep reports false when ctx ended before d was over.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
