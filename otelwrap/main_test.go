package otelwrap_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// deposit is the event of these tests.
type deposit struct {
	ID     string `json:"id"`
	Amount int64  `json:"amount"`
}

func (deposit) Subject() ticketing.Subject { return "deposit:received" }

var errScripted = errors.New("scripted failure")

// observed is a Telemetry with all that it made.
type observed struct {
	*otelwrap.Telemetry
	t      *testing.T
	spans  *tracetest.InMemoryExporter
	tracer *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
}

func observe(t *testing.T, opts otelwrap.Options) *observed {
	t.Helper()
	o := &observed{t: t, spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader()}
	o.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(o.spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(o.reader))
	t.Cleanup(func() {
		if err := errors.Join(o.tracer.Shutdown(context.Background()), meters.Shutdown(context.Background())); err != nil {
			t.Error(err)
		}
	})
	opts.TracerProvider, opts.MeterProvider = o.tracer, meters
	if opts.Propagator == nil {
		opts.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	o.Telemetry = otelwrap.New(&opts)
	return o
}

// wait waits until there are n spans of a name, and returns them in the order
// they ended.
func (o *observed) wait(name string, n int) []tracetest.SpanStub {
	o.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		var found []tracetest.SpanStub
		var all []string
		for _, s := range o.spans.GetSpans() {
			all = append(all, s.Name)
			if s.Name == name {
				found = append(found, s)
			}
		}
		if len(found) == n {
			return found
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%d spans %q, want %d; there are %q", len(found), name, n, all)
		}
		<-tick.C
	}
}

func (o *observed) one(name string) tracetest.SpanStub {
	o.t.Helper()
	return o.wait(name, 1)[0]
}

func (o *observed) none(name string) {
	o.t.Helper()
	if slices.ContainsFunc(o.spans.GetSpans(), func(s tracetest.SpanStub) bool { return s.Name == name }) {
		o.t.Errorf("there is a span %q", name)
	}
}

// attrs are attributes in a form that a test can compare.
func attrs(kvs []attribute.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

// wantAttrs compares all attributes. A value that begins with "…" is a part of
// the text.
func wantAttrs(t *testing.T, what string, kvs []attribute.KeyValue, want map[string]string) {
	t.Helper()
	got := attrs(kvs)
	for k, w := range want {
		g, ok := got[k]
		part, isPart := strings.CutPrefix(w, "…")
		if !ok || g != w && (!isPart || !strings.Contains(g, part)) {
			t.Errorf("%s: %s is %q, want %q", what, k, g, w)
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: %s is %q, and should not be there", what, k, g)
		}
	}
}

// metric collects the instrument of a name.
func (o *observed) metric(name string) metricdata.Metrics {
	o.t.Helper()
	var rm metricdata.ResourceMetrics
	if err := o.reader.Collect(context.Background(), &rm); err != nil {
		o.t.Fatal(err)
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name == name {
				return m
			}
		}
	}
	o.t.Fatalf("there is no metric %s", name)
	return metricdata.Metrics{}
}

// count is a data point: a counter's sum, or how often a histogram was added to.
type count struct {
	n     uint64
	attrs map[string]string
}

// counts are the data points of an instrument, by what tells them apart in a
// test: the attribute of that name, or nothing.
func (o *observed) counts(name, by string) map[string]count {
	o.t.Helper()
	points := make(map[string]count)
	add := func(n uint64, set attribute.Set) {
		a := attrs(set.ToSlice())
		points[a[by]] = count{points[a[by]].n + n, a}
	}
	switch data := o.metric(name).Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(uint64(p.Value), p.Attributes)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			add(p.Count, p.Attributes)
		}
	default:
		o.t.Fatalf("%s is a %T", name, data)
	}
	return points
}
