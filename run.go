package ticketing

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"
)

// run is one Listen: the lanes and their workers. Nothing in it depends on the
// event's type.
type run struct {
	sub  Subscription
	opts *ListenerOptions

	mu         sync.Mutex
	lanes      lanes
	workers    int
	lost       int // of them, to handlers that do not return
	stopped    bool
	handedBack chan struct{}  // closed when stop has handed back what it had to
	done       sync.WaitGroup // the workers
}

func newRun(s Subscription, opts *ListenerOptions) *run {
	return &run{sub: s, opts: opts, handedBack: make(chan struct{})}
}

// job is a message on its way to its settlement.
type job struct {
	in   *Inbound
	ctx  context.Context // the Receiver's: ends with the drain timeout
	task task
	lane laneKey
	next *job // behind it in its lane

	first        handlerContext // the first attempt's, here to save an allocation
	failures     int            // attempts that failed here
	wait         *waiting       // since it had to wait, if it had to
	rests        bool           // the Receiver was told that it stands in a lane in backoff
	dead         error          // why it is to be a dead letter, if it is
	deadFailures int            // how often that could not be stored
	deadCut      deadCut        // what is left out when it is
}

// task is the typed part of a job.
type task interface {
	handle(ctx context.Context, attempt int) error
}

// attempt is what the handler is told: deliveries, and attempts that failed here.
func (j *job) attempt() int { return max(j.in.Attempt, 1) + j.failures }

// tried is how many attempts have failed. A delivery is none: of most that went
// before, a crash or a stop was the end, and perhaps no handler saw them.
func (j *job) tried() int { return j.in.Failures + j.failures }

// accept takes a job over from the Receiver. It does not block.
func (r *run) accept(ctx context.Context, j *job) {
	j.ctx = ctx
	r.mu.Lock()
	if v, ok := r.refuses(j); ok {
		r.mu.Unlock()
		r.settle(j, v)
		return
	}
	if ln, ready := r.lanes.add(j); ready {
		r.startWorker()
	} else if ln.backoff != nil {
		rest(j, time.Until(ln.due))
	}
	r.mu.Unlock()
}

// refuses reports whether j can only be handed back, and how. The lock is held.
func (r *run) refuses(j *job) (Verdict, bool) {
	switch {
	case r.stopped:
		return Verdict{Kind: Retry, Err: errStopped}, true
	case r.lost == 0:
		return Verdict{}, false
	case r.lost == r.opts.Concurrency || r.lanes.isLost(j.lane):
		return Verdict{Kind: Retry, After: jitter(r.opts.MaxBackoff), Err: errLost, Attempts: j.tried()}, true
	}
	return Verdict{}, false
}

var (
	errStopped = errors.New("the listener stopped before the event was handled")
	errLost    = errors.New("a handler does not return, so the event is handed back to be handled elsewhere")
)

// startWorker starts one more worker where one is allowed. The lock is held.
func (r *run) startWorker() {
	if r.workers < r.opts.Concurrency {
		r.workers++
		r.done.Go(r.work)
	}
}

// work handles the heads of ready lanes until there is none.
func (r *run) work() {
	w := watchdog{run: r}
	var ln *lane
	defer func() {
		w.stop()
		if ln == nil {
			return
		}
		// The handler called runtime.Goexit, as t.FailNow does: the attempt
		// failed, and another worker takes this one's place.
		r.failed(ln, &PanicError{Stack: debug.Stack()})
		r.done.Go(r.work)
	}()
	for ln = r.next(); ln != nil; ln = r.next() {
		r.put(ln, r.attempt(ln.head, &w))
	}
}

// failed ends an attempt at ln's head whose handler did not return.
func (r *run) failed(ln *lane, err error) {
	r.put(ln, r.attemptFailed(ln.head, err))
}

// next returns the lane whose turn it is, or nil: then this worker is none any
// more.
func (r *run) next() *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	ln := r.lanes.take()
	if ln == nil {
		r.workers--
	}
	return ln
}

// outcome is what becomes of a lane's head after a worker had it. The zero
// value says that it is settled.
type outcome struct {
	again bool          // it is to be tried again
	after time.Duration // that long from now
	early bool          // and those behind it go first
}

// put gives a lane back after a worker had its head.
func (r *run) put(ln *lane, o outcome) {
	r.mu.Lock()
	if ln.lost {
		ln.lost = false
		r.lost--
	}
	if o.again && r.stopped { // stop came since, and left the head to its worker
		r.mu.Unlock()
		r.settle(ln.head, Verdict{Kind: Retry, After: o.after, Err: errStopped, Attempts: ln.head.tried()})
		r.mu.Lock()
		o.again = false
	}
	switch {
	case !o.again:
		r.lanes.finish(ln)
	case o.early:
		r.setAside(ln, o.after)
	default:
		r.park(ln, o.after)
	}
	r.mu.Unlock()
}

// park lets ln wait without a worker. The lock is held.
func (r *run) park(ln *lane, d time.Duration) {
	ln.running = false
	ln.due = time.Now().Add(d)
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if ln.backoff != t {
			return // its jobs were handed back
		}
		ln.backoff = nil
		r.lanes.ready(ln)
		r.startWorker()
	})
	ln.backoff = t
	for j := ln.head.next; j != nil; j = j.next {
		rest(j, d)
	}
}

// rest tells the Receiver that j is nobody's work for a while, since it stands
// behind a head that is not, so that others come in meanwhile.
func rest(j *job, d time.Duration) {
	if !j.rests {
		j.rests = true
		j.in.Retain(Verdict{Kind: Retry, After: d})
	}
}

// setAside lets the head of ln wait while those behind it go on. The lock is
// held.
func (r *run) setAside(ln *lane, d time.Duration) {
	j := ln.head
	j.wait.due = time.Now().Add(d)
	j.wait.timer = time.AfterFunc(d, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.lanes.comeBack(j) {
			r.startWorker()
		}
	})
	r.lanes.setAside(ln)
}

// stop hands back all that no handler has started. What a handler works on is
// settled when it returns. Each call returns when that is done.
func (r *run) stop() {
	defer func() { <-r.handedBack }()
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		return
	}
	defer close(r.handedBack)
	r.stopped = true
	var left handBack
	r.lanes.drain(left.add)
	r.mu.Unlock()
	for _, j := range left {
		r.settle(j.job, Verdict{Kind: Retry, After: j.wait, Err: errStopped, Attempts: j.tried()})
	}
}

// handBack is a list of jobs that are handed back, with the wait that is left.
type handBack []struct {
	*job
	wait time.Duration
}

func (l *handBack) add(j *job, wait time.Duration) {
	*l = append(*l, struct {
		*job
		wait time.Duration
	}{j, wait})
}

// lose hands back what stands behind j, whose handler does not return: here it
// would be kept from the other processes for ever. If that was the last worker
// it hands back everything.
func (r *run) lose(j *job) {
	var left handBack
	r.mu.Lock()
	if ln := r.lanes.byKey[j.lane]; ln != nil && ln.running && ln.head == j { // it has not returned since
		ln.lost = true
		if r.lost++; r.lost == r.opts.Concurrency {
			r.lanes.drain(left.add)
		} else {
			ln.drain(left.add)
		}
	}
	r.mu.Unlock()
	for _, j := range left {
		r.settle(j.job, Verdict{Kind: Retry, After: max(j.wait, jitter(r.opts.MaxBackoff)), Err: errLost, Attempts: j.tried()})
	}
}

func (r *run) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// handlerGrace is what a handler gets to return in once its ctx has ended for
// the shutdown.
const handlerGrace = time.Second

// wait waits for the workers. A handler that does not heed its ctx is left
// behind: its message was handed back.
func (r *run) wait() {
	done := make(chan struct{})
	go func() {
		r.done.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(handlerGrace):
		r.opts.Logger.Error("handlers still running after shutdown; their events were handed back",
			"subject", r.sub.Subject, "group", r.sub.Group)
	}
}

// settle tells the Receiver. An error means that the message comes again,
// which the log should explain.
func (r *run) settle(j *job, v Verdict) {
	err := j.in.Settle(v)
	if err == nil || errors.Is(err, ErrSettled) && r.isStopped() {
		return
	}
	r.opts.Logger.Warn("event may come again: its settlement did not reach the broker",
		"subject", r.sub.Subject, "group", r.sub.Group, "id", j.in.ID, "verdict", v.Kind.String(), "error", err)
}
