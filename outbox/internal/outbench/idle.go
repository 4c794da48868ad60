package outbench

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

// idle measures how often a relay asks the database when there is nothing to
// do. It takes its time, and measures once.
func (m *Bench) idle(b *testing.B) {
	const d = 10 * time.Second // three renewals of the lease
	s := &counted{Store: m.Store}
	stop := m.relayOf(b, s)
	time.Sleep(time.Second) // it starts
	before := s.calls.Load()
	time.Sleep(d) // what is measured
	calls := s.calls.Load() - before
	stop()
	for b.Loop() { // there is nothing to repeat
	}
	b.ReportMetric(float64(calls)/d.Seconds(), "calls/s")
	b.ReportMetric(0, "ns/op")
}

// counted counts the calls that a relay makes when it has nothing to do.
type counted struct {
	outbox.Store
	calls atomic.Int64
}

func (c *counted) Renew(ctx context.Context, l outbox.Lease, d time.Duration) error {
	c.calls.Add(1)
	return c.Store.Renew(ctx, l, d)
}

func (c *counted) Horizon(ctx context.Context) (outbox.Horizon, error) {
	c.calls.Add(1)
	return c.Store.Horizon(ctx)
}

func (c *counted) Pending(ctx context.Context, q outbox.Query) iter.Seq2[outbox.Row, error] {
	c.calls.Add(1)
	return c.Store.Pending(ctx, q)
}

func (c *counted) Purge(ctx context.Context, l outbox.Lease, age time.Duration, limit int) (int, error) {
	c.calls.Add(1)
	return c.Store.Purge(ctx, l, age, limit)
}
