package otelwrap_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natstest/brokertest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

var quiet = slog.New(slog.DiscardHandler)

func connect(t *testing.T, cfg natswrap.Config) *natswrap.Client {
	t.Helper()
	cfg.ClientID = "tickets-1"
	cfg.Logger = quiet
	c, err := natswrap.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// exchange publishes an event in a request's span and waits until it was
// handled, over a broker.
func exchange(t *testing.T, o *observed, c *natswrap.Client) (request trace.SpanContext) {
	t.Helper()
	broker := o.Broker(c)
	natstest.Listen(t, ticketing.NewListener(broker, "accounts", otelwrap.Handler(o.Telemetry, credited), nil))
	publisher := ticketing.NewPublisher[deposit](broker, nil)
	ctx, span := o.tracer.Tracer("test").Start(t.Context(), "request")
	defer span.End()
	if err := publisher.PublishAsync(ctx, deposit{ID: "d-1", Amount: 500}).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return span.SpanContext()
}

func TestOverJetStreamATraceGoesOnFromThePublisherToTheAcknowledgement(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	c := connect(t, natswrap.Config{
		URLs:     []string{natsserver.Run(t).URL()},
		Subjects: []ticketing.Subject{deposit{}.Subject()},
	})
	request := exchange(t, o, c)

	ack, process, publish := o.one(ackSpan), o.one(processSpan), o.one(publishSpan)
	for _, s := range []struct {
		name        string
		got, parent trace.SpanContext
	}{
		{"publish", publish.SpanContext, request},
		{"process", process.SpanContext, publish.SpanContext},
		{"ack", ack.SpanContext, process.SpanContext},
	} {
		if s.got.TraceID() != request.TraceID() {
			t.Errorf("%s is in another trace", s.name)
		}
		if s.parent.SpanID() != map[string]trace.SpanContext{
			"publish": publish.Parent, "process": process.Parent, "ack": ack.Parent,
		}[s.name].SpanID() {
			t.Errorf("%s has another parent", s.name)
		}
	}
	if id := attrs(publish.Attributes)["messaging.message.id"]; id == "" || id != attrs(process.Attributes)["messaging.message.id"] || id != attrs(ack.Attributes)["messaging.message.id"] {
		t.Errorf("ids %v, %v, %v", attrs(publish.Attributes), attrs(process.Attributes), attrs(ack.Attributes))
	}
}

func TestOverNATSStreamingAnAttemptIsTheRootOfItsTrace(t *testing.T) {
	o := observe(t, otelwrap.Options{})
	s := stanserver.Run(t)
	request := exchange(t, o, connect(t, natswrap.Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID()}))

	ack, process, publish := o.one(ackSpan), o.one(processSpan), o.one(publishSpan)
	if publish.Parent.SpanID() != request.SpanID() {
		t.Errorf("parent of the publish %v", publish.Parent)
	}
	if process.Parent.IsValid() || len(process.Links) > 0 || process.SpanContext.TraceID() == request.TraceID() {
		t.Errorf("process: parent %v, links %v", process.Parent, process.Links)
	}
	if ack.Parent.SpanID() != process.SpanContext.SpanID() {
		t.Errorf("parent of the ack %v", ack.Parent)
	}
}

// conn is a wrapped connection for the conformance suite.
type conn struct {
	*otelwrap.Broker
	within interface{ Close(context.Context) error }
}

func (c conn) Close(ctx context.Context) error { return c.within.Close(ctx) }

func TestAWrappedBrokerHoldsTheContract(t *testing.T) {
	// With no header of its own: the suite compares those that arrive.
	o := observe(t, otelwrap.Options{Propagator: propagation.NewCompositeTextMapPropagator()})
	s := natsserver.Run(t)
	events := slices.DeleteFunc(brokertest.Subjects(), func(s ticketing.Subject) bool {
		return strings.HasPrefix(string(s), ticketing.DeadLetterPrefix+".") // natswrap has a stream for these
	})
	brokertest.Run(t, brokertest.Harness{
		Connect: func(t testing.TB) brokertest.Conn {
			c, err := natswrap.Connect(t.Context(), natswrap.Config{
				URLs: []string{s.URL()}, ClientID: "tickets-1", Subjects: events, Logger: quiet,
			})
			if err != nil {
				t.Fatal(err)
			}
			return conn{o.Broker(c), c}
		},
		MaxPayload: 1 << 20,
	})
	o.spans.Reset()
}
