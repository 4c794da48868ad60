package main

import (
	"context"
	"errors"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

// observed is this module's side with tracing and metrics.
func observed(t *otelwrap.Telemetry, b connection, listener func(connection) func(way) side) contender {
	c := ours(t.Broker(b), listener)
	consume := c.consume
	c.consume = func(w way) side {
		w.tel = t
		return consume(w)
	}
	return c
}

// observeRows compare this module with tracing and metrics to itself without:
// with every trace sampled, which has the bar, and as information with one in
// ten and no span for an acknowledgement. Spans are exported in batches to
// nowhere.
func observeRows() []row {
	e := makeEvent(small, 0)
	var rows []row
	for _, b := range []broker{jetStream, streaming} {
		for _, o := range []struct {
			name     string
			sampled  float64
			omitAcks bool
			bar      bar
		}{
			{"observed", 1, false, bar{atLeast, 0.85}},
			{"sampled", 0.1, true, bar{}},
		} {
			observe := func(name string, n int, stored bool, with func(contender) side, between func(*match) func(context.Context, *turn) error) row {
				return row{b.name + "/" + o.name + "-" + name + "/" + small.name, func(ctx context.Context, run *bench) ([]metric, error) {
					return b.withMatch(ctx, func(m *match) (metrics []metric, err error) {
						tel, stop := discarding(o.sampled, o.omitAcks)
						defer func() { err = errors.Join(err, stop()) }()
						n := run.n(n)
						if stored {
							if err := m.store(ctx, n, storedEvents(small)); err != nil {
								return nil, err
							}
						}
						pairs, err := run.interleave(ctx, contest{
							n: n, ours: with(m.observed(tel)), raw: with(m.ours), between: between(m),
						})
						if err != nil {
							return nil, err
						}
						return []metric{throughputRatio(pairs, o.bar), cpuRatio(pairs), moreAllocs(pairs, bar{})}, nil
					})
				}}
			}
			stored := func(m *match) func(context.Context, *turn) error { return m.stored }
			consumed := func(m *match) func(context.Context, *turn) error { return m.consumed }
			rows = append(rows,
				observe("publish", 2000, false, func(c contender) side { return oneByOne(c, &e) }, stored),
				observe("async", 16000, false, func(c contender) side { return c.publishAsync(&e) }, stored),
				observe("consume", 50_000, true, func(c contender) side { return c.consume(way{lanes: 1, window: b.rawWindow}) }, consumed),
			)
		}
	}
	return rows
}

// discarding returns a Telemetry whose spans and metrics go nowhere.
func discarding(sampled float64, omitAcks bool) (t *otelwrap.Telemetry, stop func() error) {
	tracers := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(tracetest.NewNoopExporter()),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(sampled))),
	)
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	stop = func() error {
		ctx := context.Background()
		return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx))
	}
	return otelwrap.New(&otelwrap.Options{TracerProvider: tracers, MeterProvider: meters, OmitAcks: omitAcks}), stop
}
