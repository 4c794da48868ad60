package stanwrap_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

// connectRaw opens a connection of stan.go's own.
func connectRaw(t testing.TB, s *stanserver.Server, id string) stan.Conn {
	t.Helper()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	sc, err := stan.Connect(s.ClusterID(), id, stan.NatsConn(nc))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sc.Close(); nc.Close() })
	return sc
}

type benchEvent struct {
	ID  string `json:"id"`
	Pad string `json:"pad"`
}

func (benchEvent) Subject() ticketing.Subject { return "bench:event" }

func newBenchEvent(size int) benchEvent {
	return benchEvent{ID: "1", Pad: strings.Repeat("x", size-20)}
}

// versus runs both sides in turns, n messages each, and reports the median
// ratio of their times: below 1 ours is the quicker one.
func versus(b *testing.B, n int, raw, ours func(n int)) {
	raw(n / 10)
	ours(n / 10)
	timed := func(f func(int)) float64 {
		begin := time.Now()
		f(n)
		return float64(time.Since(begin)) / float64(n)
	}
	var raws, ratios []float64
	for i := 0; b.Loop(); i++ {
		var r, o float64
		if i%2 == 0 {
			r, o = timed(raw), timed(ours)
		} else {
			o, r = timed(ours), timed(raw)
		}
		raws, ratios = append(raws, r), append(ratios, o/r)
	}
	median := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(raws), "raw-ns/msg")
	b.ReportMetric(median(ratios), "ours/raw")
}

// BenchmarkPublish compares a Publisher with json.Marshal and stan.go. Use a
// -benchtime such as 21x: one iteration is a round of both.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{150, 4096} {
		// The store keeps little: what is measured is not the collector.
		s := stanserver.Run(b, stanserver.Configure(func(o *stand.Options) { o.MaxMsgs = 1000 }))
		sc := connectRaw(b, s, "raw")
		c := connect(b, s.URL(), nil)
		e := newBenchEvent(size)
		p := ticketing.NewPublisher[benchEvent](c, nil)
		rawOne := func() {
			data, err := json.Marshal(&e)
			if err == nil {
				err = sc.Publish(string(e.Subject()), data)
			}
			if err != nil {
				b.Error(err)
			}
		}
		oursOne := func() {
			if err := p.Publish(b.Context(), e); err != nil {
				b.Error(err)
			}
		}
		repeat := func(goroutines int, f func()) func(int) {
			return func(n int) {
				var wg sync.WaitGroup
				for range goroutines {
					wg.Go(func() {
						for range n / goroutines {
							f()
						}
					})
				}
				wg.Wait()
			}
		}
		b.Run(fmt.Sprintf("sync/%d", size), func(b *testing.B) { versus(b, 1000, repeat(1, rawOne), repeat(1, oursOne)) })
		b.Run(fmt.Sprintf("64at once/%d", size), func(b *testing.B) { versus(b, 64*100, repeat(64, rawOne), repeat(64, oursOne)) })
		b.Run(fmt.Sprintf("async/%d", size), func(b *testing.B) {
			versus(b, 20_000, func(n int) {
				var wg sync.WaitGroup
				wg.Add(n)
				for range n {
					data, err := json.Marshal(&e)
					if err != nil {
						b.Error(err)
					}
					if _, err := sc.PublishAsync(string(e.Subject()), data, func(string, error) { wg.Done() }); err != nil {
						b.Error(err)
						wg.Done()
					}
				}
				wg.Wait()
			}, func(n int) {
				var last *ticketing.Receipt
				for range n {
					last = p.PublishAsync(b.Context(), e)
				}
				if err := last.Wait(b.Context()); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkConsume receives and acknowledges 100 000 stored events: stan.go
// with json.Unmarshal and its default of 1024 in flight, and a Listener with
// several windows.
func BenchmarkConsume(b *testing.B) {
	const n = 100_000
	for _, size := range []int{150, 4096} {
		s := stanserver.Run(b)
		sc := connectRaw(b, s, "raw")
		c := connect(b, s.URL(), nil)
		data, err := json.Marshal(newBenchEvent(size))
		if err != nil {
			b.Fatal(err)
		}
		var stored sync.WaitGroup
		stored.Add(n)
		for range n {
			if _, err := sc.PublishAsync("bench:event", data, func(string, error) { stored.Done() }); err != nil {
				b.Fatal(err)
			}
		}
		stored.Wait()
		groups := 0
		newGroup := func() string { groups++; return fmt.Sprintf("group-%d", groups) }
		raw := func(n int) {
			group := newGroup()
			done := make(chan struct{})
			sub, err := sc.QueueSubscribe("bench:event", group, func(m *stan.Msg) {
				var e benchEvent
				if err := json.Unmarshal(m.Data, &e); err != nil {
					b.Error(err)
				}
				_ = m.Ack()
				if n--; n == 0 {
					close(done)
				}
			}, stan.DurableName(group), stan.DeliverAllAvailable(), stan.SetManualAckMode())
			if err != nil {
				b.Fatal(err)
			}
			<-done
			_ = sub.Close()
		}
		for _, window := range []int{0, 128, 256, 1024} {
			b.Run(fmt.Sprintf("%d/window %d", size, window), func(b *testing.B) {
				versus(b, n, raw, func(n int) {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					err := ticketing.NewListener(c, newGroup(), func(context.Context, *ticketing.Delivery[benchEvent]) error {
						if n--; n == 0 {
							cancel()
						}
						return nil
					}, &ticketing.ListenerOptions{Window: window, Logger: quiet}).Listen(ctx)
					if err != nil {
						b.Error(err)
					}
				})
			})
		}
	}
}
