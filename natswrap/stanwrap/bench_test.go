package stanwrap_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

func connectRaw(tb testing.TB, s *stanserver.Server, id string) stan.Conn {
	tb.Helper()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		tb.Fatal(err)
	}
	sc, err := stan.Connect(stanserver.DefaultClusterID, id, stan.NatsConn(nc))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sc.Close(); nc.Close() })
	return sc
}

type benchEvent struct {
	ID  string `json:"id"`
	Pad string `json:"pad"`
}

func (benchEvent) Subject() ticketing.Subject { return "bench:event" }

// versus runs both sides in turns and reports the median of the ratios of
// their times: below 1 the wrapper is quicker.
func versus(b *testing.B, chunk int, raw, ours func(n int)) {
	var ratios []float64
	raw(chunk / 4)
	ours(chunk / 4)
	for i := 0; b.Loop(); i++ {
		timed := func(f func(int)) time.Duration {
			start := time.Now()
			f(chunk)
			return time.Since(start)
		}
		var tr, to time.Duration
		if i%2 == 0 {
			tr, to = timed(raw), timed(ours)
		} else {
			to, tr = timed(ours), timed(raw)
		}
		ratios = append(ratios, float64(to)/float64(tr))
		b.ReportMetric(float64(tr.Nanoseconds())/float64(chunk), "raw-ns/msg")
	}
	sort.Float64s(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ours/raw")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{150, 4096} {
		e := benchEvent{ID: "1", Pad: strings.Repeat("x", size-20)}
		s := stanserver.Run(b)
		sc := connectRaw(b, s, "raw")
		c := connect(b, s.URL(), nil)
		p := ticketing.NewPublisher[benchEvent](c, nil)
		ctx := context.Background()
		rawOne := func() {
			data, _ := json.Marshal(&e)
			if err := sc.Publish("bench:event", data); err != nil {
				b.Error(err)
			}
		}
		oursOne := func() {
			if err := p.Publish(ctx, e); err != nil {
				b.Error(err)
			}
		}
		many := func(f func()) func(int) {
			return func(n int) {
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for range n / 64 {
							f()
						}
					})
				}
				wg.Wait()
			}
		}
		one := func(f func()) func(int) {
			return func(n int) {
				for range n {
					f()
				}
			}
		}
		b.Run(fmt.Sprintf("sync-%d", size), func(b *testing.B) { versus(b, 2000, one(rawOne), one(oursOne)) })
		b.Run(fmt.Sprintf("sync64-%d", size), func(b *testing.B) { versus(b, 64*100, many(rawOne), many(oursOne)) })
		b.Run(fmt.Sprintf("async-%d", size), func(b *testing.B) {
			versus(b, 20000, func(n int) {
				var wg sync.WaitGroup
				wg.Add(n)
				for range n {
					data, _ := json.Marshal(&e)
					if _, err := sc.PublishAsync("bench:event", data, func(_ string, err error) {
						if err != nil {
							b.Error(err)
						}
						wg.Done()
					}); err != nil {
						b.Error(err)
					}
				}
				wg.Wait()
			}, func(n int) {
				var last *ticketing.Receipt
				for range n {
					last = p.PublishAsync(ctx, e)
				}
				if err := last.Wait(ctx); err != nil {
					b.Error(err)
				}
			})
		})
		sc.Close()
	}
}
