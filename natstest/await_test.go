package natstest_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest"
)

func withPrice(price int) func(ticketCreated) bool {
	return func(e ticketCreated) bool { return e.Price == price }
}

func TestAwaitReturnsWhatIsRecordedAlready(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1", Price: 20})
	publish(t, &r, ticketCreated{ID: "T2", Price: 25})
	publish(t, &r, ticketCreated{ID: "T3", Price: 25})
	if got := natstest.Await(t.Context(), t, &r, withPrice(25)); got.ID != "T2" {
		t.Errorf("got %+v, want the first match", got)
	}
	if got := natstest.Await[ticketCreated](t.Context(), t, &r, nil); got.ID != "T1" {
		t.Errorf("got %+v, want the first of all", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := natstest.Await(ended, t, &r, withPrice(25)); got.ID != "T2" {
		t.Errorf("got %+v with a context that has ended", got)
	}
}

func TestAwaitIsWokenByThePublish(t *testing.T) {
	var r natstest.Recorder
	asked := make(chan struct{})
	done := make(chan ticketCreated)
	go func() {
		done <- natstest.Await(t.Context(), t, &r, func(e ticketCreated) bool {
			if e.Price == 1 {
				close(asked)
			}
			return e.Price == 2
		})
	}()
	publish(t, &r, ticketCreated{ID: "T1", Price: 1})
	<-asked // it has looked, and will have to look again
	publish(t, &r, orderCreated{ID: "O1"})
	publish(t, &r, ticketCreated{ID: "T2", Price: 2})
	if got := <-done; got.ID != "T2" {
		t.Errorf("got %+v", got)
	}
}

func TestAwaitWorksInABubble(t *testing.T) {
	var outside natstest.Recorder // made outside, used inside, used outside again
	for i := range 2 {
		synctest.Test(t, func(t *testing.T) {
			go func() {
				time.Sleep(natstest.DefaultWait / 2) // of the bubble's clock
				publish(t, &outside, ticketCreated{Price: 20 + i})
			}()
			start := time.Now()
			natstest.Await(t.Context(), t, &outside, withPrice(20+i))
			if waited := time.Since(start); waited != natstest.DefaultWait/2 {
				t.Errorf("it waited %v", waited)
			}
			run(t, func(t testing.TB) { natstest.Await(context.Background(), t, &outside, withPrice(1)) })
		})
		publish(t, &outside, ticketCreated{Price: 5})
	}
}

func TestAwaitsOfManyGoroutinesEachGetTheirEvent(t *testing.T) {
	var r natstest.Recorder
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if got := natstest.Await(t.Context(), t, &r, withPrice(i)); got.Price != i {
				t.Errorf("got %+v, want price %d", got, i)
			}
		})
	}
	for i := range 20 {
		wg.Go(func() { publish(t, &r, ticketCreated{Price: i}) })
	}
	wg.Wait()
}

func TestAwaitGoesOnAfterAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		publish(t, &r, ticketCreated{Price: 1})
		publish(t, &r, ticketCreated{Price: 2})
		done := make(chan ticketCreated)
		go func() { done <- natstest.Await(t.Context(), t, &r, withPrice(3)) }()
		synctest.Wait()
		r.Reset()
		synctest.Wait()
		publish(t, &r, ticketCreated{Price: 3})
		if got := <-done; got.Price != 3 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAwaitIsBoundedAndSaysWhatWasRecordedInstead(t *testing.T) {
	tests := []struct {
		name   string
		ctx    func() (context.Context, context.CancelFunc)
		record func(*natstest.Recorder)
		want   string
		waited time.Duration
	}{
		{"no deadline", func() (context.Context, context.CancelFunc) { return context.Background(), func() {} },
			func(*natstest.Recorder) {}, `
natstest: Await: no such ticket:created: waited 10s
nothing at all was recorded`, natstest.DefaultWait},
		{"a deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Hour)
		}, func(r *natstest.Recorder) {
			publish(t, r, ticketCreated{ID: "T1", Price: 1})
			publish(t, r, orderCreated{ID: "O1"})
			publish(t, r, ticketCreated{ID: "T2", Price: 2})
		}, `
natstest: Await: no such ticket:created: context deadline exceeded
recorded ticket:created:
  1: {"id":"T1","title":"","price":1}
  2: {"id":"T2","title":"","price":2}
also recorded:
  1 order:created`, time.Hour},
		{"a cancelled context", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(errBoom)
			return ctx, func() {}
		}, func(r *natstest.Recorder) { publish(t, r, orderCreated{ID: "O1"}) }, `
natstest: Await: no such ticket:created: boom
also recorded:
  1 order:created`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r natstest.Recorder
				tt.record(&r)
				ctx, cancel := tt.ctx()
				defer cancel()
				start := time.Now()
				got := run(t, func(t testing.TB) { natstest.Await(ctx, t, &r, withPrice(20)) })
				wantText(t, got, tt.want)
				if waited := time.Since(start); waited != tt.waited {
					t.Errorf("it waited %v, want %v", waited, tt.waited)
				}
			})
		})
	}
}

func TestAwaitLeavesNothingBehindInTheRecorder(t *testing.T) {
	var r natstest.Recorder
	synctest.Test(t, func(t *testing.T) {
		func() {
			defer func() { _ = recover() }()
			publish(t, &r, ticketCreated{})
			natstest.Await(t.Context(), t, &r, func(ticketCreated) bool { panic("a match that fails") })
		}()
	})
	publish(t, &r, ticketCreated{}) // would close a channel of the bubble
	if n := len(r.Messages()); n != 2 {
		t.Errorf("%d recorded", n)
	}
}
