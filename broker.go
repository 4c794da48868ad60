package ticketing

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// A Sender stores messages somewhere: at a broker, in an outbox transaction,
// in a test's recorder. Package brokertest holds an implementation to what is
// written here.
//
// Blocking: Send may block for a place in its window of unacknowledged
// messages, for its transaction, and once per subject to learn whether a
// stream stores it; never past ctx. It does not wait for the acknowledgement.
// Once the message is admitted ctx has no effect any more: the outcome is
// bounded by the sender's own timeout.
//
// Completion: done is called exactly once, on any goroutine, perhaps before
// Send returns, and must not block. done(nil) means that the broker, or the
// transaction, holds m. Any error is a [*PublishError] that says what is
// known; one that is not counts as [OutcomeUnknown].
//
// Order: messages are stored in the order of the calls, as far as the calls
// have one. Concurrent calls are allowed. One that gets lost with its connection
// and is written again may come behind those that got through: where that
// matters, the next call of a key waits for the last one's done.
//
// Retention: m is read-only from the call on, and the sender may keep it.
//
// Errors: a message that can never be stored ([Message.Validate], the server's
// limit of size) is refused before it is sent, as [OutcomeRejected] with
// [ErrInvalidEvent]; a ctx that has ended before the
// call is [OutcomeNotSent] with the ctx's error, and one that ends while the call
// waits for a place in the window is [OutcomeBusy] with it.
type Sender interface {
	Send(ctx context.Context, m *Message, done func(error))
}

// SendFunc is a [Sender] that works synchronously: an outbox transaction, a
// fake. Its result is passed on as it is.
type SendFunc func(ctx context.Context, m *Message) error

// Send calls f, then done.
func (f SendFunc) Send(ctx context.Context, m *Message, done func(error)) { done(f(ctx, m)) }

// A SubjectChecker is a [Sender] that can tell beforehand whether it has a
// place for a subject.
type SubjectChecker interface {
	// CheckSubject returns nil when a message of that subject would be
	// stored, an error that matches [ErrNoStream] when it surely would not,
	// and any other error when it could not find out. It may ask the server,
	// and honours ctx.
	CheckSubject(ctx context.Context, s Subject) error
}

// A Receiver hands over the messages of a subscription. It owns the wire:
// intake, window, heartbeats, acknowledgements, redelivery, drain. Package
// brokertest holds an implementation to what is written here.
//
// Receive subscribes and blocks until ctx ends, then returns nil; or until it
// can no longer receive, then it returns why. It never ends in silence. A
// subscription that does not validate is refused at once. Several Receives may
// run at the same time; those with the same subject and group share the
// messages.
//
// Handing over: handle is called for one message at a time, in the broker's
// order. It takes the message over and returns; while it blocks nothing more
// comes in. Every message handed over is settled once ([Inbound.Settle]), from
// any goroutine, before or after handle returned.
//
// Window: at most Subscription.Window messages are unsettled at any time, the
// client's buffers included.
//
// Keeping alive: an unsettled message is the Receiver's to keep: it is not
// given to another process while this one holds it, where the broker can be
// told (JetStream), and a redelivery of what is still held is absorbed (all
// brokers).
//
// Stopping: when ctx ends, intake stops, and what still arrives is handed
// back. The ctx passed to handle outlives Receive's, for at most
// Subscription.DrainTimeout, while the messages that are held get settled.
// Then it is cancelled, the rest is handed back, acknowledgements are flushed,
// and Receive returns. The same happens before Receive returns an error.
type Receiver interface {
	Receive(ctx context.Context, s Subscription, handle func(context.Context, *Inbound)) error
}

// Subscription says what a [Receiver] receives. The zero value of every field
// but Subject and Group has a default.
type Subscription struct {
	// Subject is one subject, without wildcards.
	Subject Subject
	// Group shares the messages among its members, and names the durable
	// position: a member that comes back goes on where the group was. A new
	// group starts at the first message stored. Groups know nothing of each
	// other, and one group on two subjects gets each on its own.
	Group string
	// AckWait is how long the broker waits for a settlement before it
	// delivers again. Default 5 s, as the Node base listener. NATS Streaming
	// counts in whole seconds; less than one is one.
	AckWait time.Duration
	// Window is the most unsettled messages held. Zero leaves it to the
	// Receiver: at least twice the Concurrency, and where the broker can be
	// asked for more or less while it runs (JetStream), about what is settled
	// in a second.
	Window int
	// Concurrency is how many messages are worked on at once: a hint for the
	// window. Default 1.
	Concurrency int
	// DrainTimeout bounds what happens after ctx ended. Default 10 s.
	DrainTimeout time.Duration
}

// Defaults of a [Subscription].
const (
	DefaultAckWait      = 5 * time.Second
	DefaultDrainTimeout = 10 * time.Second
)

// MaxGroupLen is the longest group name, in bytes.
const MaxGroupLen = 64

// Validate reports why the subscription cannot be made, or nil. A group is
// one to [MaxGroupLen] of A-Z, a-z, 0-9, '_' and '-' (NATS Streaming refuses
// others in a durable name, JetStream in a consumer's); the error matches
// [ErrInvalidGroup], or [ErrInvalidSubject].
func (s Subscription) Validate() error {
	if err := s.Subject.Validate(); err != nil {
		return err
	}
	if s.AckWait < 0 || s.Window < 0 || s.Concurrency < 0 || s.DrainTimeout < 0 {
		return fmt.Errorf("subscription of %s: AckWait, Window, Concurrency and DrainTimeout cannot be negative", s.Subject)
	}
	switch {
	case s.Group == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidGroup)
	case len(s.Group) > MaxGroupLen:
		return fmt.Errorf("%w %q…: it has %d bytes, at most %d are allowed", ErrInvalidGroup, s.Group[:MaxGroupLen], len(s.Group), MaxGroupLen)
	}
	for _, r := range s.Group {
		if r == ':' || r == '.' || runeRule(r) != "" {
			return fmt.Errorf("%w %q: %q is not a letter, digit, '_' or '-'", ErrInvalidGroup, s.Group, r)
		}
	}
	return nil
}

// WithDefaults returns s with its zero fields but Window filled in. It is for
// Receivers.
func (s Subscription) WithDefaults() Subscription {
	if s.AckWait == 0 {
		s.AckWait = DefaultAckWait
	}
	if s.Concurrency == 0 {
		s.Concurrency = 1
	}
	if s.DrainTimeout == 0 {
		s.DrainTimeout = DefaultDrainTimeout
	}
	return s
}

// Inbound is a message that a [Receiver] handed over, with the right and the
// duty to settle it once.
type Inbound struct {
	Message
	// Sequence is the message's position in the stream or channel.
	Sequence uint64
	// Attempt is how often the broker delivered the message, from 1. A broker
	// that keeps no count across its restart begins again.
	Attempt int
	// Failures is how many of the deliveries before ended with a failed attempt,
	// where the Receiver knows. No count of deliveries tells: a process may end
	// before it calls a handler.
	Failures int

	settler Settler
	settled atomic.Bool
}

// Settler is the [Receiver]'s side of [Inbound.Settle]. It is called once per
// message, from any goroutine.
type Settler interface {
	// SettleInbound carries the verdict out, without waiting for the network.
	// It returns [ErrSettled] when the message was given back meanwhile, and
	// another error when the verdict could not be told to the broker: then
	// the message comes again.
	SettleInbound(in *Inbound, v Verdict) error
}

// A Retainer is a [Settler] that wants to be asked before a message is kept
// for another attempt in this process, or behind one of its key that is. A
// recorder does, to report the failed attempt to the test; a window that follows
// the handlers does, because what is kept is nobody's work meanwhile. One that is
// not asked agrees.
type Retainer interface {
	// RetainInbound reports whether the message may be kept for an attempt
	// after v.After, or later. If not, it counts as settled. v.Err is why; nil
	// says that the message itself was not tried. It must not block, nor settle
	// any message.
	RetainInbound(in *Inbound, v Verdict) bool
}

// Bind is for Receivers: it says who settles in, before in is handed over.
// An Inbound without a settler, as a handler's test may make one, can be
// settled to no effect.
func (in *Inbound) Bind(s Settler) { in.settler = s }

// Settle tells the Receiver what became of the message. It does not block,
// may be called from any goroutine, and works once: after that, and after the
// message was handed back by a stop, it returns [ErrSettled]. Any other error
// says that the broker could not be told, so that the message comes again.
func (in *Inbound) Settle(v Verdict) error {
	if !in.settled.CompareAndSwap(false, true) {
		return ErrSettled
	}
	if in.settler == nil {
		return nil
	}
	return in.settler.SettleInbound(in, v)
}

// Retain asks to keep the message unsettled for an attempt in this process,
// v.After from now, or later. If it returns false the message is settled.
func (in *Inbound) Retain(v Verdict) bool {
	if r, ok := in.settler.(Retainer); ok && !r.RetainInbound(in, v) {
		in.settled.Store(true)
		return false
	}
	return true
}

// Verdict is what became of a message.
type Verdict struct {
	Kind VerdictKind
	// After is how long a Retry should wait. NATS Streaming has no negative
	// acknowledgement: there the message comes again after the ack wait.
	After time.Duration
	// Err is why, for whoever watches: with an Ack it is nil, or matches
	// [ErrApplied].
	Err error
	// Attempts is how often the message was tried until now, the last attempt
	// included, as far as this process knows: for whoever watches. It is zero
	// where no handler has seen the message.
	Attempts int
}

// VerdictKind is one of the four ways in which a message is settled.
type VerdictKind uint8

const (
	// Ack: the message is done. It does not come again.
	Ack VerdictKind = iota + 1
	// Retry: the message is handed back. It comes again, to any member of the
	// group.
	Retry
	// Drop: the message is a dead letter that is stored elsewhere. It does
	// not come again.
	Drop
	// Abandon: nothing more is done for the message. Its heartbeats stop, and
	// it comes again after the ack wait.
	Abandon
)

// String returns the kind's name in lower case.
func (k VerdictKind) String() string {
	switch k {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case Drop:
		return "drop"
	case Abandon:
		return "abandon"
	default:
		return fmt.Sprintf("VerdictKind(%d)", uint8(k))
	}
}

// Capabilities is what a broker can do beyond the contract's common ground.
// The conformance suite tests what is declared and prints what is not.
type Capabilities struct {
	Groups    bool // members of a group share its messages
	Durable   bool // a group's position outlives its members
	Fetch     bool // Receive gets what Send stored; a recorder only what a test delivers
	Dedupe    bool // a message sent twice with one dedupe id is stored once
	Headers   bool // ID and Header arrive as they were sent
	HandBack  bool // a Retry comes again after its delay; otherwise after the ack wait
	KeepAlive bool // a held message is not given to another member, however long it is held
	Attempts  bool // Inbound.Attempt counts deliveries; otherwise only first or again
}

// A CapabilityReporter is a [Sender] and [Receiver] that declares what it can
// do.
type CapabilityReporter interface {
	Capabilities() Capabilities
}
