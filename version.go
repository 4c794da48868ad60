package ticketing

import (
	"errors"
	"fmt"
)

// ErrApplied says that what an event reports has taken effect already. A
// [Listener] acknowledges an event whose handler returns an error that matches
// it, however that is wrapped. [NextVersion] returns such errors; a handler may
// return it by itself, for instance to end a transaction that it began in vain.
var ErrApplied = errors.New("already applied")

// NextVersion is the rule for an event that carries the version of what it is
// about. stored is the version that the handler's own copy has, incoming is the
// event's. A handler returns what it returns:
//
//	if err := ticketing.NextVersion(ticket.Version, d.Event.Version); err != nil {
//		return err
//	}
//
// It is nil when incoming is the one after stored: apply the event, and store
// incoming in the same transaction. When incoming is stored or older the error
// matches [ErrApplied], and the event is acknowledged.
//
// When incoming is newer, events are missing in between, and the error makes
// the event wait for them: that is no failed attempt. The events of its key that
// come behind it go on meanwhile, since the missing one may be among them. Each
// time one of them is done, and now and then for the sake of other processes,
// the event is tried again. After ListenerOptions.MaxWait it goes to the dead
// letters, with the versions in the reason.
//
// Where nothing is stored yet, stored is the version before the first: -1 for
// tickets, whose first version is 0.
func NextVersion(stored, incoming int) error {
	if incoming > stored && incoming-1 == stored { // neither can overflow
		return nil
	}
	return &versionError{stored, incoming}
}

// versionError is an event whose turn it is not.
type versionError struct{ stored, incoming int }

func (e *versionError) Error() string {
	if e.early() {
		return fmt.Sprintf("version %d is early: version %d is missing, and the stored version is %d", e.incoming, e.stored+1, e.stored)
	}
	return fmt.Sprintf("version %d: %v: the stored version is %d", e.incoming, ErrApplied, e.stored)
}

// early reports whether others have to come first.
func (e *versionError) early() bool { return e.incoming > e.stored }

// ErrorType is error.type in the spans and metrics of package otelwrap.
func (e *versionError) ErrorType() string { return "early" }

func (e *versionError) Is(target error) bool { return target == ErrApplied && !e.early() }
