package otelwrap

import (
	"context"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/around"
)

// Sender traces and measures what another Sender sends.
type Sender struct {
	tel  *Telemetry
	next ticketing.Sender
}

var (
	_ ticketing.Sender             = (*Sender)(nil)
	_ ticketing.SubjectChecker     = (*Sender)(nil)
	_ ticketing.CapabilityReporter = (*Sender)(nil)
)

// Sender returns a Sender around s: a connection, the transaction of an outbox,
// another wrapper. It is cheap, so one may be made for each transaction. A nil s
// is a mistake in the program, and panics.
func (t *Telemetry) Sender(s ticketing.Sender) *Sender {
	if s == nil {
		panic("otelwrap: Telemetry.Sender: the sender is nil")
	}
	return &Sender{tel: t, next: s}
}

// CheckSubject asks the Sender within. One that cannot tell has nothing to
// object to.
func (s *Sender) CheckSubject(ctx context.Context, subject ticketing.Subject) error {
	return around.CheckSubject(ctx, s.next, subject)
}

// Capabilities are those of the Sender within.
func (s *Sender) Capabilities() ticketing.Capabilities { return around.Capabilities(s.next) }

// sending is a message on its way to its outcome.
type sending struct {
	message ticketing.Message // what is sent in place of the caller's
	tel     *Telemetry
	op      *operation
	ctx     context.Context
	span    trace.Span
	start   time.Time
	done    func(error)
}

// Send sends m, or where a trace context has to go with it a copy of m, through
// the Sender within, under a span that ends with the outcome.
func (s *Sender) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	t := s.tel
	p := &sending{tel: t, op: t.publish(m.Subject), done: done, start: time.Now()}
	_, creation := t.extract(ctx, m.Header)
	if creation.IsValid() {
		opts := append(p.op.start[:len(p.op.start):len(p.op.start)],
			trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: creation}))
		p.ctx, p.span = t.tracer.Start(ctx, p.op.span, opts...)
	} else {
		p.ctx, p.span = t.tracer.Start(ctx, p.op.span, p.op.start...)
		if s.carries() {
			p.message = *m
			p.message.Header = t.inject(p.ctx, m.Header)
			m = &p.message
		}
	}
	if p.span.IsRecording() {
		p.span.SetAttributes(semconv.MessagingMessageID(m.ID))
	}
	s.next.Send(p.ctx, m, p.finish)
}

// carries reports whether headers arrive: where it is known that they don't,
// none are set.
func (s *Sender) carries() bool {
	c, ok := s.next.(ticketing.CapabilityReporter)
	return !ok || c.Capabilities().Headers
}

// finish is the completion callback.
func (p *sending) finish(err error) {
	took := time.Since(p.start).Seconds()
	t := p.tel
	if err == nil {
		t.sent.Int64Counter.Add(p.ctx, 1, p.op.add...)
		t.clients.Float64Histogram.Record(p.ctx, took, p.op.record...)
	} else {
		kind := publishError(err)
		with := p.op.failed(kind)
		t.sent.Int64Counter.Add(p.ctx, 1, with)
		t.clients.Float64Histogram.Record(p.ctx, took, with)
		fail(p.span, kind, textOf(err), keyOutcome.String(outcome(err)))
	}
	p.span.End()
	p.done(err)
}
