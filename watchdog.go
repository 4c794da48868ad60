package ticketing

import (
	"fmt"
	"sync"
	"time"
)

// watchdog gives an event up whose handler does not come back, so that its
// heartbeats stop and another process may have it. A worker has one for all its
// jobs, and one timer, which is set again only when it fires: most jobs are
// done long before.
type watchdog struct {
	run *run

	mu      sync.Mutex
	job     *job // whose handler runs, or nil
	attempt int  // and which attempt it is
	limit   time.Time
	timer   *time.Timer
	armed   bool
}

// watch watches j until limit.
func (w *watchdog) watch(j *job, limit time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.job, w.attempt, w.limit = j, j.tried()+1, limit
	if w.armed {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Until(limit), w.fire)
	} else {
		w.timer.Reset(time.Until(limit))
	}
}

// unwatch is for a handler that has returned.
func (w *watchdog) unwatch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.job = nil
}

func (w *watchdog) fire() {
	if j, attempt := w.overdue(); j != nil {
		w.giveUp(j, attempt)
	}
}

// overdue returns the job that has reached its limit, and its attempt.
// Otherwise it sets the timer for the one that runs.
func (w *watchdog) overdue() (j *job, attempt int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if w.job == nil {
		return nil, 0
	}
	if left := time.Until(w.limit); left > 0 { // the timer was set for an earlier job
		w.armed = true
		w.timer.Reset(left)
		return nil, 0
	}
	return w.job, w.attempt
}

func (w *watchdog) giveUp(j *job, attempt int) {
	err := fmt.Errorf("the handler has not returned after twice its timeout of %v", w.run.opts.HandlerTimeout)
	if j.in.Settle(Verdict{Kind: Abandon, Err: err, Attempts: attempt}) != nil {
		return // the handler has just returned, or the message was handed back
	}
	w.run.opts.Logger.Error("event given up; it may be handled elsewhere while its handler still runs",
		"subject", w.run.sub.Subject, "group", w.run.sub.Group, "id", j.in.ID, "error", err)
	w.run.lose(j)
}

// stop ends the watchdog with its worker.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}
