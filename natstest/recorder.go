package natstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// DefaultWait bounds the waits of [Await] and [Deliver] where nothing else
// does.
const DefaultWait = 10 * time.Second

// Recorder is a broker for unit tests, in memory: a [ticketing.Sender] that
// records every publish, and a [ticketing.Receiver] that hands over what a test
// gives to [Deliver]. It does not loop publishes back to listeners, has no
// durable positions and drops no duplicates.
//
// The zero value is ready. The fields are set before first use. The methods
// may be called concurrently. A Recorder must not be copied.
type Recorder struct {
	// MaxPayload is the most bytes of an event's payload; a larger event is
	// rejected with [ticketing.ErrTooLarge], as a server does by its
	// max_payload. Headers do not count. Zero means no limit.
	MaxPayload int
	// Codec is what the helpers decode recorded events with, and encode
	// delivered ones. Default [ticketing.JSON].
	Codec ticketing.Codec

	scripting sync.Mutex // one publish at a time goes through the script

	mu       sync.Mutex
	messages []*ticketing.Message
	resets   int             // how often messages began anew
	script   []*step         // in the order it was written
	waiting  []chan struct{} // closed at the next change of anything here

	members    []*member
	gone       map[station]struct{} // where members have stopped
	deliveries uint64               // how many were asked for
	sequence   uint64               // of the last message handed over
	turn       uint64               // of the last choice among members
}

var (
	_ ticketing.Sender             = (*Recorder)(nil)
	_ ticketing.Receiver           = (*Recorder)(nil)
	_ ticketing.SubjectChecker     = (*Recorder)(nil)
	_ ticketing.CapabilityReporter = (*Recorder)(nil)
)

// Send records m and calls done before it returns, unless a script
// ([Recorder.FailNext], [Recorder.Intercept]) says otherwise. It refuses what a
// broker refuses: [ticketing.OutcomeNotSent] when ctx has ended,
// [ticketing.OutcomeRejected] with [ticketing.ErrInvalidEvent] for an invalid
// subject or header and for a payload over MaxPayload.
func (r *Recorder) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	done(r.send(ctx, m))
}

func (r *Recorder) send(ctx context.Context, m *ticketing.Message) error {
	if ctx.Err() != nil {
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, context.Cause(ctx))
	}
	if err := r.refuse(m); err != nil {
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	}
	r.mu.Lock()
	if len(r.script) > 0 {
		r.mu.Unlock()
		return r.sendScripted(m)
	}
	r.record(m)
	r.mu.Unlock()
	return nil
}

// record keeps m. The lock is held.
func (r *Recorder) record(m *ticketing.Message) {
	r.messages = append(r.messages, m)
	r.wake()
}

// Messages returns what was recorded so far, in order: the messages themselves,
// which are read-only, in a slice of the caller's own.
func (r *Recorder) Messages() []*ticketing.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Reset forgets what was recorded and what is left of the script. Listeners
// stay, and so do the fields.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.messages)
	r.messages = r.messages[:0]
	r.resets++
	r.script = nil
	r.wake()
}

// CheckSubject returns nil for every valid subject: a Recorder has a place for
// all of them. For an invalid one the error matches [ticketing.ErrNoStream]
// and [ticketing.ErrInvalidSubject].
func (r *Recorder) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ticketing.ErrNoStream, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Capabilities declares that headers arrive as they were sent, and nothing
// else: a Recorder is no store, and its listeners get what a test delivers.
func (r *Recorder) Capabilities() ticketing.Capabilities {
	return ticketing.Capabilities{Headers: true}
}

func (r *Recorder) codec() ticketing.Codec {
	if r.Codec != nil {
		return r.Codec
	}
	return ticketing.JSON
}

// changed returns a channel that is closed at the next change. Each waiter has
// its own, so that one from a synctest bubble is never left for others to
// close: the waiter calls forget. The lock is held.
func (r *Recorder) changed() chan struct{} {
	c := make(chan struct{})
	r.waiting = append(r.waiting, c)
	return c
}

// forget ends the wait on a channel of changed.
func (r *Recorder) forget(c chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, c); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
}

// wake wakes all that wait for a change. The lock is held.
func (r *Recorder) wake() {
	for _, c := range r.waiting {
		close(c)
	}
	clear(r.waiting)
	r.waiting = r.waiting[:0]
}
