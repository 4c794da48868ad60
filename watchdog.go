package ticketing

import (
	"fmt"
	"sync"
	"time"
)

// watchdog gives an event up whose handler does not come back, so that its
// heartbeats stop and another process may have it. A worker has one, and uses
// its timer for each of its jobs.
type watchdog struct {
	run   *run
	timer *time.Timer

	mu    sync.Mutex
	job   *job // whose handler runs, or nil
	limit time.Time
}

// watch watches j from now on for at most d, or nothing if j is nil.
func (w *watchdog) watch(j *job, d time.Duration) {
	w.mu.Lock()
	w.job, w.limit = j, time.Now().Add(d)
	w.mu.Unlock()
	switch {
	case j == nil:
		w.timer.Stop()
	case w.timer == nil:
		w.timer = time.AfterFunc(d, w.fire)
	default:
		w.timer.Reset(d)
	}
}

func (w *watchdog) fire() {
	w.mu.Lock()
	j := w.job
	if j == nil || time.Now().Before(w.limit) {
		w.mu.Unlock()
		return // it fired for an earlier job
	}
	w.mu.Unlock()
	err := fmt.Errorf("the handler has not returned after twice its timeout of %v", w.run.opts.HandlerTimeout)
	if j.in.Settle(Verdict{Kind: Abandon, Err: err}) != nil {
		return // the handler has just returned, or the message was handed back
	}
	w.run.opts.Logger.Error("event given up; it may be handled elsewhere while its handler still runs",
		"subject", w.run.sub.Subject, "group", w.run.sub.Group, "id", j.in.ID, "error", err)
}

// stop ends the watchdog with its worker.
func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
