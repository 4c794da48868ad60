package ticketing

import (
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// attempt works on j once, and reports whether it has to be tried again and
// after how long. Otherwise j is settled.
func (r *run) attempt(j *job, w *watchdog) (again bool, after time.Duration) {
	if j.dead != nil {
		return r.bury(j)
	}
	if err := r.call(j, w); err != nil {
		return r.attemptFailed(j, err)
	}
	r.settle(j, Verdict{Kind: Ack})
	return false, 0
}

// call runs the handler, with its timeout, and makes a panic an error.
func (r *run) call(j *job, w *watchdog) (err error) {
	ctx := j.ctx
	if timeout := r.opts.HandlerTimeout; timeout > 0 {
		now := time.Now()
		c := &j.first
		if c.parent != nil { // a handler may have kept that of an earlier attempt
			c = new(handlerContext)
		}
		c.parent, c.deadline = ctx, now.Add(timeout)
		ctx = c
		defer c.cancel()
		w.watch(j, now.Add(2*timeout))
		defer w.unwatch()
	}
	defer recoverAs(&err)
	return j.task.handle(ctx, j.attempt())
}

// recoverAs makes a panic of the function that defers it a [*PanicError].
func recoverAs(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// attemptFailed decides what becomes of j after err.
func (r *run) attemptFailed(j *job, err error) (again bool, after time.Duration) {
	if j.in.settled.Load() {
		return false, 0 // the watchdog gave it up, and said so
	}
	attempt := j.attempt()
	j.failures++
	var permanent *permanentError
	if errors.As(err, &permanent) || attempt >= r.opts.MaxAttempts {
		j.dead = err
		return r.bury(j)
	}
	var chosen *retryAfterError
	if errors.As(err, &chosen) {
		after = chosen.after
	} else {
		after = r.backoff(attempt)
	}
	args := []any{"subject", r.sub.Subject, "group", r.sub.Group, "id", j.in.ID, "attempt", attempt, "retry_after", after, "error", err}
	var p *PanicError
	if errors.As(err, &p) {
		args = append(args, "stack", string(p.Stack))
	}
	r.opts.Logger.Warn("event not handled", args...)
	return r.retry(j, Verdict{Kind: Retry, After: after, Err: err})
}

// retry keeps j for another attempt, or hands it back where it cannot be kept.
func (r *run) retry(j *job, v Verdict) (again bool, after time.Duration) {
	if r.isStopped() {
		r.settle(j, v)
		return false, 0
	}
	if !j.in.Retain(v) {
		return false, 0
	}
	return true, v.After
}

// backoff is the wait after the given number of failed attempts: doubled each
// time, with 20 % jitter either way.
func (r *run) backoff(failed int) time.Duration {
	d := r.opts.MaxBackoff
	if shift := failed - 1; shift < 32 && r.opts.MinBackoff<<shift < d && r.opts.MinBackoff<<shift > 0 {
		d = r.opts.MinBackoff << shift
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
