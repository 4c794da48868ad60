package outbox

import (
	"context"
	"errors"
	"time"
)

// books is what became of rows and is still to be noted down in the store.
type books struct {
	acked   []int64
	parked  []parking
	waiting []waiting

	since    time.Time // of the oldest of them
	busy     bool
	settled  chan settled
	failures int
	after    time.Time // not before, because it failed
}

type parking struct {
	Parking
	key string
}

type waiting struct {
	seq int64
	key string
}

// settled is the result of noting down a batch.
type settled struct {
	batch books
	err   error
}

const (
	// linger is how long an outcome may wait for others: a statement for each
	// would cost more than the publishing.
	linger = 20 * time.Millisecond
	// fullBatch is how many do not wait.
	fullBatch = 1000
	// callTimeout bounds a call of the store that hangs.
	callTimeout = 30 * time.Second
)

func (b *books) any() bool { return len(b.acked)+len(b.parked)+len(b.waiting) > 0 }

func (b *books) begin(now time.Time) {
	if !b.any() {
		b.since = now
	}
}

func (b *books) sent(seq int64, now time.Time) {
	b.begin(now)
	b.acked = append(b.acked, seq)
}

func (b *books) wait(it *item, now time.Time) {
	b.begin(now)
	b.waiting = append(b.waiting, waiting{it.Seq, it.Message.Key})
}

// maxReason bounds what is stored of an error.
const maxReason = 1000

func (b *books) park(it *item, err error, now time.Time) {
	b.begin(now)
	reason := err.Error()
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	b.parked = append(b.parked, parking{Parking{it.Seq, reason}, it.Message.Key})
}

// dueAt is when the next batch is to be noted down; zero: none.
func (b *books) dueAt() time.Time {
	if b.busy || !b.any() {
		return time.Time{}
	}
	at := b.since.Add(linger)
	if b.after.After(at) {
		return b.after
	}
	return at
}

// settle notes down what there is, if it is time to.
func (t *term) settle(life context.Context, now time.Time) {
	b := &t.books
	if b.busy || !b.any() || now.Before(b.after) || t.lost.Load() {
		return
	}
	idle := t.inFlight == 0 && t.queue.ready.len() == 0
	if !idle && len(b.acked) < fullBatch && now.Before(b.since.Add(linger)) {
		return
	}
	batch := books{acked: b.acked, parked: b.parked, waiting: b.waiting}
	b.acked, b.parked, b.waiting = nil, nil, nil
	b.busy = true
	go func() {
		s := Settlement{Sent: batch.acked, Keep: t.r.o.Keep > 0}
		for _, p := range batch.parked {
			s.Parked = append(s.Parked, p.Parking)
		}
		for _, w := range batch.waiting {
			s.Waiting = append(s.Waiting, w.seq)
		}
		ctx, cancel := context.WithTimeout(life, callTimeout)
		defer cancel()
		b.settled <- settled{batch, t.r.store.Settle(ctx, t.lease.epoch, s)}
	}()
}

// onSettled forgets what was noted down. What was not is tried again: whether
// it was done after all makes no difference.
func (t *term) onSettled(res settled) {
	b, now := &t.books, time.Now()
	b.busy = false
	if res.err != nil {
		b.acked = append(res.batch.acked, b.acked...)
		b.parked = append(res.batch.parked, b.parked...)
		b.waiting = append(res.batch.waiting, b.waiting...)
		b.failures++
		b.after = now.Add(backoff(t.r.o.Backoff, t.r.o.MaxBackoff, b.failures))
		if errors.Is(res.err, ErrLeaseLost) {
			t.loseLease(res.err)
			return
		}
		t.r.said.error(now, "settle", "the outbox relay cannot note down what it published", res.err)
		return
	}
	b.failures = 0
	t.r.rate.add(now, len(res.batch.acked))
	// A read that runs now may have seen these rows as they were before.
	if t.pass.fetching {
		t.pass.noted = append(t.pass.noted, res.batch)
		return
	}
	t.forget(res.batch)
}

// forget lets go of rows that the store has noted down.
func (t *term) forget(b books) {
	for _, seq := range b.acked {
		delete(t.held, seq)
	}
	for _, w := range b.waiting {
		delete(t.held, w.seq)
		t.queue.open(w.key)
	}
	for _, p := range b.parked {
		delete(t.held, p.Seq)
		if p.key != "" {
			t.queue.open(p.key)
		}
	}
	if len(t.pass.skipped) > 0 && len(b.waiting)+len(b.parked) > 0 {
		t.pass.woken = true // what was skipped because of them
	}
}

const (
	purgeEvery = time.Minute
	purgeStep  = 500
	purgePause = 20 * time.Millisecond
)

// purge deletes kept rows that are old enough, a few at a time.
func (t *term) purge(ctx context.Context) {
	keep := t.r.o.Keep
	if keep <= 0 {
		return
	}
	for timer := time.NewTimer(0); ; {
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		n, err := t.r.store.Purge(call, t.lease.epoch, keep, purgeStep)
		cancel()
		if err != nil && ctx.Err() == nil {
			t.r.said.error(time.Now(), "purge", "the outbox relay cannot delete old rows", err)
		}
		if n == purgeStep {
			timer.Reset(purgePause)
		} else {
			timer.Reset(min(purgeEvery, max(keep/10, purgePause)))
		}
	}
}

// listen runs the option of that name while the lease lasts.
func (t *term) listen(ctx context.Context) {
	if t.r.o.Listen == nil {
		return
	}
	for failures := 1; ctx.Err() == nil; failures++ {
		begun := time.Now()
		err := t.r.o.Listen(ctx, t.r.Wake)
		if ctx.Err() != nil {
			return
		}
		t.r.said.error(time.Now(), "listen", "the outbox relay gets no notifications, only polling is left", err)
		if time.Since(begun) > t.r.o.MaxBackoff {
			failures = 1
		}
		select {
		case <-time.After(backoff(t.r.o.Backoff, t.r.o.MaxBackoff, failures)):
		case <-ctx.Done():
		}
	}
}
