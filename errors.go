package ticketing

import (
	"errors"
	"fmt"
	"time"
)

// Outcome is what is known about a publish that failed. A caller tests for one
// with [errors.Is] and the sentinel of the same name.
type Outcome uint8

const (
	// OutcomeUnknown: the event may be stored. Publishing it again with the
	// same id ([WithID]) cannot make it two where the broker deduplicates.
	OutcomeUnknown Outcome = iota
	// OutcomeNotSent: the event is surely not stored. Try again.
	OutcomeNotSent
	// OutcomeRejected: the event is not stored, and will not be as things are.
	OutcomeRejected
	// OutcomeBusy: the event is not stored, because the stream or the window
	// of unacknowledged publishes is full. Try again later.
	OutcomeBusy
)

// The outcomes as targets for [errors.Is]. Every error of a publish matches
// exactly one of them.
var (
	ErrUnknown  = errors.New("outcome unknown: the event may be stored")
	ErrNotSent  = errors.New("not sent")
	ErrRejected = errors.New("rejected")
	ErrBusy     = errors.New("busy")
)

// Why a publish failed, where a caller may want to branch on it. They stand
// behind an outcome, in the chain of a [PublishError].
var (
	// ErrInvalidEvent is the event's own fault: its subject, its size, its
	// headers or its encoding. No other event is affected. With [ErrRejected].
	ErrInvalidEvent = errors.New("invalid event")
	// ErrTooLarge: the encoded event is over the server's max_payload. It
	// comes with [ErrInvalidEvent].
	ErrTooLarge = errors.New("event too large")
	// ErrNoStream: no JetStream stream stores the subject. With [ErrRejected].
	ErrNoStream = errors.New("no stream stores this subject")
	// ErrPermission: the server does not allow this. With [ErrRejected].
	ErrPermission = errors.New("permission denied")
	// ErrNotConnected: there is no connection now. With [ErrNotSent].
	ErrNotConnected = errors.New("not connected")
	// ErrClosed: the connection was closed for good. With [ErrNotSent].
	ErrClosed = errors.New("connection closed")
	// ErrTransaction: the transaction that the event was to be a part of does
	// not take it, because of an error of the database. It is to be rolled back,
	// and begun anew. With [ErrNotSent].
	ErrTransaction = errors.New("transaction failed")
)

// Errors of a declaration: what was asked for cannot be.
var (
	// ErrInvalidSubject is what [Subject.Validate] reports.
	ErrInvalidSubject = errors.New("invalid subject")
	// ErrInvalidGroup is what [Subscription.Validate] reports of a group.
	ErrInvalidGroup = errors.New("invalid group")
	// ErrNoDeadLetters: a [Listener] has no place for dead letters.
	ErrNoDeadLetters = errors.New("no place for dead letters")
	// ErrSettled: a message was settled before, or was given back to the
	// broker meanwhile.
	ErrSettled = errors.New("message already settled")
)

// PublishError is the error of a failed publish. [errors.As] gets at it;
// [errors.Is] tests it for an outcome and for the reason behind.
type PublishError struct {
	Outcome Outcome
	Subject Subject
	ID      string // the event's id, to publish the same event again with [WithID]
	Err     error  // why
}

// NewPublishError is for a [Sender]: m's publish ended in o because of err.
func NewPublishError(o Outcome, m *Message, err error) *PublishError {
	return &PublishError{Outcome: o, Subject: m.Subject, ID: m.ID, Err: err}
}

// Error names the subject, the id, the outcome and the reason.
func (e *PublishError) Error() string {
	return fmt.Sprintf("ticketing: publish %s (id %s): %v: %v", e.Subject, e.ID, e.Outcome.err(), e.Err)
}

// Unwrap returns the reason.
func (e *PublishError) Unwrap() error { return e.Err }

// Is reports whether target is the sentinel of e's outcome.
func (e *PublishError) Is(target error) bool { return target == e.Outcome.err() }

// String returns the outcome in a word or two: "not sent".
func (o Outcome) String() string {
	if o == OutcomeUnknown {
		return "unknown"
	}
	return o.err().Error()
}

func (o Outcome) err() error {
	switch o {
	case OutcomeNotSent:
		return ErrNotSent
	case OutcomeRejected:
		return ErrRejected
	case OutcomeBusy:
		return ErrBusy
	default:
		return ErrUnknown
	}
}

// Permanent wraps a handler's error to say that another attempt cannot help:
// the event goes to the dead letters at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return "permanent: " + e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// RetryAfter wraps a handler's error to say when the next attempt is due,
// instead of the listener's backoff. It counts as an attempt, unless err says
// that the event has to wait ([Wait], [NextVersion]). A negative d is zero.
// RetryAfter(d, nil) is nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{max(d, 0), err}
}

type retryAfterError struct {
	after time.Duration
	err   error
}

func (e *retryAfterError) Error() string { return fmt.Sprintf("retry after %v: %v", e.after, e.err) }
func (e *retryAfterError) Unwrap() error { return e.err }

// Wait wraps a handler's error to say that the event's time has not come, such
// as an order for a ticket that is not known yet. It is tried again with the
// listener's backoff, and that is not an attempt: it may wait for as long as
// [ListenerOptions].MaxWait before it goes to the dead letters. The later events
// of its key wait behind it; where it may be one of those that it waits for, see
// [NextVersion]. Wait(nil) is nil.
func Wait(err error) error {
	if err == nil {
		return nil
	}
	return &waitError{err}
}

type waitError struct{ err error }

func (e *waitError) Error() string { return "wait: " + e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

// ErrorType is error.type in the spans and metrics of package otelwrap.
func (e *waitError) ErrorType() string { return "wait" }

// PanicError is what a handler's panic becomes: a failed attempt.
type PanicError struct {
	Value any    // what was passed to panic; nil for runtime.Goexit
	Stack []byte // the handler's stack
}

// Error tells the value, not the stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "handler called runtime.Goexit"
	}
	return fmt.Sprintf("handler panicked: %v", e.Value)
}

// Unwrap returns the value where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
