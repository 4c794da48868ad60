// Package outbench measures an outbox against what one would write by hand,
// over a real JetStream server in a process of its own. Both sides take turns
// in one run, and a ratio is the median of those of the rounds.
package outbench

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Event is about 150 bytes as JSON.
type Event struct {
	ID     string    `json:"id"`
	Title  string    `json:"title"`
	Price  int       `json:"price"`
	UserID string    `json:"userId"`
	At     time.Time `json:"at"`
}

// Subject implements ticketing.Event.
func (Event) Subject() ticketing.Subject { return "bench:event" }

// Key implements ticketing.Keyed.
func (e Event) Key() string { return e.ID }

// NewEvent makes the event of a key.
func NewEvent(key string) Event {
	return Event{ID: key, Title: "a ticket for the concert in the park", Price: 4200, UserID: "5f6c3a9e7b1d4c0012345678", At: time.Now()}
}

// Row is a row as the hand-written loop has it.
type Row struct {
	Seq     int64
	ID      string
	Subject string
	Data    []byte
}

// Subjects of the measurements.
const (
	Writers = 8
	Keys    = 1000
	batch   = 1000
)

// DB is one database with an outbox in it.
type DB struct {
	Store outbox.Store
	// Write commits a business row and an event of the key through the
	// outbox; Hand does the same without it, and Business without the event.
	Write, Hand, Business func(ctx context.Context, key string) error
	// Fill commits n events.
	Fill func(n, keys int) error
	// Select and Delete are those of the hand-written loop.
	Select func(ctx context.Context, limit int) ([]Row, error)
	Delete func(ctx context.Context, seqs []int64) error
	// Wake is what the hand-written loop waits for.
	Wake *outbox.Wakeups
}

// Bench is the databases and the broker.
type Bench struct {
	*DB
	client *natswrap.Client
	js     jetstream.JetStream
	nc     *nats.Conn
}

// New starts the broker. The test program has the role "nats".
func New(b *testing.B, db *DB) *Bench {
	s := natsserver.RunProcess(b, "nats")
	ctx := context.Background()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		b.Fatal(err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench:event"}})
	if err != nil {
		b.Fatal(err)
	}
	client, err := natswrap.Connect(ctx, natswrap.Config{URLs: []string{s.URL()}, ClientID: "bench", Stream: "BENCH", Subjects: []ticketing.Subject{"bench:event"}, VerifyOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close(ctx) })
	return &Bench{db, client, js, nc}
}

// drained waits until the table is empty.
func (m *Bench) drained(b *testing.B) {
	for {
		rows, err := m.Select(context.Background(), 1)
		if err != nil {
			b.Fatal(err)
		}
		if len(rows) == 0 {
			return
		}
		time.Sleep(time.Millisecond) // the pause of a poll, of a thousandth of what is measured
	}
}

// relay runs the relay until the result is called.
func (m *Bench) relay(b *testing.B) (stop func()) { return m.relayOf(b, m.Store) }

func (m *Bench) relayOf(b *testing.B, store outbox.Store) (stop func()) {
	r := outbox.NewRelay(store, m.client, &outbox.RelayOptions{Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	return func() { cancel(); done.Wait() }
}

// loop is the hand-written relay: it selects, publishes and deletes in
// batches, and waits for a wake-up when there is nothing.
func (m *Bench) loop(b *testing.B) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	wake := make(chan struct{}, 1)
	unsubscribe := m.Wake.Subscribe(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	var done sync.WaitGroup
	done.Go(func() {
		acks := make([]jetstream.PubAckFuture, 0, batch)
		seqs := make([]int64, 0, batch)
		for ctx.Err() == nil {
			rows, err := m.Select(ctx, batch)
			if err != nil {
				if ctx.Err() == nil {
					b.Error(err)
				}
				return
			}
			if len(rows) == 0 {
				select {
				case <-wake:
				case <-time.After(250 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			acks, seqs = acks[:0], seqs[:0]
			for _, r := range rows {
				msg := &nats.Msg{Subject: r.Subject, Data: r.Data, Header: nats.Header{"Ticketing-Id": {r.ID}, "Nats-Msg-Id": {r.ID}}}
				ack, err := m.js.PublishMsgAsync(msg)
				if err != nil {
					b.Error(err)
					return
				}
				acks = append(acks, ack)
				seqs = append(seqs, r.Seq)
			}
			for _, a := range acks {
				select {
				case <-a.Ok():
				case err := <-a.Err():
					b.Error(err)
					return
				}
			}
			if err := m.Delete(context.Background(), seqs); err != nil {
				b.Error(err)
				return
			}
		}
	})
	return func() { cancel(); done.Wait(); unsubscribe() }
}

// compare alternates the sides and reports the median of the ratios.
func compare(b *testing.B, unit string, ours, hand func() float64) {
	var ratios, a, h []float64
	for round := 0; b.Loop(); round++ {
		var x, y float64
		if round%2 == 0 {
			x, y = ours(), hand()
		} else {
			y, x = hand(), ours()
		}
		a, h, ratios = append(a, x), append(h, y), append(ratios, x/y)
	}
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(a), unit)
	b.ReportMetric(median(h), unit+"-by-hand")
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// Run runs all measurements.
func (m *Bench) Run(b *testing.B) {
	b.Run("transactions", func(b *testing.B) {
		compare(b, "tx/s", func() float64 { return m.writers(b, m.Write) }, func() float64 { return m.writers(b, m.Hand) })
	})
	b.Run("transactions-against-business", func(b *testing.B) {
		compare(b, "tx/s", func() float64 { return m.writers(b, m.Write) }, func() float64 { return m.writers(b, m.Business) })
	})
	b.Run("drain", func(b *testing.B) { m.drain(b, 20_000) })
	b.Run("end-to-end", func(b *testing.B) {
		compare(b, "events/s", func() float64 { return m.endToEnd(b, m.relay, m.Write) }, func() float64 { return m.endToEnd(b, m.loop, m.Hand) })
	})
	b.Run("latency", func(b *testing.B) { m.latency(b) })
	b.Run("latency-by-polling", func(b *testing.B) { m.polling(b) })
	b.Run("idle", func(b *testing.B) { m.idle(b) })
	b.Run("backlog", func(b *testing.B) { m.backlog(b) })
}

const turn = 500 * time.Millisecond

// writers returns how many transactions a second the writers make.
func (m *Bench) writers(b *testing.B, write func(ctx context.Context, key string) error) float64 {
	n, took := m.write(b, write, turn)
	if err := m.empty(); err != nil {
		b.Fatal(err)
	}
	return float64(n) / took.Seconds()
}

func (m *Bench) empty() error {
	for {
		rows, err := m.Select(context.Background(), 10_000)
		if err != nil || len(rows) == 0 {
			return err
		}
		var seqs []int64
		for _, r := range rows {
			seqs = append(seqs, r.Seq)
		}
		if err := m.Delete(context.Background(), seqs); err != nil {
			return err
		}
	}
}

func (m *Bench) write(b *testing.B, write func(ctx context.Context, key string) error, d time.Duration) (int64, time.Duration) {
	var n atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for w := range Writers {
		wg.Go(func() {
			for i := w; time.Since(begun) < d; i += Writers {
				if err := write(context.Background(), fmt.Sprint("key", i%Keys)); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load(), time.Since(begun)
}

func (m *Bench) drain(b *testing.B, n int) {
	one := func(side func(*testing.B) func()) func() float64 {
		return func() float64 {
			if err := m.Fill(n, Keys); err != nil {
				b.Fatal(err)
			}
			begun := time.Now()
			stop := side(b)
			m.drained(b)
			took := time.Since(begun)
			stop()
			return float64(n) / took.Seconds()
		}
	}
	compare(b, "events/s", one(m.relay), one(m.loop))
}

func (m *Bench) endToEnd(b *testing.B, relay func(*testing.B) func(), write func(ctx context.Context, key string) error) float64 {
	stop := relay(b)
	defer stop()
	begun := time.Now()
	n, _ := m.write(b, write, turn)
	m.drained(b)
	return float64(n) / time.Since(begun).Seconds()
}

// backlog compares the drain rate of a long backlog with that of a short one,
// and measures the relay's memory meanwhile.
func (m *Bench) backlog(b *testing.B) {
	const short, long = 10_000, 1_000_000
	drain := func(n, keys int) (float64, uint64) {
		if err := m.Fill(n, keys); err != nil {
			b.Fatal(err)
		}
		debug.FreeOSMemory()
		idle := inUse()
		begun := time.Now()
		stop := m.relay(b)
		most := uint64(0)
		for {
			most = max(most, inUse())
			rows, err := m.Select(context.Background(), 1)
			if err != nil {
				b.Fatal(err)
			}
			if len(rows) == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond) // the pause of a poll
		}
		took := time.Since(begun)
		stop()
		return float64(n) / took.Seconds(), most - min(idle, most)
	}
	for b.Loop() {
		before, _ := drain(short, Keys)
		rate, memory := drain(long, long/10)
		after, _ := drain(short, Keys)
		b.ReportMetric(rate, "events/s-1000000")
		b.ReportMetric((before+after)/2, "events/s-10000")
		b.ReportMetric(rate/((before+after)/2), "ratio")
		b.ReportMetric(float64(memory)/(1<<20), "MiB")
	}
	b.ReportMetric(0, "ns/op")
}

// inUse is what the process has of the system for its heap.
func inUse() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapSys - s.HeapReleased
}

// polling is latency where nobody wakes the relay.
func (m *Bench) polling(b *testing.B) {
	var all []time.Duration
	for b.Loop() {
		all = append(all, m.delays(b, m.relay, m.Hand)...) // which wakes the loop, not the relay
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99")
	b.ReportMetric(0, "ns/op")
}

// latency measures from commit to delivery, one transaction every 5 ms.
func (m *Bench) latency(b *testing.B) {
	var ours, hand []time.Duration
	for b.Loop() {
		ours = append(ours, m.delays(b, m.relay, m.Write)...)
		hand = append(hand, m.delays(b, m.loop, m.Hand)...)
	}
	at := func(v []time.Duration, p float64) float64 {
		s := slices.Sorted(slices.Values(v))
		return float64(s[int(p*float64(len(s)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(ours, .5), "ms-p50")
	b.ReportMetric(at(hand, .5), "ms-p50-by-hand")
	b.ReportMetric(at(ours, .99), "ms-p99")
	b.ReportMetric(at(hand, .99), "ms-p99-by-hand")
	b.ReportMetric(at(ours, .5)/at(hand, .5), "ratio-p50")
	b.ReportMetric(at(ours, .99)/at(hand, .99), "ratio-p99")
	b.ReportMetric(0, "ns/op")
}

// delays are the times from commit to delivery.
func (m *Bench) delays(b *testing.B, side func(*testing.B) func(), write func(ctx context.Context, key string) error) []time.Duration {
	stop := side(b)
	defer stop()
	delivered := make(chan time.Time, 1)
	sub, err := m.nc.Subscribe("bench:event", func(*nats.Msg) { delivered <- time.Now() })
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is closed anyway
	if err := m.nc.Flush(); err != nil {
		b.Fatal(err)
	}
	var all []time.Duration
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range 200 {
		<-tick.C
		if err := write(context.Background(), fmt.Sprint("key", i)); err != nil {
			b.Fatal(err)
		}
		committed := time.Now()
		all = append(all, max((<-delivered).Sub(committed), 0))
	}
	return all[20:] // warm
}
