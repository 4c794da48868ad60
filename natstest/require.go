package natstest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ducnguyen96/ticketing-common"
)

// Published returns the recorded events of type E, in order. A record of E's
// subject that does not decode into an E fails the test.
func Published[E ticketing.Event](t testing.TB, r *Recorder) []E {
	t.Helper()
	v, ok := look[E](t, r)
	if !ok {
		return nil
	}
	return v.events
}

// RequirePublished fails the test unless an event equal to want was published,
// and returns the first such event. opts are those of [cmp.Equal], to leave out
// what the test cannot know; an E with unexported fields needs one too.
//
// On failure it prints the nearest recorded events of the type as diffs, those
// with the fewest differences first.
func RequirePublished[E ticketing.Event](t testing.TB, r *Recorder, want E, opts ...cmp.Option) E {
	t.Helper()
	v, ok := look[E](t, r)
	if !ok {
		return *new(E)
	}
	for _, got := range v.events {
		if cmp.Equal(want, got, opts...) {
			return got
		}
	}
	if len(v.events) == 0 {
		t.Fatalf("natstest: no %s was published%s", v.subject, v.others())
	} else {
		t.Fatalf("natstest: the wanted %s was not published; nearest of %d (-want +got):%s%s",
			v.subject, len(v.events), nearest(want, v.events, opts), v.others())
	}
	return *new(E)
}

// RequireOnePublished fails the test unless exactly one event of type E was
// published, and returns it. Other types do not matter.
func RequireOnePublished[E ticketing.Event](t testing.TB, r *Recorder) E {
	t.Helper()
	v, ok := look[E](t, r)
	if !ok {
		return *new(E)
	}
	switch len(v.events) {
	case 1:
		return v.events[0]
	case 0:
		t.Fatalf("natstest: no %s was published%s", v.subject, v.others())
	default:
		t.Fatalf("natstest: %d %s were published, want one:%s", len(v.events), v.subject, v.list())
	}
	return *new(E)
}

// RequireNonePublished fails the test if an event of type E was published.
// That nothing at all was published is a [RequireSequence] of no events.
func RequireNonePublished[E ticketing.Event](t testing.TB, r *Recorder) {
	t.Helper()
	if v, ok := look[E](t, r); ok && len(v.events) > 0 {
		t.Fatalf("natstest: %d %s published, want none:%s", len(v.events), v.subject, v.list())
	}
}
