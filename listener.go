package ticketing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Handler handles one delivery of an event. Nil means done: the message is
// acknowledged, and not before. An error, a panic or a timeout leads to
// another attempt after a backoff, or to the dead letters: at once for an
// error wrapped with [Permanent], otherwise after MaxAttempts. [RetryAfter]
// chooses the pause.
//
// Some errors are no failed attempt. An event whose time has not come waits: see
// [NextVersion] and [Wait]. So does one whose handler could not publish because
// the broker is away or full ([ErrNotSent], [ErrBusy]), for as long as that
// lasts. One that has taken effect before ([ErrApplied]) is acknowledged.
//
// ctx ends at the handler's timeout, and at a shutdown that has lasted its
// whole bound. Handlers of different keys run at the same time as far as
// Concurrency allows.
type Handler[E Event] func(ctx context.Context, d *Delivery[E]) error

// Delivery is an event as it arrived.
type Delivery[E Event] struct {
	Event E
	// ID identifies the event across all its deliveries: see [Message].ID.
	ID string
	// Attempt is 1 at the first attempt: the broker's deliveries, and the
	// attempts that failed in this process. It may be over MaxAttempts, which
	// counts no deliveries.
	Attempt int
	// Sequence is the position in the stream or channel.
	Sequence uint64
	// Time is when the event was published, where a CloudEvents envelope tells,
	// otherwise when the broker stored it.
	Time time.Time
	// Header holds the publisher's headers; on NATS Streaming a CloudEvents
	// envelope carries them, and nothing else does.
	Header map[string][]string
}

// Listener listens to the events of one type as a member of a group. Events
// with the same key ([Keyed]) are handled in order, others at the same time.
// That order holds within the process: across processes and subjects, the
// event's version tells it, and so it does where the network lost an event on
// its way, which the broker then delivers behind its successors: see
// [NextVersion].
//
// A keyed event that fails is tried again by the process that holds it, kept
// alive at the broker meanwhile, with its successors waiting behind it; other
// keys go on. All of these keep their places in the window, which on JetStream
// grows by them up to 4096 messages or 64 MiB, unless its size is set.
type Listener[E Event] struct {
	listener
	handler Handler[E]
}

// listener is what a [Listener] has that does not depend on its event's type: a
// service has this code once, and not for every event.
type listener struct {
	receiver Receiver
	sub      Subscription
	opts     ListenerOptions
}

// ListenerOptions configures a [Listener]. Nil and the zero value are good.
type ListenerOptions struct {
	// Codec decodes the event. Default [JSON].
	Codec Codec
	// Concurrency is how many handlers run at once. Default 1.
	Concurrency int
	// MaxAttempts is how often an event is tried before it becomes a dead
	// letter. Default 10; 1 tries once. The process that holds the event counts
	// its own attempts: after a restart it is tried as often again.
	MaxAttempts int
	// MinBackoff and MaxBackoff bound the wait before another attempt, which
	// doubles from one to the other with 20 % jitter. Defaults 1 s and 1 min.
	MinBackoff, MaxBackoff time.Duration
	// MaxWait is how long an event may wait in this process ([NextVersion],
	// [Wait]) before it becomes a dead letter. It does not bound the wait for a
	// broker that does not take what the handler publishes. The time between two tries grows
	// with the time that it has waited, from MinBackoff to MaxBackoff. Default
	// 15 min, more than the default attempts of a predecessor take; negative:
	// without end.
	MaxWait time.Duration
	// HandlerTimeout ends the handler's ctx. There is no new attempt before
	// the handler returns, but after twice the timeout the event is given up
	// to whoever the broker gives it to next, and what stands behind it is
	// handed back. When all handlers are lost in this way, everything is, until
	// one returns. Default 30 s; negative: none.
	HandlerTimeout time.Duration
	// ShutdownTimeout bounds how long running handlers may take once Listen's
	// ctx has ended. Default 10 s.
	ShutdownTimeout time.Duration
	// AckWait and Window are passed on to the [Subscription].
	AckWait time.Duration
	Window  int
	// DeadLetters is where events go that cannot be handled, on the subject
	// dead.<group>.<subject>. Default: the Receiver, where it is a [Sender].
	DeadLetters Sender
	// OnDeadLetter hears of each dead letter once it is stored, and before its
	// event is taken off the subscription. It is called on a worker and holds
	// it up.
	OnDeadLetter func(DeadLetter)
	// Logger hears of failed attempts and dead letters, without payloads.
	// Default [slog.Default].
	Logger *slog.Logger
}

func (o *ListenerOptions) setDefaults(r Receiver) {
	setDefault(&o.Codec, JSON)
	setDefault(&o.Concurrency, 1)
	setDefault(&o.MaxAttempts, 10)
	setDefault(&o.MinBackoff, time.Second)
	setDefault(&o.MaxBackoff, max(time.Minute, o.MinBackoff))
	setDefault(&o.MaxWait, 15*time.Minute)
	setDefault(&o.HandlerTimeout, 30*time.Second)
	if o.DeadLetters == nil {
		o.DeadLetters, _ = r.(Sender)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

func (o *ListenerOptions) validate() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Concurrency", int64(o.Concurrency)},
		{"MaxAttempts", int64(o.MaxAttempts)},
		{"MinBackoff", int64(o.MinBackoff)},
		{"MaxBackoff", int64(o.MaxBackoff)},
	} {
		if f.value < 0 {
			return fmt.Errorf("ListenerOptions.%s cannot be negative", f.name)
		}
	}
	if o.MinBackoff > o.MaxBackoff {
		return fmt.Errorf("ListenerOptions.MinBackoff %v is over MaxBackoff %v", o.MinBackoff, o.MaxBackoff)
	}
	return nil
}

// NewListener returns a Listener of E over r. It panics when E is a pointer or
// an interface, when E's subject is invalid, and when r or h is nil: these are
// mistakes in the program. Whatever may come from configuration, the group
// first of all, is checked by [Listener.Listen].
func NewListener[E Event](r Receiver, group string, h Handler[E], opts *ListenerOptions) *Listener[E] {
	l := &Listener[E]{handler: h}
	l.init(r, group, h != nil, opts, new(E))
	return l
}

// init gets a pointer to a zero event.
func (l *listener) init(r Receiver, group string, handler bool, opts *ListenerOptions, e any) {
	subject := subjectOf("NewListener", e)
	switch {
	case r == nil:
		panic(fmt.Sprintf("ticketing: NewListener[%v]: the receiver is nil", eventType(e)))
	case !handler:
		panic(fmt.Sprintf("ticketing: NewListener[%v]: the handler is nil", eventType(e)))
	}
	var o ListenerOptions
	if opts != nil {
		o = *opts
	}
	o.setDefaults(r)
	*l = listener{
		receiver: r,
		opts:     o,
		sub: Subscription{
			Subject:      subject,
			Group:        group,
			AckWait:      o.AckWait,
			Window:       o.Window,
			Concurrency:  o.Concurrency,
			DrainTimeout: o.ShutdownTimeout,
		},
	}
}

// Listen subscribes and handles events until ctx ends. Then it stops the
// intake, hands back what no handler has started, waits for the running
// handlers at most ShutdownTimeout, and returns nil. It returns an error when
// it cannot receive, or no longer: an invalid group ([ErrInvalidGroup]) or
// option, no place for dead letters ([ErrNoDeadLetters]), a closed connection.
//
// Listen blocks. Calls at the same time are members of the same group.
func (l *Listener[E]) Listen(ctx context.Context) error { return l.listen(ctx, l.newJob) }

func (l *listener) listen(ctx context.Context, newJob func(*Inbound) *job) error {
	if ctx == nil {
		return l.failed(errNilContext)
	}
	if err := errors.Join(l.opts.validate(), l.sub.Validate()); err != nil {
		return l.failed(err)
	}
	run := newRun(l.sub, &l.opts)
	if err := run.checkDeadLetters(ctx); err != nil {
		return l.failed(err)
	}
	defer context.AfterFunc(ctx, run.stop)()
	err := l.receiver.Receive(ctx, l.sub, func(ctx context.Context, in *Inbound) {
		if replayedToAnother(in, l.sub.Group) {
			run.settle(&job{in: in}, Verdict{Kind: Ack})
			return
		}
		run.accept(ctx, newJob(in))
	})
	run.stop()
	run.wait()
	if err != nil {
		return l.failed(err)
	}
	return nil
}

func (l *listener) failed(err error) error {
	return fmt.Errorf("ticketing: listen to %s as %q: %w", l.sub.Subject, l.sub.Group, err)
}

// delivery is a job with its decoded event, in one allocation.
type delivery[E Event] struct {
	job
	Delivery[E]
	handler Handler[E]
}

func (d *delivery[E]) handle(ctx context.Context, attempt int) error {
	d.Attempt = attempt
	return d.handler(ctx, &d.Delivery)
}

// newJob makes the job for a message.
func (l *Listener[E]) newJob(in *Inbound) *job {
	d := &delivery[E]{handler: l.handler}
	d.ID, d.Sequence, d.Time, d.Header = in.ID, in.Sequence, in.Time, in.Header
	d.task = d
	l.decode(in, &d.job, &d.Event)
	return &d.job
}

// decode decodes a message into the event that e points to. What cannot be
// decoded becomes a job that goes straight to the dead letters.
func (l *listener) decode(in *Inbound, j *job, e any) {
	j.in = in
	j.lane.seq = in.Sequence
	if key, err := l.decodeEvent(in.Data, e); err != nil {
		j.dead = fmt.Errorf("cannot decode %v: %w", eventType(e), err)
	} else if key != "" {
		j.lane = laneKey{key: key}
	}
}

// decodeEvent runs code of the event's author, outside of any handler.
func (l *listener) decodeEvent(data []byte, e any) (key string, err error) {
	defer recoverAs(&err)
	if err := l.opts.Codec.Unmarshal(data, e); err != nil {
		return "", err
	}
	return keyOf(e), nil
}
