package jswrap_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// benchEvent is of about 150 bytes on the wire; Padding makes it larger.
type benchEvent struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Price   float64 `json:"price"`
	UserID  string  `json:"userId"`
	Version int     `json:"version"`
	Padding string  `json:"padding"`
}

func (benchEvent) Subject() ticketing.Subject { return "bench:event" }

func newBenchEvent(size int) benchEvent {
	return benchEvent{
		ID:      "6565f1c0a7d3a2b4c8e1f001",
		Title:   "a ticket",
		Price:   20.5,
		UserID:  "6565f1c0a7d3a2b4c8e1f002",
		Padding: strings.Repeat("x", max(size-120, 0)),
	}
}

// bench is one server with a raw client and one of ours.
type bench struct {
	raw    jetstream.JetStream
	rawNC  *nats.Conn
	client *jswrap.Client
}

const benchPending = 1024

func newBench(b *testing.B) *bench {
	b.Helper()
	server := natsserver.Run(b)
	c, err := jswrap.Connect(b.Context(), jswrap.Config{
		URLs:       []string{server.URL()},
		Subjects:   []ticketing.Subject{benchEvent{}.Subject()},
		MaxPending: benchPending,
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			b.Error(err)
		}
	})
	nc, err := nats.Connect(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	raw, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(benchPending))
	if err != nil {
		b.Fatal(err)
	}
	return &bench{raw: raw, rawNC: nc, client: c}
}

func (x *bench) rawMsg(b *testing.B, e benchEvent) *nats.Msg {
	data, err := json.Marshal(e)
	if err != nil {
		b.Error(err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		b.Error(err)
	}
	m := nats.NewMsg(string(e.Subject()))
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, id.String())
	return m
}

func eachSize(b *testing.B, f func(b *testing.B, e benchEvent)) {
	for _, size := range []int{150, 4096} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { f(b, newBenchEvent(size)) })
	}
}

func BenchmarkPublish(b *testing.B) {
	eachSize(b, func(b *testing.B, e benchEvent) {
		b.Run("raw", func(b *testing.B) {
			x := newBench(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.raw.PublishMsg(b.Context(), x.rawMsg(b, e)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("ours", func(b *testing.B) {
			x := newBench(b)
			p := ticketing.NewPublisher[benchEvent](x.client, nil)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Publish(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkPublishBy64(b *testing.B) {
	parallel := func(b *testing.B, f func() error) {
		b.ReportAllocs()
		var wg sync.WaitGroup
		var left atomic.Int64
		left.Store(int64(b.N))
		b.ResetTimer()
		for range 64 {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := f(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	eachSize(b, func(b *testing.B, e benchEvent) {
		b.Run("raw", func(b *testing.B) {
			x := newBench(b)
			parallel(b, func() error {
				_, err := x.raw.PublishMsg(context.Background(), x.rawMsg(b, e))
				return err
			})
		})
		b.Run("ours", func(b *testing.B) {
			x := newBench(b)
			p := ticketing.NewPublisher[benchEvent](x.client, nil)
			parallel(b, func() error { return p.Publish(context.Background(), e) })
		})
	})
}

func BenchmarkPublishAsync(b *testing.B) {
	eachSize(b, func(b *testing.B, e benchEvent) {
		b.Run("raw", func(b *testing.B) {
			x := newBench(b)
			b.ReportAllocs()
			for range b.N {
				if _, err := x.raw.PublishMsgAsync(x.rawMsg(b, e)); err != nil {
					b.Fatal(err)
				}
			}
			<-x.raw.PublishAsyncComplete()
		})
		b.Run("ours", func(b *testing.B) {
			x := newBench(b)
			p := ticketing.NewPublisher[benchEvent](x.client, nil)
			receipts := make([]*ticketing.Receipt, 0, benchPending)
			b.ReportAllocs()
			for range b.N {
				if len(receipts) == cap(receipts) {
					receipts = receipts[:0]
				}
				receipts = append(receipts, p.PublishAsync(b.Context(), e))
			}
			for _, r := range receipts {
				if err := r.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkConsume reports the time for a message out of 100 000 stored ones,
// whatever b.N is.
func BenchmarkConsume(b *testing.B) {
	const stored = 100_000
	eachSize(b, func(b *testing.B, e benchEvent) {
		x := newBench(b)
		for range stored {
			if _, err := x.raw.PublishMsgAsync(x.rawMsg(b, e)); err != nil {
				b.Fatal(err)
			}
		}
		<-x.raw.PublishAsyncComplete()
		group := 0
		measure := func(b *testing.B, consume func(name string, done func())) {
			b.ReportAllocs()
			for range b.N {
				group++
				var n atomic.Int64
				finished := make(chan struct{})
				consume("group"+strconv.Itoa(group), func() {
					if n.Add(1) == stored {
						close(finished)
					}
				})
				<-finished
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*stored), "ns/msg")
		}
		b.Run("raw", func(b *testing.B) {
			measure(b, func(name string, done func()) {
				cons, err := x.raw.CreateConsumer(b.Context(), jswrap.DefaultStream, jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy})
				if err != nil {
					b.Fatal(err)
				}
				cc, err := cons.Consume(func(m jetstream.Msg) {
					var e benchEvent
					if err := json.Unmarshal(m.Data(), &e); err != nil {
						b.Error(err)
					}
					if err := m.Ack(); err != nil {
						b.Error(err)
					}
					done()
				})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(cc.Stop)
			})
		})
		b.Run("receive", func(b *testing.B) {
			measure(b, func(name string, done func()) {
				ctx, cancel := context.WithCancel(context.Background())
				b.Cleanup(cancel)
				go func() {
					err := x.client.Receive(ctx, ticketing.Subscription{Subject: e.Subject(), Group: name}, func(_ context.Context, in *ticketing.Inbound) {
						var e benchEvent
						if err := json.Unmarshal(in.Data, &e); err != nil {
							b.Error(err)
						}
						if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
							b.Error(err)
						}
						done()
					})
					if err != nil {
						b.Error(err)
					}
				}()
			})
		})
		b.Run("listener", func(b *testing.B) {
			measure(b, func(name string, done func()) {
				ctx, cancel := context.WithCancel(context.Background())
				b.Cleanup(cancel)
				l := ticketing.NewListener(x.client, name, func(context.Context, *ticketing.Delivery[benchEvent]) error {
					done()
					return nil
				}, nil)
				go func() {
					if err := l.Listen(ctx); err != nil {
						b.Error(err)
					}
				}()
			})
		})
	})
}
