package otelwrap

import (
	"context"
	"errors"
	"sync"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Handler returns a handler that runs h under a span, which the ctx of h is in,
// and measures how long it takes. Over a [Telemetry.Broker] the span knows the
// group and is followed by that of the settlement; over another Receiver it
// stands alone. A panic of h is marked and goes on to the Listener. A nil t or h
// is a mistake in the program, and panics.
func Handler[E ticketing.Event](t *Telemetry, h ticketing.Handler[E]) ticketing.Handler[E] {
	if t == nil || h == nil {
		panic("otelwrap: Handler: the telemetry or the handler is nil")
	}
	alone := sync.OnceValue(func() *operation { return t.process((*new(E)).Subject(), "") })
	return func(ctx context.Context, d *ticketing.Delivery[E]) (err error) {
		in, _ := ctx.Value(deliveryKey{}).(*delivery)
		var op *operation
		if in != nil {
			op = in.on.process
		} else {
			op = alone()
		}
		a := t.begin(ctx, op, d.ID, d.Attempt, d.Header)
		if in != nil {
			in.attempted(a.span)
		}
		defer a.end(&err)
		err = h(a.ctx, d)
		a.returned = true
		return err
	}
}

func (t *Telemetry) process(subject ticketing.Subject, group string) *operation {
	return t.operation("process", semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer, subject, group)
}

// attempt is a handler that runs.
type attempt struct {
	tel      *Telemetry
	op       *operation
	ctx      context.Context
	span     trace.Span
	start    time.Time
	returned bool
}

func (t *Telemetry) begin(ctx context.Context, op *operation, id string, n int, h map[string][]string) attempt {
	a := attempt{tel: t, op: op, start: time.Now()}
	ambient := trace.SpanContextFromContext(ctx)
	ctx, creation := t.extract(ctx, h)
	opts := op.start
	if t.link || !creation.IsValid() {
		opts = append(opts[:len(opts):len(opts)], trace.WithNewRoot())
	}
	a.ctx, a.span = t.tracer.Start(ctx, op.span, opts...)
	if a.span.IsRecording() {
		a.span.SetAttributes(semconv.MessagingMessageID(id), keyAttempt.Int(n))
		for _, sc := range [...]trace.SpanContext{creation, ambient} {
			if sc.IsValid() {
				a.span.AddLink(trace.Link{SpanContext: sc})
			}
		}
	}
	return a
}

// end is deferred: it also ends the attempt of a handler that panics, without
// stopping the panic, which keeps its stack.
func (a *attempt) end(err *error) {
	took := time.Since(a.start).Seconds()
	kind, text := "", ""
	switch {
	case !a.returned:
		kind, text = "panic", "the handler panicked"
	case *err != nil && !errors.Is(*err, ticketing.ErrApplied): // which is acknowledged
		kind, text = handlerError(*err), textOf(*err)
	}
	if kind == "" {
		a.tel.handlers.Float64Histogram.Record(a.ctx, took, a.op.record...)
	} else {
		a.tel.handlers.Float64Histogram.Record(a.ctx, took, a.op.failed(kind))
		fail(a.span, kind, text)
	}
	a.span.End()
}
