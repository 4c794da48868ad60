package ticketing_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// endless is a Receiver that hands n messages over, with a window.
type endless struct {
	n      int
	data   func(i int) []byte
	window chan struct{}
	left   sync.WaitGroup
}

func (r *endless) SettleInbound(*ticketing.Inbound, ticketing.Verdict) error {
	<-r.window
	r.left.Done()
	return nil
}

func (r *endless) Receive(ctx context.Context, _ ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	r.left.Add(r.n)
	for i := range r.n {
		r.window <- struct{}{}
		in := &ticketing.Inbound{Sequence: uint64(i + 1), Attempt: 1}
		in.ID, in.Data = "id", r.data(i)
		in.Bind(r)
		handle(ctx, in)
	}
	r.left.Wait()
	return nil
}

// BenchmarkListener is what the listener itself takes for a message, decoding
// included: BenchmarkDecode is the part of that.
func BenchmarkListener(b *testing.B) {
	for _, concurrency := range []int{1, 16} {
		b.Run(fmt.Sprint("concurrency=", concurrency), func(b *testing.B) {
			var data [1000][]byte
			for key := range data {
				data[key] = fmt.Appendf(nil, `{"id":"key-%d","n":7}`, key)
			}
			r := &endless{n: b.N, window: make(chan struct{}, 512), data: func(i int) []byte { return data[i%len(data)] }}
			l := ticketing.NewListener(r, "group",
				func(context.Context, *ticketing.Delivery[note]) error { return nil },
				&ticketing.ListenerOptions{Concurrency: concurrency, DeadLetters: new(capture)})
			b.ReportAllocs()
			if err := l.Listen(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	data := []byte(`{"id":"key-100","n":7}`)
	b.ReportAllocs()
	for b.Loop() {
		e := new(note)
		if err := ticketing.JSON.Unmarshal(data, e); err != nil {
			b.Fatal(err)
		}
	}
}
