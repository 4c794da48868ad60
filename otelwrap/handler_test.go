package otelwrap_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

const (
	processSpan = "process deposit:received"
	ackSpan     = "ack deposit:received"
	dropSpan    = "drop deposit:received"

	parent  = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// listened is a listener over a recorder, both wrapped.
func listened(t *testing.T, o *observed, h ticketing.Handler[deposit], opts ticketing.ListenerOptions) *natstest.Recorder {
	t.Helper()
	var broker natstest.Recorder
	opts.Logger = quiet
	natstest.Listen(t, ticketing.NewListener(o.Broker(&broker), "accounts", otelwrap.Handler(o.Telemetry, h), &opts))
	return &broker
}

var processAttrs = with(publishAttrs,
	"messaging.operation.name", "process",
	"messaging.operation.type", "process",
	"messaging.consumer.group.name", "accounts",
	"messaging.message.id", "event-1",
	"ticketing.attempt", "1",
)

func settleAttrs(verdict, attempts string) map[string]string {
	return with(publishAttrs,
		"messaging.operation.name", verdict,
		"messaging.operation.type", "settle",
		"messaging.consumer.group.name", "accounts",
		"messaging.message.id", "event-1",
		"ticketing.attempts", attempts,
	)
}

func TestAnAttemptIsAChildOfThePublishAndItsSettlementAChildOfTheAttempt(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var inside trace.SpanContext
	var tenant string
	broker := listened(t, o, func(ctx context.Context, _ *ticketing.Delivery[deposit]) error {
		inside = trace.SpanContextFromContext(ctx)
		tenant = baggage.FromContext(ctx).Member("tenant").Value()
		return nil
	}, ticketing.ListenerOptions{})
	natstest.Deliver(t, broker, deposit{ID: "d-1"}, natstest.WithID("event-1"),
		natstest.WithHeader("traceparent", parent), natstest.WithHeader("baggage", "tenant=a"))

	ack, p := o.one(ackSpan), o.one(processSpan)
	if p.SpanKind != trace.SpanKindConsumer || p.Status.Code != codes.Unset {
		t.Errorf("process: kind %v, status %v", p.SpanKind, p.Status)
	}
	if p.SpanContext.TraceID().String() != traceID || p.Parent.SpanID().String() != spanID || !p.Parent.IsRemote() {
		t.Errorf("process: trace %v, parent %v", p.SpanContext.TraceID(), p.Parent)
	}
	if len(p.Links) != 1 || p.Links[0].SpanContext.SpanID().String() != spanID {
		t.Errorf("process: links %v", p.Links)
	}
	wantAttrs(t, "process", p.Attributes, processAttrs)
	if !inside.Equal(p.SpanContext) || tenant != "a" {
		t.Errorf("the handler is in %v with tenant %q", inside, tenant)
	}
	if ack.SpanKind != trace.SpanKindClient || ack.Parent.SpanID() != p.SpanContext.SpanID() || ack.SpanContext.TraceID().String() != traceID {
		t.Errorf("ack: kind %v, parent %v", ack.SpanKind, ack.Parent)
	}
	wantAttrs(t, "ack", ack.Attributes, settleAttrs("ack", "1"))
}

func TestALinkedAttemptIsTheRootOfItsOwnTrace(t *testing.T) {
	o := observe(t, otelwrap.Options{Link: true})
	broker := listened(t, o, credited, ticketing.ListenerOptions{})
	natstest.Deliver(t, broker, deposit{ID: "d-1"}, natstest.WithHeader("traceparent", parent))
	p := o.one(processSpan)
	if p.Parent.IsValid() || p.SpanContext.TraceID().String() == traceID || len(p.Links) != 1 || p.Links[0].SpanContext.TraceID().String() != traceID {
		t.Errorf("parent %v, links %v", p.Parent, p.Links)
	}
	if ack := o.one(ackSpan); ack.SpanContext.TraceID() != p.SpanContext.TraceID() {
		t.Error("the settlement is in another trace")
	}

	o.spans.Reset()
	natstest.DeliverRaw(t, broker, "deposit:received", []byte("{"), natstest.WithHeader("traceparent", parent))
	if drop := o.one(dropSpan); drop.Parent.IsValid() || len(drop.Links) != 1 || drop.Links[0].SpanContext.TraceID().String() != traceID {
		t.Errorf("drop: parent %v, links %v", drop.Parent, drop.Links)
	}
}

// A trace that main began before it called Listen would last for ever.
func TestASpanAroundListenIsLinkedAndNoParent(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var broker natstest.Recorder
	ctx, main := o.tracer.Tracer("test").Start(t.Context(), "main")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	l := ticketing.NewListener(o.Broker(&broker), "accounts", otelwrap.Handler(o.Telemetry, credited), nil)
	go func() { ended <- l.Listen(ctx) }()
	natstest.Deliver(t, &broker, deposit{ID: "d-1"}, natstest.WithHeader("traceparent", parent))
	natstest.Deliver(t, &broker, deposit{ID: "d-1"})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	main.End()

	spans := o.wait(processSpan, 2)
	if p := spans[0]; p.Parent.SpanID().String() != spanID || len(p.Links) != 2 || p.Links[1].SpanContext.SpanID() != main.SpanContext().SpanID() {
		t.Errorf("with a publish: parent %v, links %v", p.Parent, p.Links)
	}
	if p := spans[1]; p.Parent.IsValid() || len(p.Links) != 1 || p.Links[0].SpanContext.SpanID() != main.SpanContext().SpanID() {
		t.Errorf("without: parent %v, links %v", p.Parent, p.Links)
	}
}

type typed struct{}

func (typed) Error() string     { return "no money" }
func (typed) ErrorType() string { return "no_money" }

func TestAnAttemptThatFailsSaysHow(t *testing.T) {
	for name, test := range map[string]struct {
		handler         func(context.Context) error
		errorType, text string
	}{
		"error":             {func(context.Context) error { return errScripted }, "*errors.errorString", "scripted failure"},
		"with its own type": {func(context.Context) error { return fmt.Errorf("credit: %w", typed{}) }, "no_money", "credit: no money"},
		"permanent":         {func(context.Context) error { return ticketing.Permanent(typed{}) }, "no_money", "permanent: no money"},
		"a publish of its own": {func(context.Context) error {
			return ticketing.NewPublishError(ticketing.OutcomeUnknown, &ticketing.Message{}, errScripted)
		}, "unknown", "…unknown"},
		"timeout": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "deadline_exceeded", "context deadline exceeded"},
		"panic":   {func(context.Context) error { panic("boom") }, "panic", "the handler panicked"},
		"goexit":  {func(context.Context) error { runtime.Goexit(); return nil }, "panic", "the handler panicked"},
	} {
		t.Run(name, func(t *testing.T) {
			o := observe(t, otelwrap.Options{})
			broker := listened(t, o, func(ctx context.Context, _ *ticketing.Delivery[deposit]) error { return test.handler(ctx) },
				ticketing.ListenerOptions{MaxAttempts: 1, HandlerTimeout: 100 * time.Millisecond})
			res := natstest.Deliver(t, broker, deposit{ID: "d-1"}, natstest.WithID("event-1"))
			if !res.DeadLettered() {
				t.Fatal(res)
			}
			var panicked *ticketing.PanicError
			if name == "panic" && (!errors.As(res.Err, &panicked) || !strings.Contains(string(panicked.Stack), "TestAnAttemptThatFailsSaysHow")) {
				t.Errorf("the listener got %v", res.Err)
			}
			p := o.one(processSpan)
			part, isPart := strings.CutPrefix(test.text, "…")
			if d := p.Status.Description; p.Status.Code != codes.Error || d != test.text && (!isPart || !strings.Contains(d, part)) {
				t.Errorf("status %+v", p.Status)
			}
			wantAttrs(t, "process", p.Attributes, with(processAttrs, "error.type", test.errorType))
			if c := o.counts("messaging.process.duration", "error.type")[test.errorType]; c.n != 1 {
				t.Errorf("process.duration: %+v", c)
			}
			drop := o.one(dropSpan)
			if drop.Parent.SpanID() != p.SpanContext.SpanID() || drop.Status.Code != codes.Unset {
				t.Errorf("drop: parent %v, status %v", drop.Parent, drop.Status)
			}
			wantAttrs(t, "drop", drop.Attributes, with(settleAttrs("drop", "1"), "ticketing.reason", "…"))
		})
	}
}

func TestWhatIsNoFailureOfTheEventIsToldApart(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		acked     bool
		errorType string
	}{
		"it has taken effect before": {fmt.Errorf("credit: %w", ticketing.NextVersion(3, 3)), true, ""},
		"it comes early":             {fmt.Errorf("credit: %w", ticketing.NextVersion(3, 5)), false, "early"},
		"it waits":                   {ticketing.Wait(errScripted), false, "wait"},
	} {
		t.Run(name, func(t *testing.T) {
			o := observe(t, otelwrap.Options{})
			broker := listened(t, o, func(context.Context, *ticketing.Delivery[deposit]) error { return test.err }, ticketing.ListenerOptions{})
			res := natstest.Deliver(t, broker, deposit{ID: "d-1"}, natstest.WithID("event-1"))
			if res.Acked() != test.acked || res.Retried() == test.acked {
				t.Fatal(res)
			}
			p := o.one(processSpan)
			if failed := p.Status.Code == codes.Error; failed == test.acked {
				t.Errorf("status %+v", p.Status)
			}
			want := processAttrs
			if test.errorType != "" {
				want = with(processAttrs, "error.type", test.errorType)
			}
			wantAttrs(t, "process", p.Attributes, want)
			if c := o.counts("messaging.process.duration", "error.type")[test.errorType]; c.n != 1 {
				t.Errorf("process.duration: %+v", c)
			}
		})
	}
}

func TestEachAttemptIsASpanAndTheSettlementFollowsTheLast(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	broker := listened(t, o, func(_ context.Context, d *ticketing.Delivery[deposit]) error {
		if d.Attempt < 3 {
			return errScripted
		}
		return nil
	}, ticketing.ListenerOptions{MinBackoff: time.Millisecond})
	res := natstest.Deliver(t, broker, deposit{ID: "d-1"}, natstest.WithID("event-1"), natstest.WithHeader("traceparent", parent), natstest.UntilSettled())
	if !res.Acked() || len(res.Kept) != 2 {
		t.Fatal(res)
	}
	ack := o.one(ackSpan)
	spans := o.wait(processSpan, 3)
	for i, p := range spans {
		if got := attrs(p.Attributes)["ticketing.attempt"]; got != fmt.Sprint(i+1) || p.Parent.SpanID().String() != spanID {
			t.Errorf("attempt %d says %s, with parent %v", i+1, got, p.Parent)
		}
	}
	if ack.Parent.SpanID() != spans[2].SpanContext.SpanID() {
		t.Errorf("parent of the settlement %v", ack.Parent)
	}
	wantAttrs(t, "ack", ack.Attributes, settleAttrs("ack", "3"))
}

func TestADeadLetterIsAPublishInTheSameTrace(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	broker := listened(t, o, credited, ticketing.ListenerOptions{})
	res := natstest.DeliverRaw(t, broker, "deposit:received", []byte(`{"id":`), natstest.WithID("event-1"), natstest.WithHeader("traceparent", parent))
	if !res.DeadLettered() {
		t.Fatal(res)
	}
	o.none(processSpan) // no handler saw it
	drop := o.one(dropSpan)
	if drop.Parent.SpanID().String() != spanID {
		t.Errorf("drop: parent %v", drop.Parent)
	}
	wantAttrs(t, "drop", drop.Attributes, with(settleAttrs("drop", "0"), "ticketing.reason", "…cannot decode"))

	dead := o.one("publish dead.accounts.deposit:received")
	if len(dead.Links) != 1 || dead.Links[0].SpanContext.SpanID().String() != spanID {
		t.Errorf("dead letter: links %v", dead.Links)
	}
	if h := broker.Messages()[0].Header["traceparent"]; len(h) != 1 || h[0] != parent {
		t.Errorf("dead letter: header %v", h)
	}
}

func TestAcknowledgementsCanBeLeftOut(t *testing.T) {
	o := observe(t, otelwrap.Options{OmitAcks: true})
	var broker natstest.Recorder
	stop := natstest.Listen(t, ticketing.NewListener(o.Broker(&broker), "accounts", otelwrap.Handler(o.Telemetry, credited),
		&ticketing.ListenerOptions{Logger: quiet}))
	natstest.Deliver(t, &broker, deposit{ID: "d-1"})
	natstest.DeliverRaw(t, &broker, "deposit:received", []byte(`{"id":`))
	stop() // what is settled has been measured, too
	o.one(dropSpan)
	o.one(processSpan)
	o.none(ackSpan)
	if c := o.counts("messaging.client.operation.duration", "messaging.operation.name")["ack"]; c.n != 1 {
		t.Errorf("ack is counted %d times", c.n)
	}
}

// forgetful is a broker that cannot be told what became of a message.
type forgetful struct {
	natstest.Recorder
	err error
}

func (f *forgetful) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	return f.Recorder.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
		lost := &ticketing.Inbound{Message: in.Message, Sequence: in.Sequence, Attempt: in.Attempt}
		lost.Bind(settlerFunc(func(v ticketing.Verdict) error {
			_ = in.Settle(v)
			return f.err
		}))
		handle(ctx, lost)
	})
}

type settlerFunc func(ticketing.Verdict) error

func (f settlerFunc) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error { return f(v) }

func TestASettlementThatDoesNotReachTheBrokerFails(t *testing.T) {
	for errorType, err := range map[string]error{"settled": ticketing.ErrSettled, "_OTHER": errScripted} {
		o := observe(t, otelwrap.Options{OmitAcks: true})
		broker := &forgetful{err: err}
		natstest.Listen(t, ticketing.NewListener(o.Broker(broker), "accounts", otelwrap.Handler(o.Telemetry, credited),
			&ticketing.ListenerOptions{Logger: quiet}))
		natstest.Deliver(t, &broker.Recorder, deposit{ID: "d-1"}, natstest.WithID("event-1"))
		ack := o.one(ackSpan)
		if ack.Status.Code != codes.Error || ack.Status.Description != err.Error() {
			t.Errorf("status %+v", ack.Status)
		}
		wantAttrs(t, "ack", ack.Attributes, with(settleAttrs("ack", "1"), "error.type", errorType))
		if c := o.counts("messaging.client.operation.duration", "error.type")[errorType]; c.n != 1 {
			t.Errorf("counted %d times", c.n)
		}
	}
}

// The group and the settlement are the broker's to know.
func TestAHandlerOverAnotherReceiverStandsAlone(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	var broker natstest.Recorder
	natstest.Listen(t, ticketing.NewListener(&broker, "accounts", otelwrap.Handler(o.Telemetry, credited), nil))
	natstest.Deliver(t, &broker, deposit{ID: "d-1"}, natstest.WithID("event-1"), natstest.WithHeader("traceparent", parent))
	want := with(processAttrs)
	delete(want, "messaging.consumer.group.name")
	p := o.one(processSpan)
	wantAttrs(t, "process", p.Attributes, want)
	if p.Parent.SpanID().String() != spanID {
		t.Errorf("parent %v", p.Parent)
	}
	if all := o.spans.GetSpans(); len(all) != 1 {
		t.Errorf("spans %v", names(all))
	}
}

func names(spans tracetest.SpanStubs) (names []string) {
	for _, s := range spans {
		names = append(names, s.Name)
	}
	return names
}

// The settlement comes while the handler runs, and neither waits for the other.
func TestAHandlerThatIsGivenUpStillEndsItsSpan(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	release := make(chan struct{})
	broker := listened(t, o, func(context.Context, *ticketing.Delivery[deposit]) error {
		<-release
		return nil
	}, ticketing.ListenerOptions{HandlerTimeout: 20 * time.Millisecond})
	res := natstest.Deliver(t, broker, deposit{ID: "d-1"}, natstest.WithID("event-1"))
	if res.Kind != ticketing.Abandon {
		t.Error(res)
	}
	abandon := o.one("abandon deposit:received")
	o.none(processSpan)
	close(release)
	p := o.one(processSpan)
	if abandon.Parent.SpanID() != p.SpanContext.SpanID() {
		t.Errorf("parent %v", abandon.Parent)
	}
	wantAttrs(t, "abandon", abandon.Attributes, with(settleAttrs("abandon", "1"), "ticketing.reason", "…not returned"))
}
