package otelwrap

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/around"
)

// Broker traces and measures what another broker sends, and how what it hands
// over is settled. Handlers are wrapped on their own, see [Handler].
type Broker struct {
	*Sender
	next ticketing.Receiver
}

var _ ticketing.Receiver = (*Broker)(nil)

// Broker returns a broker around b, which is both a Sender and a Receiver, so
// that a listener's dead letters take the same way. A nil b is a mistake in the
// program, and panics.
func (t *Telemetry) Broker(b interface {
	ticketing.Sender
	ticketing.Receiver
}) *Broker {
	if b == nil {
		panic("otelwrap: Telemetry.Broker: the broker is nil")
	}
	return &Broker{Sender: t.Sender(b), next: b}
}

// subscription is what is the same for all messages of a Receive.
type subscription struct {
	tel     *Telemetry
	receive *operation
	process *operation
	settle  [ticketing.Abandon + 1]*operation
}

// Receive receives from the broker within.
func (b *Broker) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	t := b.tel
	on := &subscription{
		tel:     t,
		process: t.process(s.Subject, s.Group),
		receive: t.operation("receive", semconv.MessagingOperationTypeReceive, trace.SpanKindClient, s.Subject, s.Group),
	}
	for kind := range on.settle {
		on.settle[kind] = t.operation(ticketing.VerdictKind(kind).String(), semconv.MessagingOperationTypeSettle, trace.SpanKindClient, s.Subject, s.Group)
	}
	return b.next.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
		t.consumed.Int64Counter.Add(ctx, 1, on.receive.add...)
		d := &delivery{Context: ctx, on: on, next: in}
		around.Fill(&d.in, in, d)
		handle(d, &d.in)
	})
}

type deliveryKey struct{}

// delivery is a message that was handed over, and the context it came with, in
// which its handler's wrapper finds it.
type delivery struct {
	context.Context
	in   ticketing.Inbound // what the listener has
	next *ticketing.Inbound
	on   *subscription

	mu   sync.Mutex
	last trace.Span // of the last attempt; nil before
}

var _ ticketing.Retainer = (*delivery)(nil)

func (d *delivery) Value(key any) any {
	if key == (deliveryKey{}) {
		return d
	}
	return d.Context.Value(key)
}

// attempted says that an attempt has begun.
func (d *delivery) attempted(span trace.Span) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = span
}

// RetainInbound passes the question on.
func (d *delivery) RetainInbound(_ *ticketing.Inbound, v ticketing.Verdict) bool {
	return d.next.Retain(v)
}

// SettleInbound passes the verdict on.
func (d *delivery) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error {
	op := d.on.settle[0]
	if int(v.Kind) < len(d.on.settle) {
		op = d.on.settle[v.Kind]
	}
	t := d.on.tel
	start := time.Now()
	err := d.next.Settle(v)
	took := time.Since(start).Seconds()
	if err == nil {
		t.clients.Float64Histogram.Record(d.Context, took, op.record...)
	} else {
		t.clients.Float64Histogram.Record(d.Context, took, op.failed(settleError(err)))
	}
	if err != nil || v.Kind != ticketing.Ack || !t.omitAcks {
		d.trace(op, start, v, err)
	}
	return err
}

// trace makes the span of a settlement. It is the child of the last attempt,
// which has ended, or of the publish.
func (d *delivery) trace(op *operation, start time.Time, v ticketing.Verdict, err error) {
	t := d.on.tel
	d.mu.Lock()
	ctx, last := d.Context, d.last
	d.mu.Unlock()
	attrs := append(make([]attribute.KeyValue, 0, len(op.attrs)+4), op.attrs...)
	attrs = append(attrs, semconv.MessagingMessageID(d.in.ID), keyAttempts.Int(v.Attempts))
	if v.Err != nil {
		attrs = append(attrs, keyReason.String(textOf(v.Err)))
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(start), trace.WithAttributes(attrs...)}
	if last != nil {
		ctx = trace.ContextWithSpan(ctx, last)
	} else {
		var creation trace.SpanContext
		ctx, creation = t.extract(ctx, d.in.Header)
		if t.link || !creation.IsValid() {
			opts = append(opts, trace.WithNewRoot())
		}
		if t.link && creation.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: creation}))
		}
	}
	_, span := t.tracer.Start(ctx, op.span, opts...)
	if err != nil {
		fail(span, settleError(err), textOf(err))
	}
	span.End()
}
