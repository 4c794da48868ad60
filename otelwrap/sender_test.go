package otelwrap_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

const publishSpan = "publish deposit:received"

var publishAttrs = map[string]string{
	"messaging.system":           "nats",
	"messaging.destination.name": "deposit:received",
	"messaging.operation.name":   "publish",
	"messaging.operation.type":   "send",
}

// with returns m with more.
func with(m map[string]string, more ...string) map[string]string {
	m = maps.Clone(m)
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func TestAPublishIsASpanWhoseContextGoesWithTheMessage(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var broker natstest.Recorder
	publisher := ticketing.NewPublisher[deposit](o.Sender(&broker), nil)

	ctx, request := o.tracer.Tracer("test").Start(t.Context(), "request")
	member, err := baggage.NewMember("tenant", "a")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish(baggage.ContextWithBaggage(ctx, bag), deposit{ID: "d-1"}, ticketing.WithID("event-1"), ticketing.WithHeader("Reply", "no")); err != nil {
		t.Fatal(err)
	}
	request.End()

	s := o.one(publishSpan)
	if s.SpanKind != trace.SpanKindProducer || s.Status.Code != codes.Unset || len(s.Links) > 0 {
		t.Errorf("kind %v, status %v, links %v", s.SpanKind, s.Status, s.Links)
	}
	if s.Parent.SpanID() != request.SpanContext().SpanID() {
		t.Errorf("parent %v, want the request's span", s.Parent)
	}
	wantAttrs(t, "publish", s.Attributes, with(publishAttrs, "messaging.message.id", "event-1"))
	if s.InstrumentationScope.SchemaURL != "https://opentelemetry.io/schemas/1.43.0" {
		t.Errorf("schema %q", s.InstrumentationScope.SchemaURL)
	}

	m := broker.Messages()[0]
	want := map[string][]string{
		"Reply":       {"no"},
		"traceparent": {fmt.Sprintf("00-%s-%s-01", s.SpanContext.TraceID(), s.SpanContext.SpanID())},
		"baggage":     {"tenant=a"},
	}
	if !maps.EqualFunc(m.Header, want, slices.Equal) || m.ID != "event-1" || string(m.Data) != `{"id":"d-1","amount":0}` {
		t.Errorf("sent %+v", m)
	}
}

// A message is read-only once it was sent: the caller may send it twice at
// the same time.
func TestTheCallersMessageIsNotChanged(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var broker natstest.Recorder
	s := o.Sender(&broker)
	for _, header := range []map[string][]string{nil, {"A": {"1"}}, {"Traceparent": {"nonsense"}}} {
		m := &ticketing.Message{ID: "1", Subject: "deposit:received", Header: maps.Clone(header)}
		s.Send(t.Context(), m, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if !maps.EqualFunc(m.Header, header, slices.Equal) {
			t.Errorf("the header is %v now, and was %v", m.Header, header)
		}
		sent := broker.Messages()[len(broker.Messages())-1]
		if sent == m || len(sent.Header["traceparent"]) != 1 || sent.Header["Traceparent"] != nil {
			t.Errorf("sent %p (caller's %p) with %v", sent, m, sent.Header)
		}
	}
}

// What comes out of an outbox was published before: that is where the
// listener's trace has to go on.
func TestAMessageThatHasATraceContextKeepsItAndIsLinked(t *testing.T) {
	for _, name := range []string{"traceparent", "Traceparent"} {
		t.Run(name, func(t *testing.T) {
			o := observe(t, otelwrap.Options{})
			var broker natstest.Recorder
			parent := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			m := &ticketing.Message{ID: "1", Subject: "deposit:received", Header: map[string][]string{name: {parent}}}
			o.Sender(&broker).Send(t.Context(), m, func(error) {})

			s := o.one(publishSpan)
			if s.SpanKind != trace.SpanKindClient || s.Parent.IsValid() {
				t.Errorf("kind %v, parent %v", s.SpanKind, s.Parent)
			}
			if len(s.Links) != 1 || s.Links[0].SpanContext.TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" {
				t.Errorf("links %v", s.Links)
			}
			if got := broker.Messages()[0].Header; len(got) != 1 || got[name][0] != parent {
				t.Errorf("sent with %v", got)
			}
		})
	}
}

func TestASpanEndsWithTheOutcomeOfItsPublish(t *testing.T) {
	fail := func(o ticketing.Outcome, err error) error {
		return ticketing.NewPublishError(o, &ticketing.Message{Subject: "deposit:received", ID: "1"}, err)
	}
	for name, test := range map[string]struct {
		err                error
		errorType, outcome string
	}{
		"not sent":      {fail(ticketing.OutcomeNotSent, errScripted), "not_sent", "not_sent"},
		"not connected": {fail(ticketing.OutcomeNotSent, ticketing.ErrNotConnected), "not_connected", "not_sent"},
		"closed":        {fail(ticketing.OutcomeNotSent, ticketing.ErrClosed), "closed", "not_sent"},
		"cancelled":     {fail(ticketing.OutcomeNotSent, context.Canceled), "canceled", "not_sent"},
		"late":          {fail(ticketing.OutcomeUnknown, context.DeadlineExceeded), "deadline_exceeded", "unknown"},
		"no stream":     {fail(ticketing.OutcomeRejected, ticketing.ErrNoStream), "no_stream", "rejected"},
		"too large":     {fail(ticketing.OutcomeRejected, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, ticketing.ErrTooLarge)), "too_large", "rejected"},
		"denied":        {fail(ticketing.OutcomeRejected, ticketing.ErrPermission), "permission_denied", "rejected"},
		"invalid":       {fail(ticketing.OutcomeRejected, ticketing.ErrInvalidEvent), "invalid_event", "rejected"},
		"busy":          {fail(ticketing.OutcomeBusy, errScripted), "busy", "busy"},
		"unknown":       {fail(ticketing.OutcomeUnknown, errScripted), "unknown", "unknown"},
		"no outcome":    {errScripted, "unknown", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			o := observe(t, otelwrap.Options{})
			// The broker answers later, on another goroutine.
			var answer func(error)
			s := o.Sender(sendFunc(func(_ context.Context, _ *ticketing.Message, done func(error)) { answer = done }))
			var got error
			calls := 0
			ctx, cancel := context.WithCancel(t.Context())
			s.Send(ctx, &ticketing.Message{ID: "1", Subject: "deposit:received"}, func(err error) { got, calls = err, calls+1 })
			cancel()
			o.none(publishSpan)
			answered := make(chan struct{})
			go func() { defer close(answered); answer(test.err) }()
			<-answered

			if got != test.err || calls != 1 {
				t.Errorf("done(%v) called %d times", got, calls)
			}
			span := o.one(publishSpan)
			if span.Status.Code != codes.Error || span.Status.Description != test.err.Error() {
				t.Errorf("status %+v", span.Status)
			}
			wantAttrs(t, "publish", span.Attributes, with(publishAttrs,
				"messaging.message.id", "1", "error.type", test.errorType, "ticketing.outcome", test.outcome))
			for _, metric := range []string{"messaging.client.sent.messages", "messaging.client.operation.duration"} {
				p := o.counts(metric, "error.type")[test.errorType]
				if p.n != 1 {
					t.Errorf("%s: %d, want 1", metric, p.n)
				}
				if want := with(publishAttrs, "error.type", test.errorType); !maps.Equal(p.attrs, want) {
					t.Errorf("%s: attributes %v", metric, p.attrs)
				}
			}
		})
	}
}

type sendFunc func(ctx context.Context, m *ticketing.Message, done func(error))

func (f sendFunc) Send(ctx context.Context, m *ticketing.Message, done func(error)) { f(ctx, m, done) }

func TestMetricsAreNamedAndMeasuredByTheConventions(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var broker natstest.Recorder
	b := o.Broker(&broker)
	if err := ticketing.NewPublisher[deposit](b, nil).Publish(t.Context(), deposit{ID: "d-1"}); err != nil {
		t.Fatal(err)
	}
	stop := natstest.Listen(t, ticketing.NewListener(b, "accounts", otelwrap.Handler(o.Telemetry, credited), nil))
	natstest.Deliver(t, &broker, deposit{ID: "d-1"})
	stop() // it has been measured, too

	group := []string{"messaging.consumer.group.name", "accounts"}
	for _, test := range []struct {
		name, unit, by, key string
		attrs               map[string]string
	}{
		{"messaging.client.sent.messages", "{message}", "", "", publishAttrs},
		{"messaging.client.consumed.messages", "{message}", "", "",
			with(publishAttrs, append(group, "messaging.operation.name", "receive", "messaging.operation.type", "receive")...)},
		{"messaging.process.duration", "s", "", "",
			with(publishAttrs, append(group, "messaging.operation.name", "process", "messaging.operation.type", "process")...)},
		{"messaging.client.operation.duration", "s", "messaging.operation.name", "publish", publishAttrs},
		{"messaging.client.operation.duration", "s", "messaging.operation.name", "ack",
			with(publishAttrs, append(group, "messaging.operation.name", "ack", "messaging.operation.type", "settle")...)},
	} {
		m := o.metric(test.name)
		p := o.counts(test.name, test.by)[test.key]
		if m.Unit != test.unit || p.n != 1 || !maps.Equal(p.attrs, test.attrs) {
			t.Errorf("%s: unit %q, %d, attributes %v", test.name, m.Unit, p.n, p.attrs)
		}
		if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
			if b := h.DataPoints[0].Bounds; len(b) != 14 || b[0] != 0.005 || b[13] != 10 {
				t.Errorf("%s: boundaries %v", test.name, b)
			}
		}
	}
}

func credited(context.Context, *ticketing.Delivery[deposit]) error { return nil }

func TestTheOptionalInterfacesOfASenderAreKept(t *testing.T) {
	o := observe(t, otelwrap.Options{System: "sqlite"})
	var broker natstest.Recorder
	s := o.Sender(&broker)
	if s.Capabilities() != broker.Capabilities() {
		t.Errorf("capabilities %+v", s.Capabilities())
	}
	if err := s.CheckSubject(t.Context(), "a b"); !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("CheckSubject of an invalid one: %v", err)
	}
	plain := o.Sender(ticketing.SendFunc(func(context.Context, *ticketing.Message) error { return nil }))
	if plain.Capabilities() != (ticketing.Capabilities{}) || plain.CheckSubject(t.Context(), "deposit:received") != nil {
		t.Error("a sender that cannot tell has something to say")
	}
	plain.Send(t.Context(), &ticketing.Message{ID: "1", Subject: "deposit:received"}, func(error) {})
	wantAttrs(t, "publish", o.one(publishSpan).Attributes, with(publishAttrs, "messaging.system", "sqlite", "messaging.message.id", "1"))
}

// headless is a broker that says that it carries no headers.
type headless struct{ natstest.Recorder }

func (*headless) Capabilities() ticketing.Capabilities { return ticketing.Capabilities{} }

func TestNothingIsCopiedForABrokerWithoutHeaders(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var broker headless
	m := &ticketing.Message{ID: "1", Subject: "deposit:received"}
	o.Sender(&broker).Send(t.Context(), m, func(error) {})
	if broker.Messages()[0] != m {
		t.Errorf("sent %+v", broker.Messages()[0])
	}
	o.one(publishSpan)
}

// A service sets no global propagator and wonders where its traces end.
func TestWithoutAPropagatorTraceContextIsCarried(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	tel := otelwrap.New(&otelwrap.Options{TracerProvider: o.tracer})
	var broker natstest.Recorder
	tel.Sender(&broker).Send(t.Context(), &ticketing.Message{ID: "1", Subject: "deposit:received"}, func(error) {})
	if h := broker.Messages()[0].Header; len(h) != 1 || len(h["traceparent"]) != 1 {
		t.Errorf("header %v", h)
	}
}

func TestWithoutProvidersEverythingWorksAndNothingIsAdded(t *testing.T) {
	tel := otelwrap.New(nil)
	var broker natstest.Recorder
	b := tel.Broker(&broker)
	if err := ticketing.NewPublisher[deposit](b, nil).Publish(t.Context(), deposit{ID: "d-1"}); err != nil {
		t.Fatal(err)
	}
	if h := broker.Messages()[0].Header; len(h) > 0 {
		t.Errorf("header %v", h)
	}
	natstest.Listen(t, ticketing.NewListener(b, "accounts", otelwrap.Handler(tel, credited), nil))
	if res := natstest.Deliver(t, &broker, deposit{ID: "d-1"}); !res.Acked() {
		t.Error(res)
	}
}

func TestTheTextOfAnErrorIsCut(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	s := o.Sender(ticketing.SendFunc(func(context.Context, *ticketing.Message) error {
		return errors.New(strings.Repeat("é", 10_000))
	}))
	s.Send(t.Context(), &ticketing.Message{ID: "1", Subject: "deposit:received"}, func(error) {})
	if d := o.one(publishSpan).Status.Description; d != strings.Repeat("é", 512) {
		t.Errorf("%d bytes", len(d))
	}
}

func TestManySubjectsAreMeasuredEachByItself(t *testing.T) {
	o := observe(t, otelwrap.Options{Propagator: propagation.TraceContext{}})
	s := o.Sender(ticketing.SendFunc(func(context.Context, *ticketing.Message) error { return nil }))
	for i := range 1500 { // more than are kept
		for range 2 {
			s.Send(t.Context(), &ticketing.Message{ID: "1", Subject: ticketing.Subject(fmt.Sprintf("s:%d", i))}, func(error) {})
		}
	}
	if n := len(o.wait("publish s:1499", 2)); n != 2 {
		t.Errorf("%d spans", n)
	}
}

func TestWhatIsNotThereCannotBeWrapped(t *testing.T) {
	tel := otelwrap.New(nil)
	for name, wrap := range map[string]func(){
		"sender":    func() { tel.Sender(nil) },
		"broker":    func() { tel.Broker(nil) },
		"handler":   func() { otelwrap.Handler[deposit](tel, nil) },
		"telemetry": func() { otelwrap.Handler[deposit](nil, credited) },
	} {
		func() {
			defer func() {
				if v, _ := recover().(string); !strings.HasPrefix(v, "otelwrap: ") {
					t.Errorf("%s: recovered %q", name, v)
				}
			}()
			wrap()
		}()
	}
}
