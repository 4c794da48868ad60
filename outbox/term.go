package outbox

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// term is one holding of the lease. Its fields belong to the goroutine of run,
// which starts the reads and the bookkeeping, each in a goroutine of its own
// and one of each at a time, and calls the sender.
type term struct {
	r     *Relay
	lease *lease

	queue    *queue
	outcomes outcomes
	inFlight int
	held     map[Ref]struct{} // rows in memory, until they are noted down
	lastOK   time.Time        // when the broker last took something
	lastFail time.Time
	refused  bool // the last failure was about the subject alone

	books books
	pass  pass

	lost    atomic.Bool // the lease is
	endWork context.CancelFunc
	fatal   error
}

func newTerm(r *Relay, l *lease, left []Ref) *term {
	t := &term{
		r:     r,
		lease: l,
		queue: newQueue(r.o.Backoff, r.o.MaxBackoff),
		held:  make(map[Ref]struct{}),
	}
	t.outcomes.signal = make(chan struct{}, 1)
	t.books.settled = make(chan settled, 1)
	t.pass.fetched = make(chan fetched, 1)
	for _, row := range left {
		t.held[row] = struct{}{}
		t.books.send(row, time.Time{})
	}
	return t
}

// run works until ctx ends, the lease is lost, or the sender is closed; only
// the last is an error.
func (t *term) run(ctx context.Context) error {
	// life ends with run: the lease and the bookkeeping outlive ctx.
	life, endLife := context.WithCancel(context.WithoutCancel(ctx))
	work, endWork := context.WithCancel(ctx)
	t.endWork = endWork
	var helpers sync.WaitGroup
	helpers.Go(func() { t.keepLease(life) })
	helpers.Go(func() { t.purge(work) })
	helpers.Go(func() { t.listen(work) })

	t.loop(work, life)
	endWork()
	noted := t.drain(ctx, life)
	endLife()
	helpers.Wait()
	if noted { // and nothing renews the lease any more
		t.release(ctx)
	}
	return t.fatal
}

// keepLease renews the lease while the term lasts.
func (t *term) keepLease(life context.Context) {
	err := t.lease.keep(life, func(err error) {
		t.r.said.error(time.Now(), "renew", "the outbox relay cannot renew its lease", err)
	})
	if err != nil {
		t.loseLease(err)
	}
}

// loseLease ends the work. Any goroutine may find it out.
func (t *term) loseLease(err error) {
	if t.lost.CompareAndSwap(false, true) {
		t.r.o.Logger.Warn("the outbox relay lost its lease and stopped publishing", "epoch", t.lease.Epoch, "error", err)
		t.endWork()
	}
}

func (t *term) loop(work, life context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for work.Err() == nil && t.fatal == nil {
		t.complete(work, time.Now())
		more := t.dispatch(work)
		now := time.Now()
		t.settle(life, now)
		t.spill()
		if t.fetch(work, now) || more {
			t.poll()
			continue
		}
		timer.Reset(t.idleFor(now))
		select {
		case <-t.outcomes.signal:
		case res := <-t.books.settled:
			t.onSettled(res)
		case res := <-t.pass.fetched:
			t.onFetched(res)
		case <-t.r.wake:
			t.pass.woken = true
		case <-timer.C:
		case <-work.Done():
		}
	}
}

// poll takes what has come, without waiting.
func (t *term) poll() {
	select {
	case res := <-t.books.settled:
		t.onSettled(res)
	case res := <-t.pass.fetched:
		t.onFetched(res)
	case <-t.r.wake:
		t.pass.woken = true
	default:
	}
}

// forever is how long the loop waits when it knows of nothing to come.
const forever = time.Hour

func (t *term) idleFor(now time.Time) time.Duration {
	at := t.books.dueAt()
	if t.inFlight < t.r.o.Window {
		at = sooner(at, t.queue.wakeAt())
	}
	at = sooner(at, t.fetchAt(now))
	if at.IsZero() {
		return forever
	}
	return max(at.Sub(now), 0)
}

// turn bounds how long the loop sends without looking at outcomes: a sender
// may block.
const turn = 5 * time.Millisecond

// dispatch sends what may be sent. It reports whether there is more.
func (t *term) dispatch(work context.Context) (more bool) {
	begun := time.Now()
	for now := begun; t.inFlight < t.r.o.Window; now = time.Now() {
		if now.Sub(begun) > turn {
			return true
		}
		it := t.queue.pop(now)
		if it == nil {
			return false
		}
		if !t.lease.valid(now) || work.Err() != nil {
			t.queue.unpop(it)
			return false
		}
		t.inFlight++
		t.r.sender.Send(work, &it.Message, func(err error) { t.outcomes.add(it, err) })
	}
	return false
}

// outcome is what the broker said to an event.
type outcome struct {
	it  *item
	err error
}

// outcomes collects them from the sender's goroutines.
type outcomes struct {
	signal chan struct{}
	mu     sync.Mutex
	list   []outcome
	spare  []outcome
}

func (o *outcomes) add(it *item, err error) {
	o.mu.Lock()
	o.list = append(o.list, outcome{it, err})
	first := len(o.list) == 1
	o.mu.Unlock()
	if first {
		select {
		case o.signal <- struct{}{}:
		default:
		}
	}
}

// take returns what has come. The slice is good until the call after next.
func (o *outcomes) take() []outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list, o.spare = o.spare[:0], list
	return list
}

// complete looks at the outcomes that have come.
func (t *term) complete(work context.Context, now time.Time) {
	list := t.outcomes.take()
	for _, o := range list {
		t.inFlight--
		switch {
		case o.err == nil:
			t.onSent(o.it, now)
		case errors.Is(o.err, ticketing.ErrInvalidEvent):
			t.onInvalid(o.it, now, o.err)
		case work.Err() != nil: // it may be that alone
			t.queue.unpop(o.it)
		default:
			t.onFailed(o.it, now, o.err)
		}
	}
	clear(list)
}

func (t *term) onSent(it *item, now time.Time) {
	t.lastOK = now
	t.books.send(it.Ref(), now)
	s := t.queue.sent(it, now)
	if s == nil {
		return
	}
	t.pass.woken = true // for what was skipped
	if now.Sub(s.since) > time.Second {
		t.r.o.Logger.Info("events are published again", "subject", it.Message.Subject, "after", now.Sub(s.since).Round(time.Millisecond))
	}
}

func (t *term) onInvalid(it *item, now time.Time, err error) {
	t.r.said.error(now, "park/"+string(it.Message.Subject),
		"an event is parked, and the later ones of its key wait: requeue or discard it", err,
		"subject", it.Message.Subject, "id", it.Message.ID, "key", it.Message.Key, "seq", it.Seq)
	behind := t.queue.park(it)
	t.books.park(it, err, now)
	for _, b := range behind {
		t.books.wait(b, now)
	}
}

func (t *term) onFailed(it *item, now time.Time, err error) {
	t.lastFail = now
	t.refused = errors.Is(err, ticketing.ErrNoStream) || errors.Is(err, ticketing.ErrPermission)
	if errors.Is(err, ticketing.ErrClosed) {
		t.fatal = err
	}
	s := t.queue.failed(it, now)
	t.r.said.error(now, "send/"+string(it.Message.Subject),
		"events are not published: the broker does not take them, and the relay tries on", err,
		"subject", it.Message.Subject, "id", it.Message.ID, "attempts", it.attempts, "again", time.Until(s.until).Round(time.Millisecond))
}
