package deadletter

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Store is where a broker keeps dead letters. The methods may be called
// concurrently, by any number of processes, while listeners add to it.
type Store interface {
	// List yields what matches f, in the order in which it was stored on each
	// subject, up to what is there when it begins. It reads as it goes. An
	// error ends it.
	List(ctx context.Context, f Filter) iter.Seq2[*Letter, error]
	// Get returns one dead letter. The error matches [ErrNotFound] where
	// there is none of that name, or not any more.
	Get(ctx context.Context, r Ref) (*Letter, error)
	// Replay hands the event to the listeners of its group again, and takes
	// the dead letter off when that is confirmed. After an error it may be
	// called again. The error is a [ticketing.PublishError] where the publish
	// failed, and matches [ErrCut] where the payload is not there any more.
	Replay(ctx context.Context, l *Letter) error
	// Discard takes a dead letter off for good. The error matches
	// [ErrNotFound] where it is gone already.
	Discard(ctx context.Context, r Ref) error
}

// Errors of a [Store].
var (
	ErrNotFound = errors.New("no such dead letter: it was replayed or discarded, or the broker's limits removed it")
	ErrCut      = errors.New("the dead letter has a part of the payload only, and the whole event is not stored any more")
	// ErrGroupNeeded: NATS Streaming cannot tell which groups have dead
	// letters.
	ErrGroupNeeded = errors.New("NATS Streaming does not list its channels: name the group")
)

// Filter says which dead letters. The zero value is all of them.
type Filter struct {
	Group   string            // whose, or all
	Subject ticketing.Subject // where the event was published, or anywhere
	// Since and Until bound when the dead letter was stored: not before
	// Since, and before Until.
	Since, Until time.Time
	// Reason is a part of the reason, in upper or lower case.
	Reason string
}

// Validate reports what is wrong with the group or the subject, or nil.
func (f Filter) Validate() error {
	s := ticketing.Subscription{Group: f.Group, Subject: f.Subject}
	if s.Group == "" {
		s.Group = "all"
	}
	if s.Subject == "" {
		s.Subject = "all"
	}
	return s.Validate()
}

// Match reports whether l is among what f asks for.
func (f Filter) Match(l *Letter) bool {
	switch {
	case f.Group != "" && l.Group != f.Group,
		f.Subject != "" && l.Subject != f.Subject,
		l.Died.Before(f.Since),
		!f.Until.IsZero() && !l.Died.Before(f.Until):
		return false
	}
	return strings.Contains(strings.ToLower(l.Reason), strings.ToLower(f.Reason))
}
