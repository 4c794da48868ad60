package ticketing

import (
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// attempt works on j once.
func (r *run) attempt(j *job, w *watchdog) outcome {
	if j.in.settled.Load() {
		return outcome{} // the Receiver took it back while it stood in its lane
	}
	if j.dead != nil {
		return r.bury(j)
	}
	if err := r.call(j, w); err != nil {
		return r.attemptFailed(j, err)
	}
	r.settle(j, Verdict{Kind: Ack, Attempts: j.tried() + 1})
	return outcome{}
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
func (r *run) attemptFailed(j *job, err error) outcome {
	if j.in.settled.Load() {
		return outcome{} // the watchdog gave it up, and said so
	}
	if errors.Is(err, ErrApplied) {
		r.settle(j, Verdict{Kind: Ack, Err: err, Attempts: j.tried() + 1})
		return outcome{}
	}
	var permanent *permanentError
	hopeless := errors.As(err, &permanent)
	if reason := reasonToWait(err); reason != failed && !hopeless {
		return r.postpone(j, reason, err)
	}
	j.failures++
	attempt := j.tried()
	if hopeless || attempt >= r.opts.MaxAttempts {
		j.dead = err
		return r.bury(j)
	}
	after := chosen(err, r.backoff(attempt))
	args := []any{"subject", r.sub.Subject, "group", r.sub.Group, "id", j.in.ID, "attempt", attempt, "retry_after", after, "error", err}
	var p *PanicError
	if errors.As(err, &p) {
		args = append(args, "stack", string(p.Stack))
	}
	r.opts.Logger.Warn("event not handled", args...)
	return r.keep(j, Verdict{Kind: Retry, After: after, Err: err})
}

// chosen is how long the handler wants to wait after err, or d.
func chosen(err error, d time.Duration) time.Duration {
	var after *retryAfterError
	if errors.As(err, &after) {
		return after.after
	}
	return d
}

// keep keeps j for another try, or hands it back where it cannot be kept.
func (r *run) keep(j *job, v Verdict) outcome {
	v.Attempts = j.tried()
	if r.isStopped() {
		r.settle(j, v)
		return outcome{}
	}
	return outcome{again: j.in.Retain(v), after: v.After}
}

// backoff is the wait after the given number of failed attempts: doubled each
// time, with 20 % jitter either way.
func (r *run) backoff(failed int) time.Duration {
	d := r.opts.MaxBackoff
	if shift := failed - 1; shift < 32 && r.opts.MinBackoff<<shift < d && r.opts.MinBackoff<<shift > 0 {
		d = r.opts.MinBackoff << shift
	}
	return jitter(d)
}

// jitter is d with up to 20 % more or less.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
