package outbox

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// lease is this relay's right to publish. It ends by this process's monotonic
// clock, a tenth before it ends by the database's: the deadline counts from
// before the database was asked.
type lease struct {
	Lease
	store Store
	d     time.Duration
	begun time.Time
	ends  atomic.Int64 // after begun
}

func newLease(s Store, has Lease, d time.Duration, asked time.Time) *lease {
	l := &lease{Lease: has, store: s, d: d, begun: asked}
	l.extend(asked)
	return l
}

func (l *lease) extend(asked time.Time) {
	l.ends.Store(int64(asked.Add(l.d - l.d/10).Sub(l.begun)))
}

// deadline is when publishing has to stop.
func (l *lease) deadline() time.Time { return l.begun.Add(time.Duration(l.ends.Load())) }

// valid is asked before each event is sent: a process that was stopped for a
// while finds out here.
func (l *lease) valid(now time.Time) bool { return int64(now.Sub(l.begun)) < l.ends.Load() }

var errExpired = errors.New("the lease could not be renewed in time")

// keep renews the lease until ctx ends, and returns why it is lost. It lets a call
// come to its end: one that was given up may be done after the lease is released.
func (l *lease) keep(ctx context.Context, failed func(error)) error {
	pause := l.d / 3
	for {
		timer := time.NewTimer(min(pause, max(time.Until(l.deadline()), 0)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		asked := time.Now()
		if !l.valid(asked) {
			return errExpired
		}
		call, cancel := context.WithDeadline(context.WithoutCancel(ctx), l.deadline())
		err := l.store.Renew(call, l.Lease, l.d)
		cancel()
		switch {
		case err == nil:
			l.extend(asked)
			pause = l.d / 3
		case errors.Is(err, ErrLeaseLost):
			return err
		case ctx.Err() == nil:
			failed(err)
			pause = l.d / 20
		}
	}
}
