package otelwrap

import (
	"context"
	"maps"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// header is a message's header for a propagator. Names are case sensitive on
// NATS, and not in the conventions of tracing: they are written in lower case,
// as W3C and the NATS server have them, and read in any.
type header map[string][]string

// Get returns the first value of a name.
func (h header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	for n, v := range h {
		if strings.EqualFold(n, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// Set replaces all values of a name.
func (h header) Set(name, value string) {
	name = strings.ToLower(name)
	maps.DeleteFunc(h, func(n string, _ []string) bool { return strings.EqualFold(n, name) })
	h[name] = []string{value}
}

// Keys returns the names.
func (h header) Keys() []string {
	keys := make([]string, 0, len(h))
	for name := range h {
		keys = append(keys, name)
	}
	return keys
}

// extract returns ctx with what the header carries, and the trace context in
// it, which is invalid where there is none: then ctx may have one of its own.
func (t *Telemetry) extract(ctx context.Context, h map[string][]string) (context.Context, trace.SpanContext) {
	if len(h) == 0 {
		return ctx, trace.SpanContext{}
	}
	with := t.propagator.Extract(ctx, header(h))
	sc := trace.SpanContextFromContext(with)
	if !sc.IsRemote() || sc.Equal(trace.SpanContextFromContext(ctx)) {
		return with, trace.SpanContext{}
	}
	return with, sc
}

// inject returns h, or where the propagator has something to carry, a copy of h
// with that.
func (t *Telemetry) inject(ctx context.Context, h map[string][]string) map[string][]string {
	c := carrier{header: h}
	t.propagator.Inject(ctx, &c)
	return c.header
}

// carrier is a header that is copied before it is changed.
type carrier struct {
	header
	copied bool
}

// Set copies the header at the first time.
func (c *carrier) Set(name, value string) {
	if !c.copied {
		with := make(header, len(c.header)+2)
		maps.Copy(with, c.header)
		c.header, c.copied = with, true
	}
	c.header.Set(name, value)
}
