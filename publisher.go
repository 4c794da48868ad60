package ticketing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Publisher publishes events of one type. Its methods may be called
// concurrently. It holds no connection: closing is the Sender's business.
//
// A service that publishes one event may embed a Publisher; one that publishes
// several uses named fields, or embeds aliases such as those of package
// events.
type Publisher[E Event] struct {
	publisher
}

// publisher is what a [Publisher] has that does not depend on its event's type:
// a service has this code once, and not for every event.
type publisher struct {
	sender  Sender
	subject Subject
	codec   Codec
	onError func(*Message, error)
}

// PublisherOptions configures a [Publisher]. Nil and the zero value are good.
type PublisherOptions struct {
	// Codec encodes the event. Default [JSON].
	Codec Codec
	// OnError hears of every failed PublishAsync, on any goroutine; it must
	// not block. The error is a [*PublishError]. Default: an error line to
	// Logger, without the payload.
	OnError func(m *Message, err error)
	// Logger is used where OnError is nil. Default [slog.Default].
	Logger *slog.Logger
}

// NewPublisher returns a Publisher of E over s. It panics when E is a pointer
// or an interface, when E's subject is invalid, and when s is nil: all three
// are mistakes in the program.
func NewPublisher[E Event](s Sender, opts *PublisherOptions) *Publisher[E] {
	return &Publisher[E]{newPublisher(s, opts, new(E))}
}

// newPublisher gets a pointer to a zero event.
func newPublisher(s Sender, opts *PublisherOptions, e any) publisher {
	subject := subjectOf("NewPublisher", e)
	if s == nil {
		panic(fmt.Sprintf("ticketing: NewPublisher[%v]: the sender is nil", eventType(e)))
	}
	var o PublisherOptions
	if opts != nil {
		o = *opts
	}
	if o.Codec == nil {
		o.Codec = JSON
	}
	if o.OnError == nil {
		o.OnError = logFailedPublish(o.Logger)
	}
	return publisher{sender: s, subject: subject, codec: o.Codec, onError: o.OnError}
}

func logFailedPublish(log *slog.Logger) func(*Message, error) {
	return func(m *Message, err error) {
		l := log
		if l == nil {
			l = slog.Default()
		}
		l.Error("event not published", "subject", m.Subject, "id", m.ID, "error", err)
	}
}

// Via returns a Publisher that sends the same events by another road, such as
// an outbox transaction. p is unchanged.
func (p *Publisher[E]) Via(s Sender) *Publisher[E] {
	if s == nil {
		panic(fmt.Sprintf("ticketing: Publisher[%T].Via: the sender is nil", *new(E)))
	}
	q := *p
	q.sender = s
	return &q
}

// PublishOption changes one publish.
type PublishOption func(*Message)

// WithID publishes the event under an id of the caller's instead of a new
// UUIDv7: the id of an earlier try whose outcome is unknown
// ([PublishError.ID]), or one that the caller derives. An empty id is ignored.
func WithID(id string) PublishOption {
	return func(m *Message) {
		if id != "" {
			m.ID = id
		}
	}
}

// WithHeader adds a header value. JetStream carries headers, NATS Streaming
// only in a CloudEvents envelope. A name or value that cannot stand in a header makes the publish fail
// with [ErrInvalidEvent]: see [Message.Validate].
func WithHeader(name, value string) PublishOption {
	return func(m *Message) {
		if m.Header == nil {
			m.Header = make(map[string][]string, 1)
		}
		m.Header[name] = append(m.Header[name], value)
	}
}

// Publish sends e and waits until the broker, or the transaction it goes
// through, holds it. A nil result means just that. Otherwise the error is a
// [*PublishError] that says what is known. It honours ctx in every state; when
// ctx ends after the event was handed to the connection the outcome is
// [ErrUnknown]. A ctx without a deadline is bounded by the sender's own
// timeout.
func (p *Publisher[E]) Publish(ctx context.Context, e E, opts ...PublishOption) error {
	r := &publication[E]{event: e}
	if err := p.encode(ctx, &r.msg, &r.event, opts); err != nil {
		return err
	}
	p.sender.Send(ctx, &r.msg, r.complete)
	return r.Wait(ctx)
}

// publication is a receipt with its event, which a codec makes escape, in one
// allocation.
type publication[E Event] struct {
	Receipt
	event E
}

// PublishAsync sends e without waiting for the broker: it may block for a
// place in the sender's window, never past ctx, and ctx bounds nothing else,
// so that the end of a request does not cancel its event. The [Receipt] tells
// the outcome; a failure goes to [PublisherOptions].OnError in any case.
func (p *Publisher[E]) PublishAsync(ctx context.Context, e E, opts ...PublishOption) *Receipt {
	r := &publication[E]{Receipt: Receipt{onError: p.onError}, event: e}
	if err := p.encode(ctx, &r.msg, &r.event, opts); err != nil {
		r.complete(err)
		return &r.Receipt
	}
	p.sender.Send(ctx, &r.msg, r.complete)
	return &r.Receipt
}

var (
	errNilContext = errors.New("the context is nil")
	errNoSender   = errors.New("the Publisher was not made by NewPublisher")
)

// encode fills m in from the options and the event that e points to.
func (p *publisher) encode(ctx context.Context, m *Message, e any, opts []PublishOption) error {
	m.Time = time.Now()
	for _, opt := range opts {
		opt(m)
	}
	// The caller's options set the id and headers; the rest is ours.
	m.Subject = p.subject
	if m.ID == "" {
		m.ID = newID(m.Time)
	}
	switch {
	case p.sender == nil:
		return NewPublishError(OutcomeNotSent, m, errNoSender)
	case ctx == nil:
		return NewPublishError(OutcomeNotSent, m, errNilContext)
	case ctx.Err() != nil:
		return NewPublishError(OutcomeNotSent, m, context.Cause(ctx))
	}
	if s := e.(Event).Subject(); s != p.subject {
		return invalidEvent(m, fmt.Errorf("%w: %v has subject %q, this value says %q", ErrInvalidSubject, eventType(e), p.subject, s))
	}
	data, err := p.codec.Marshal(e)
	if err != nil {
		return invalidEvent(m, fmt.Errorf("cannot encode %v: %w", eventType(e), err))
	}
	m.Data = data
	m.Key = keyOf(e)
	return nil
}

func invalidEvent(m *Message, err error) error {
	return NewPublishError(OutcomeRejected, m, fmt.Errorf("%w: %w", ErrInvalidEvent, err))
}
