package ticketing

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// waiting is what a job has that had to wait.
type waiting struct {
	since   time.Time // when it began to
	version int       // with which it was early
	aside   bool      // it is among the early ones of its lane
	timer   *time.Timer
	due     time.Time // when timer ends that
}

// mustWait reports whether a handler's error says that it is too early.
func mustWait(err error) bool {
	var w *waitError
	var v *versionError
	return errors.As(err, &w) || errors.As(err, &v)
}

// postpone lets j wait, which is no attempt. The pause grows with the time that
// j has waited: it may be tried in between, when one of its lane is done, and
// that is not to count.
func (r *run) postpone(j *job, err error) outcome {
	now, level := time.Now(), slog.LevelDebug
	if j.wait == nil {
		j.wait, level = &waiting{since: now}, slog.LevelInfo
	}
	waited := now.Sub(j.wait.since)
	after := chosen(err, jitter(min(max(waited, r.opts.MinBackoff), r.opts.MaxBackoff)))
	if limit := r.opts.MaxWait; limit > 0 {
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
