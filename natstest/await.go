package natstest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
)

// Await waits until an event of type E is recorded that match accepts, and
// returns the first such event. What is recorded already counts. A nil match
// accepts any.
//
// It is for code that publishes from a goroutine of its own, and is woken by
// the publish. When ctx ends, or after [DefaultWait] if it has no deadline, the
// test fails with what was recorded instead.
func Await[E ticketing.Event](ctx context.Context, t testing.TB, r *Recorder, match func(E) bool) E {
	t.Helper()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, DefaultWait, fmt.Errorf("waited %v", DefaultWait))
		defer cancel()
	}
	got, err := await(ctx, r, match)
	if err != nil {
		t.Fatalf("natstest: Await: %v", err)
	}
	return got
}

func await[E ticketing.Event](ctx context.Context, r *Recorder, match func(E) bool) (e E, err error) {
	seen := view[E]{resets: -1}
	if seen.subject, err = subjectOf[E](); err != nil {
		return e, err
	}
	for {
		e, ok, err := awaitMore(ctx, r, &seen, match)
		if ok || err != nil {
			return e, err
		}
	}
}

// awaitMore looks through what was recorded since it was seen. If there is no
// match it waits for a change.
func awaitMore[E ticketing.Event](ctx context.Context, r *Recorder, seen *view[E], match func(E) bool) (e E, ok bool, err error) {
	r.mu.Lock()
	if seen.resets != r.resets {
		*seen = view[E]{subject: seen.subject, resets: r.resets}
	}
	fresh := slices.Clone(r.messages[len(seen.all):])
	changed := r.changed()
	r.mu.Unlock()
	defer r.forget(changed)

	old := len(seen.events)
	if err := seen.add(r.codec(), fresh); err != nil {
		return e, false, err
	}
	for _, e := range seen.events[old:] {
		if match == nil || match(e) {
			return e, true, nil
		}
	}
	if ctx.Err() != nil {
		return e, false, fmt.Errorf("no such %s: %w%s", seen.subject, context.Cause(ctx), seen.instead())
	}
	select {
	case <-changed:
	case <-ctx.Done(): // the next look is the last
	}
	return e, false, nil
}
