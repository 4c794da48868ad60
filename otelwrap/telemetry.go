package otelwrap

import (
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// scope is the name of the instrumentation.
const scope = "github.com/ducnguyen96/ticketing-common/otelwrap"

// Options configures a [Telemetry]. Nil and the zero value are good.
type Options struct {
	// TracerProvider makes the spans. Default [otel.GetTracerProvider].
	TracerProvider trace.TracerProvider
	// MeterProvider makes the instruments. Default [otel.GetMeterProvider].
	MeterProvider metric.MeterProvider
	// Propagator carries the trace context in the headers of messages. Default
	// [otel.GetTextMapPropagator], as it is when [New] is called; where none was
	// set, [propagation.TraceContext]: the way of a message would end at the
	// broker otherwise, and nobody would know why. Baggage goes to whoever reads
	// the messages, and is carried only where the propagator says so.
	Propagator propagation.TextMapPropagator
	// Link makes each process span the root of a trace that is linked to the
	// publish, instead of a child of the publish: for events that are handled
	// long after, or by many.
	Link bool
	// OmitAcks leaves out the span of an acknowledgement that the broker was
	// told. A span costs a few microseconds, and this one says what the end of a
	// process span without an error says. Other settlements have theirs, and the
	// metrics count all.
	OmitAcks bool
	// System is the attribute messaging.system. Default "nats". It is for the
	// sender of an outbox's transaction, which is not NATS.
	System string
}

// Telemetry is the tracer and the instruments that wrappers share: a service
// makes one. Its methods, and those of what they return, may be called
// concurrently.
type Telemetry struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	link       bool
	omitAcks   bool
	system     string

	sent     messagingconv.ClientSentMessages
	consumed messagingconv.ClientConsumedMessages
	clients  messagingconv.ClientOperationDuration
	handlers messagingconv.ProcessDuration

	publishes sync.Map // from ticketing.Subject to *operation
	known     atomic.Int32
}

// durations are the boundaries that the conventions ask for, in seconds.
var durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// New returns a Telemetry. An instrument that the MeterProvider refuses is
// reported to OpenTelemetry's error handler, and measures nothing: no service
// stands still for its metrics.
func New(opts *Options) *Telemetry {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.Propagator == nil {
		o.Propagator = otel.GetTextMapPropagator()
		if len(o.Propagator.Fields()) == 0 {
			o.Propagator = propagation.TraceContext{}
		}
	}
	if o.System == "" {
		o.System = "nats"
	}
	t := &Telemetry{
		tracer:     o.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		propagator: o.Propagator,
		link:       o.Link,
		omitAcks:   o.OmitAcks,
		system:     o.System,
	}
	meter := o.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	var errs [4]error
	t.sent, errs[0] = messagingconv.NewClientSentMessages(meter)
	t.consumed, errs[1] = messagingconv.NewClientConsumedMessages(meter)
	t.clients, errs[2] = messagingconv.NewClientOperationDuration(meter, metric.WithExplicitBucketBoundaries(durations...))
	t.handlers, errs[3] = messagingconv.NewProcessDuration(meter, metric.WithExplicitBucketBoundaries(durations...))
	for _, err := range errs {
		if err != nil {
			otel.Handle(fmt.Errorf("otelwrap: %w", err))
		}
	}
	return t
}

// operation is what is the same for every message that an operation is done
// with: made once, because it is most of what a span would cost.
type operation struct {
	span   string // its name
	attrs  []attribute.KeyValue
	start  []trace.SpanStartOption
	add    []metric.AddOption // without an error
	record []metric.RecordOption
}

func (t *Telemetry) operation(name string, kind attribute.KeyValue, span trace.SpanKind, subject ticketing.Subject, group string) *operation {
	op := &operation{span: name + " " + string(subject)}
	op.attrs = []attribute.KeyValue{
		semconv.MessagingSystemKey.String(t.system),
		semconv.MessagingDestinationName(string(subject)),
		semconv.MessagingOperationName(name),
		kind,
	}
	if group != "" {
		op.attrs = append(op.attrs, semconv.MessagingConsumerGroupName(group))
	}
	op.start = []trace.SpanStartOption{trace.WithSpanKind(span), trace.WithAttributes(op.attrs...)}
	set := attribute.NewSet(op.attrs...)
	op.add = []metric.AddOption{metric.WithAttributeSet(set)}
	op.record = []metric.RecordOption{metric.WithAttributeSet(set)}
	return op
}

// failed returns the options of a measurement that ended in an error.
func (op *operation) failed(errorType string) metric.MeasurementOption {
	attrs := op.attrs[:len(op.attrs):len(op.attrs)]
	return metric.WithAttributeSet(attribute.NewSet(append(attrs, semconv.ErrorTypeKey.String(errorType))...))
}

// maxKnown bounds the subjects whose operation is kept: a service publishes a
// few, each with a dead letter's.
const maxKnown = 1024

// publish returns the operation of a subject.
func (t *Telemetry) publish(subject ticketing.Subject) *operation {
	if op, ok := t.publishes.Load(subject); ok {
		return op.(*operation)
	}
	op := t.operation("publish", semconv.MessagingOperationTypeSend, trace.SpanKindProducer, subject, "")
	if t.known.Load() < maxKnown {
		if _, loaded := t.publishes.LoadOrStore(subject, op); !loaded {
			t.known.Add(1)
		}
	}
	return op
}
