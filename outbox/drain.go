package outbox

import (
	"context"
	"time"
)

// drain waits for what is in flight and notes it down, and reports whether all
// of that is done. When the lease is lost nothing can be noted down, and the
// outcomes are waited for all the same, so that no event of an old term is in
// flight in a new one.
func (t *term) drain(ctx, life context.Context) bool {
	var limit <-chan time.Time
	ended := ctx.Done()
	if ctx.Err() != nil || !t.lost.Load() {
		ended = nil
		limit = time.After(t.r.o.DrainTimeout)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		t.complete(over, now)
		settling := t.books.busy || t.books.open() && !t.lost.Load()
		if t.inFlight == 0 && !t.pass.fetching && !settling {
			return !t.lost.Load()
		}
		if settling {
			t.settle(life, now)
			if at := t.books.dueAt(); !at.IsZero() {
				timer.Reset(max(at.Sub(now), 0))
			}
		}
		select {
		case <-t.outcomes.signal:
		case res := <-t.books.settled:
			t.onSettled(res)
		case <-t.pass.fetched:
			t.pass.fetching = false
		case <-timer.C:
		case <-ended:
			ended = nil
			limit = time.After(t.r.o.DrainTimeout)
		case <-limit:
			t.r.o.Logger.Warn("the outbox relay stops before all is noted down: some events are published again later",
				"in_flight", t.inFlight, "not_noted", len(t.books.sent))
			return false
		}
	}
}

// release lets another relay take over at once.
func (t *term) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.r.o.Lease)
	defer cancel()
	if err := t.r.store.Release(ctx, t.lease.Lease); err != nil {
		t.r.o.Logger.Warn("the outbox relay cannot give its lease back: another one has to wait until it ends", "error", err)
	}
}

// left is what the broker has and the store does not know of.
func (t *term) left() []Ref { return t.books.sent }
