package natstest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

var tickets = ticketing.Subscription{Subject: "ticket:created", Group: "orders"}

// receive runs a Receive until the test ends, or until the returned function
// is called, which returns its error.
func receive(t *testing.T, r *natstest.Recorder, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- r.Receive(ctx, s, handle) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Receive: %v", err)
		}
	})
	return stop
}

// ack is a handle that has nothing to do.
func ack(_ context.Context, in *ticketing.Inbound) {
	_ = in.Settle(ticketing.Verdict{Kind: ticketing.Ack}) // Deliver tells
}

func TestReceiveRefusesAnInvalidSubscription(t *testing.T) {
	var r natstest.Recorder
	err := r.Receive(t.Context(), ticketing.Subscription{Subject: "ticket:created", Group: "a:b"}, ack)
	if !errors.Is(err, ticketing.ErrInvalidGroup) {
		t.Errorf("error is %v, want an invalid group", err)
	}
	err = r.Receive(t.Context(), ticketing.Subscription{Group: "a"}, ack)
	if !errors.Is(err, ticketing.ErrInvalidSubject) {
		t.Errorf("error is %v, want an invalid subject", err)
	}
}

func TestReceiveBlocksUntilItsContextEndsAndReturnsNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := r.Receive(ctx, tickets, ack); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != time.Hour {
			t.Errorf("it returned after %v", got)
		}
	})
}

func TestReceiveDoesNotGetWhatIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		receive(t, &r, tickets, func(context.Context, *ticketing.Inbound) { t.Error("a publish was looped back") })
		synctest.Wait()
		publish(t, &r, ticketCreated{ID: "T1"})
		synctest.Wait()
	})
}

func TestAMessageArrivesAsItWasDelivered(t *testing.T) {
	var r natstest.Recorder
	var got []*ticketing.Inbound
	receive(t, &r, tickets, func(ctx context.Context, in *ticketing.Inbound) {
		got = append(got, in)
		ack(ctx, in)
	})
	natstest.Deliver(t, &r, ticketCreated{ID: "T1"})
	res := natstest.DeliverRaw(t, &r, "ticket:created", []byte("x"),
		natstest.WithID("e2"), natstest.WithAttempt(3), natstest.WithHeader("a", "1"), natstest.WithHeader("a", "2"))
	first, second := got[0], got[1]
	if string(first.Data) != `{"id":"T1","title":"","price":0}` || first.ID != "delivered-1" || first.Attempt != 1 || first.Sequence != 1 || first.Header != nil {
		t.Errorf("first is %+v", first)
	}
	if first.Key != "" || first.Time.IsZero() || first.Subject != "ticket:created" {
		t.Errorf("first is %+v, want no key, as off the wire, and a time", first)
	}
	if string(second.Data) != "x" || second.ID != "e2" || second.Attempt != 3 || second.Sequence != 2 || !slices.Equal(second.Header["a"], []string{"1", "2"}) {
		t.Errorf("second is %+v", second)
	}
	if res.ID != "e2" || res.Group != "orders" {
		t.Errorf("result is %+v", res)
	}
}

func TestReceiveCallsHandleForOneMessageAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		s := tickets
		s.Window = 10
		running, most := 0, 0
		receive(t, &r, s, func(ctx context.Context, in *ticketing.Inbound) {
			running++
			most = max(most, running)
			time.Sleep(time.Second) // of the bubble's clock: the others pile up
			running--
			ack(ctx, in)
		})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}); !res.Acked() {
					t.Error(res)
				}
			})
		}
		wg.Wait()
		if most != 1 {
			t.Errorf("%d calls at once", most)
		}
	})
}

func TestReceiveHoldsNoMoreThanItsWindow(t *testing.T) {
	for _, tt := range []struct {
		name                string
		window, concurrency int
		want                int
	}{
		{"given", 3, 10, 3},
		{"by default twice the concurrency", 0, 2, 4},
		{"by default two", 0, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r natstest.Recorder
				s := tickets
				s.Window, s.Concurrency = tt.window, tt.concurrency
				var held []*ticketing.Inbound
				receive(t, &r, s, func(_ context.Context, in *ticketing.Inbound) { held = append(held, in) })
				var wg sync.WaitGroup
				for range 6 {
					wg.Go(func() { natstest.Deliver(t, &r, ticketCreated{}) })
				}
				synctest.Wait()
				if len(held) != tt.want {
					t.Errorf("%d messages were handed over, want %d", len(held), tt.want)
				}
				for settled := 0; settled < 6; settled++ {
					if open := len(held) - settled; open > tt.want {
						t.Errorf("%d unsettled, want at most %d", open, tt.want)
					}
					ack(nil, held[settled])
					synctest.Wait()
				}
				wg.Wait()
			})
		})
	}
}

func TestMembersOfAGroupTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		var got [2]int
		for i := range got {
			receive(t, &r, tickets, func(ctx context.Context, in *ticketing.Inbound) {
				got[i]++
				ack(ctx, in)
			})
		}
		synctest.Wait()
		for range 6 {
			natstest.Deliver(t, &r, ticketCreated{})
		}
		if got != [2]int{3, 3} {
			t.Errorf("the members got %v", got)
		}
	})
}

func TestABusyMemberLeavesTheMessageToItsPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		s := tickets
		s.Window = 1
		var held *ticketing.Inbound
		receive(t, &r, s, func(ctx context.Context, in *ticketing.Inbound) {
			if held == nil {
				held = in
				return
			}
			t.Error("it got more than its window")
			ack(ctx, in)
		})
		go natstest.Deliver(t, &r, ticketCreated{})
		synctest.Wait()
		receive(t, &r, s, ack)
		synctest.Wait()
		for range 5 {
			natstest.Deliver(t, &r, ticketCreated{})
		}
		ack(nil, held)
	})
}

func TestStoppingWaitsForWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		handed := make(chan *ticketing.Inbound, 1)
		var hctx context.Context
		stop := receive(t, &r, tickets, func(ctx context.Context, in *ticketing.Inbound) {
			hctx = ctx
			handed <- in
		})
		results := make(chan natstest.Result, 1)
		go func() { results <- natstest.Deliver(t, &r, ticketCreated{}) }()
		in := <-handed
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		time.Sleep(ticketing.DefaultDrainTimeout - 1) // of the bubble's clock
		synctest.Wait()
		if len(stopped) != 0 || hctx.Err() != nil {
			t.Error("it did not wait until the drain timeout")
		}
		if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
			t.Errorf("settle while draining: %v", err)
		}
		synctest.Wait()
		if len(stopped) != 1 {
			t.Error("it did not return when nothing was held")
		}
		if res := <-results; !res.Acked() {
			t.Error(res)
		}
	})
}

func TestStoppingHandsBackWhatIsHeldAfterTheDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		s := tickets
		s.DrainTimeout = time.Minute
		handed := make(chan *ticketing.Inbound, 1)
		stop := receive(t, &r, s, func(ctx context.Context, in *ticketing.Inbound) {
			handed <- in
			<-ctx.Done()
		})
		results := make(chan natstest.Result, 1)
		go func() { results <- natstest.Deliver(t, &r, ticketCreated{}, natstest.Within(time.Hour)) }()
		in := <-handed
		start := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("it drained for %v", got)
		}
		if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
			t.Errorf("a settlement after the stop gives %v, want ErrSettled", err)
		}
		res := <-results
		if got, want := res.String(), "retried after 0s: the listener stopped before it settled the message"; !res.Retried() || got != want {
			t.Errorf("result is %q, want %q", got, want)
		}
	})
}

func TestNothingIsHandedOverOnceTheContextHasEnded(t *testing.T) {
	for range 50 { // which of two ready channels a select takes is chance
		synctest.Test(t, func(t *testing.T) {
			var r natstest.Recorder
			ctx, cancel := context.WithCancel(t.Context())
			s := tickets
			s.Window = 5
			handed := 0
			returned := make(chan error, 1)
			begin := make(chan struct{})
			go func() {
				returned <- r.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
					<-begin
					handed++
					ack(ctx, in)
					cancel()
				})
			}()
			var delivering sync.WaitGroup
			defer delivering.Wait()
			for range 3 {
				delivering.Go(func() { natstest.Deliver(new(fakeTB), &r, ticketCreated{}) })
			}
			synctest.Wait()
			close(begin)
			if err := <-returned; err != nil {
				t.Error(err)
			}
			if handed != 1 {
				t.Errorf("%d were handed over, want the first", handed)
			}
		})
	}
}

func TestAListenerWhoseContextHasEndedIsNoneAnyMore(t *testing.T) {
	for range 50 { // Receive may or may not have noticed
		synctest.Test(t, func(t *testing.T) {
			var r natstest.Recorder
			ctx, cancel := context.WithCancel(t.Context())
			other := tickets
			other.Group = "mail"
			receive(t, &r, other, ack)
			go func() { _ = r.Receive(ctx, tickets, ack) }()
			synctest.Wait()
			cancel()
			if res := natstest.Deliver(t, &r, ticketCreated{}); !res.Acked() || res.Group != "mail" {
				t.Errorf("result is %v from group %q, want mail's", res, res.Group)
			}
		})
	}
}

func TestAHandleThatIsGoneEndsReceiveWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		result := make(chan error, 1)
		go func() {
			result <- r.Receive(t.Context(), tickets, func(context.Context, *ticketing.Inbound) { runtime.Goexit() })
		}()
		res := natstest.Deliver(t, &r, ticketCreated{}, natstest.Within(time.Hour))
		if !res.Retried() {
			t.Error(res)
		}
		if err := <-result; err == nil || err.Error() != "natstest: handle called runtime.Goexit" {
			t.Errorf("error is %v", err)
		}
	})
}
