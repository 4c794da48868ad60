package ticketing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// waiting is what a job has that had to wait.
type waiting struct {
	reason  waitReason
	since   time.Time // when it began to, for that reason
	version int       // with which it was early
	aside   bool      // it is among the early ones of its lane
	timer   *time.Timer
	due     time.Time // when timer ends that
}

// waitReason is why a handler's error is no failed attempt.
type waitReason uint8

const (
	failed    waitReason = iota // it is one
	tooEarly                    // something else has to come first
	notStored                   // what the handler published has no place now
)

// reasonToWait tells a handler's error that says nothing about the event. A
// publish that its ctx ended while there was a connection is no such error: it
// is the handler that takes too long. Neither is an error of the handler's own
// database, whatever statement it comes from.
func reasonToWait(err error) waitReason {
	var w *waitError
	var v *versionError
	switch {
	case errors.As(err, &w), errors.As(err, &v):
		return tooEarly
	case errors.Is(err, ErrBusy):
		return notStored
	case !errors.Is(err, ErrNotSent):
		return failed
	case errors.Is(err, ErrTransaction):
		return failed
	case errors.Is(err, ErrNotConnected):
		return notStored
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failed
	}
	return notStored
}

// postpone lets j wait, which is no attempt. The pause grows with the time that
// j has waited: it may be tried in between, when one of its lane is done, and
// that is not to count.
func (r *run) postpone(j *job, reason waitReason, err error) outcome {
	now, level := time.Now(), slog.LevelDebug
	if j.wait == nil || j.wait.reason != reason {
		j.wait, level = &waiting{reason: reason, since: now}, slog.LevelInfo
	}
	waited := now.Sub(j.wait.since)
	after := chosen(err, jitter(min(max(waited, r.opts.MinBackoff), r.opts.MaxBackoff)))
	if reason == notStored {
		level = slog.LevelWarn
	} else if limit := r.opts.MaxWait; limit > 0 {
		if waited >= limit {
			j.failures++
			j.dead = fmt.Errorf("waited for %v: %w", waited.Round(time.Millisecond), err)
			return r.bury(j)
		}
		after = min(after, limit-waited)
	}
	r.opts.Logger.Log(j.ctx, level, "event waits", "subject", r.sub.Subject, "group", r.sub.Group, "id", j.in.ID,
		"waited", waited, "retry_after", after, "error", err)
	o := r.keep(j, Verdict{Kind: Retry, After: after, Err: err})
	var v *versionError
	if errors.As(err, &v) {
		j.wait.version, o.early = v.incoming, true
	}
	return o
}
