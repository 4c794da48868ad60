package outbox

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
)

// books is what became of rows and is still to be noted down in the store. What
// was sent and what was refused fail apart: a row that the database does not
// let be parked holds up nothing that was sent.
type books struct {
	sent      []Ref
	refused   []refusal
	sentAt    tries
	refusedAt tries
	most      int // refused rows at a time; 0: all

	busy    bool
	settled chan settled
}

// refusal is a row that is to be parked, or to wait behind a parked one.
type refusal struct {
	Parking
	key   string
	waits bool
}

// tries is when what is in the books is noted down.
type tries struct {
	since    time.Time // of the oldest of it
	failures int
	after    time.Time // not before, because it failed
}

// settled is the result of noting down a batch.
type settled struct {
	batch   books
	err     error // then what was refused was not tried
	refused error
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

// open reports whether there is something to wait for. A row that could not be
// parked is not: the next relay is told the same of it.
func (b *books) open() bool {
	return len(b.sent) > 0 || len(b.refused) > 0 && b.refusedAt.failures == 0
}

func (b *books) send(row Ref, now time.Time) {
	if len(b.sent) == 0 {
		b.sentAt.since = now
	}
	b.sent = append(b.sent, row)
}

func (b *books) wait(it *item, now time.Time) {
	b.refuse(refusal{Parking: Parking{Ref: it.Ref()}, key: it.Message.Key, waits: true}, now)
}

func (b *books) park(it *item, err error, now time.Time) {
	b.refuse(refusal{Parking: Parking{it.Ref(), reason(err)}, key: it.Message.Key}, now)
}

func (b *books) refuse(r refusal, now time.Time) {
	if len(b.refused) == 0 {
		b.refusedAt.since = now
	}
	b.refused = append(b.refused, r)
}

// maxReason bounds what is stored of an error.
const maxReason = 1000

// reason is what a database takes as text, whatever bytes the error has.
func reason(err error) string {
	s := err.Error()
	s = strings.ToValidUTF8(s[:min(len(s), maxReason)], "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// dueAt is when the next batch is to be noted down; zero: none.
func (b *books) dueAt() (at time.Time) {
	if b.busy {
		return at
	}
	if len(b.sent) > 0 {
		at = later(b.sentAt.since.Add(linger), b.sentAt.after)
	}
	if len(b.refused) > 0 {
		refused := later(b.refusedAt.since.Add(linger), b.refusedAt.after)
		at = sooner(at, later(refused, b.sentAt.after))
	}
	return at
}

// settle notes down what there is, if it is time to.
func (t *term) settle(life context.Context, now time.Time) {
	b := &t.books
	if b.busy || now.Before(b.sentAt.after) || t.lost.Load() {
		return
	}
	idle := t.inFlight == 0 && t.queue.ready.len() == 0
	due := func(n int, at tries) bool {
		return n > 0 && !now.Before(at.after) && (idle || n >= fullBatch || !now.Before(at.since.Add(linger)))
	}
	refused := due(len(b.refused), b.refusedAt)
	if !refused && !due(len(b.sent), b.sentAt) {
		return
	}
	batch := books{sent: b.sent}
	b.sent = nil
	if refused {
		n := len(b.refused)
		if b.most > 0 {
			n = min(n, b.most)
		}
		batch.refused, b.refused = b.refused[:n:n], b.refused[n:]
	}
	b.busy = true
	go func() { b.settled <- t.note(life, batch) }()
}

// note writes a batch into the store: what was sent first, so that nothing is
// parked before what it follows is gone.
func (t *term) note(life context.Context, batch books) settled {
	ctx, cancel := context.WithTimeout(life, callTimeout)
	defer cancel()
	res := settled{batch: batch}
	if len(batch.sent) > 0 {
		s := Settlement{Sent: batch.sent, Keep: t.r.o.Keep > 0}
		if res.err = t.r.store.Settle(ctx, t.lease.Lease, s); res.err != nil {
			return res
		}
	}
	if len(batch.refused) > 0 {
		var s Settlement
		for _, r := range batch.refused {
			if r.waits {
				s.Waiting = append(s.Waiting, r.Ref)
			} else {
				s.Parked = append(s.Parked, r.Parking)
			}
		}
		res.refused = t.r.store.Settle(ctx, t.lease.Lease, s)
	}
	return res
}

// onSettled forgets what was noted down. What was not is tried again: whether
// it was done after all makes no difference.
func (t *term) onSettled(res settled) {
	b, now, batch := &t.books, time.Now(), res.batch
	b.busy = false
	switch {
	case res.err != nil:
		b.sent = append(batch.sent, b.sent...)
		b.refused = append(batch.refused, b.refused...)
		batch = books{}
		t.notNoted(res.err, &b.sentAt, "settle", "the outbox relay cannot note down what it published")
	case res.refused != nil:
		// Fewer at a time, and others first: one of them may be to blame.
		b.most = max(len(batch.refused)/2, 1)
		b.refused = append(b.refused, batch.refused...)
		batch.refused = nil
		t.notNoted(res.refused, &b.refusedAt, "refuse", "the outbox relay cannot park what the broker refuses")
	case len(batch.refused) > 0:
		b.most = min(2*b.most, t.r.o.MaxRows)
		b.refusedAt.failures = 0
	}
	if res.err == nil {
		b.sentAt.failures = 0
		t.r.rate.add(now, len(batch.sent))
	}
	// A read that runs now may have seen these rows as they were before.
	if t.pass.fetching {
		t.pass.noted = append(t.pass.noted, batch)
		return
	}
	t.forget(batch)
}

// notNoted is the end of an attempt that failed.
func (t *term) notNoted(err error, at *tries, kind, msg string) {
	now := time.Now()
	at.failures++
	at.after = now.Add(backoff(t.r.o.Backoff, t.r.o.MaxBackoff, at.failures))
	if errors.Is(err, ErrLeaseLost) {
		t.loseLease(err)
		return
	}
	t.r.said.error(now, kind, msg, err)
}

// forget lets go of rows that the store has noted down.
func (t *term) forget(b books) {
	for _, row := range b.sent {
		delete(t.held, row)
	}
	for _, r := range b.refused {
		delete(t.held, r.Ref)
		if r.key != "" {
			t.queue.open(r.key)
		}
	}
	if len(t.pass.skipped) > 0 && len(b.refused) > 0 {
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
		n, err := t.r.store.Purge(call, t.lease.Lease, keep, purgeStep)
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
