package otelwrap_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

// printTB stands for the t of a test: it prints what would fail it.
type printTB struct{ testing.TB }

func (printTB) Helper()                           {}
func (printTB) Cleanup(func())                    {}
func (printTB) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (printTB) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// t is the *testing.T of your test.
var t printTB

// A publish, the attempt of its handler, and the acknowledgement are one trace.
func Example() {
	spans := tracetest.NewInMemoryExporter() // in a service: an exporter of its choice, with a batcher
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	tel := otelwrap.New(&otelwrap.Options{TracerProvider: provider})

	var recorder natstest.Recorder // in a service: a natswrap.Client
	broker := tel.Broker(&recorder)
	deposits := ticketing.NewPublisher[deposit](broker, nil)
	credit := func(_ context.Context, d *ticketing.Delivery[deposit]) error {
		fmt.Println("credit", d.Event.Amount)
		return nil
	}
	stop := natstest.Listen(t, ticketing.NewListener(broker, "accounts", otelwrap.Handler(tel, credit), nil))

	if err := deposits.Publish(context.Background(), deposit{ID: "d-1", Amount: 500}); err != nil {
		fmt.Println(err)
	}
	for _, m := range recorder.Messages() { // a broker does this
		natstest.DeliverRaw(t, &recorder, m.Subject, m.Data, natstest.WithHeader("traceparent", m.Header["traceparent"][0]))
	}
	stop()

	all := spans.GetSpans()
	for _, s := range all {
		fmt.Printf("%s, in the publish's trace: %v\n", s.Name, s.SpanContext.TraceID() == all[0].SpanContext.TraceID())
	}
	// Output:
	// credit 500
	// publish deposit:received, in the publish's trace: true
	// process deposit:received, in the publish's trace: true
	// ack deposit:received, in the publish's trace: true
}

// With the global providers and propagator of a service, the wrapper needs no
// options.
func ExampleNew() {
	_ = func(ctx context.Context, c *natswrap.Client, credit ticketing.Handler[deposit]) error {
		tel := otelwrap.New(nil)
		return ticketing.NewListener(tel.Broker(c), "accounts", otelwrap.Handler(tel, credit), nil).Listen(ctx)
	}
}

// The sender of a transaction is wrapped as any other. The relay's own is, too:
// its spans are linked to the one of the transaction, whose context the event
// keeps.
func ExampleTelemetry_Sender() {
	tel := otelwrap.New(&otelwrap.Options{System: "postgresql"})
	_ = func(ctx context.Context, tx *sql.Tx, outbox func(*sql.Tx) ticketing.Sender, p *ticketing.Publisher[deposit]) error {
		return p.Via(tel.Sender(outbox(tx))).Publish(ctx, deposit{ID: "d-1"})
	}
}
