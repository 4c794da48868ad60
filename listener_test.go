package ticketing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func (note) Subject() ticketing.Subject { return "note:taken" }
func TestAnEventIsAcknowledgedAfterTheHandlerReturnedNilAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var got ticketing.Delivery[note]
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			got = *d
			<-release
			return nil
		}, ticketing.ListenerOptions{})
		in := l.broker.deliverNote("a", 7)
		l.wantNone()
		close(release)
		l.want(ticketing.Ack)
		if got.Event != (note{"a", 7}) || got.ID != in.ID || got.Attempt != 1 || got.Sequence != in.Sequence || got.Header["X-Kept"] == nil {
			t.Errorf("delivery %+v does not say what was sent", got)
		}
		l.stop()
	})
}

func TestAKeyInBackoffHoldsItsSuccessorsAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			order = append(order, fmt.Sprint(d.Event.ID, d.Event.N))
			if d.Event == (note{"a", 1}) && d.Attempt == 1 {
				return errScripted
			}
			return nil
		}, ticketing.ListenerOptions{}) // one handler: the backoff must not hold it
		l.broker.deliverNote("a", 1)
		l.broker.deliverNote("a", 2)
		l.broker.deliverNote("b", 1)
		for range 3 {
			l.want(ticketing.Ack)
		}
		if got := fmt.Sprint(order); got != "[a1 b1 a1 a2]" {
			t.Errorf("handled in the order %s", got)
		}
		l.stop()
	})
}

func TestAtMostConcurrencyHandlersRunAtOnceAndOnePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := map[string]int{}, 0
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			mu.Lock()
			running[d.Event.ID]++
			if running[d.Event.ID] > 1 {
				t.Error("two handlers of one key")
			}
			all := 0
			for _, n := range running {
				all += n
			}
			most = max(most, all)
			mu.Unlock()
			time.Sleep(time.Second) // work, in the bubble's time
			mu.Lock()
			running[d.Event.ID]--
			mu.Unlock()
			return nil
		}, ticketing.ListenerOptions{Concurrency: 3})
		for i := range 40 {
			l.broker.deliverNote(fmt.Sprint(i%8), i)
		}
		for range 40 {
			l.want(ticketing.Ack)
		}
		if most != 3 {
			t.Errorf("%d handlers ran at once, want 3", most)
		}
		l.stop()
	})
}

func TestListenFailsAtOnce(t *testing.T) {
	ok := func(context.Context, *ticketing.Delivery[note]) error { return nil }
	onlyReceiver := struct{ ticketing.Receiver }{newFakeBroker()}
	noStream := newFakeBroker()
	noStream.check = ticketing.ErrNoStream
	for name, test := range map[string]struct {
		receiver ticketing.Receiver
		group    string
		opts     *ticketing.ListenerOptions
		want     error
		text     string
	}{
		"an empty group":             {newFakeBroker(), "", nil, ticketing.ErrInvalidGroup, "it is empty"},
		"a colon in the group":       {newFakeBroker(), "a:b", nil, ticketing.ErrInvalidGroup, `':' is not`},
		"a long group":               {newFakeBroker(), strings.Repeat("g", 65), nil, ticketing.ErrInvalidGroup, "at most 64"},
		"no place for dead letters":  {onlyReceiver, "g", nil, ticketing.ErrNoDeadLetters, "set ListenerOptions.DeadLetters"},
		"no stream for dead letters": {noStream, "g", nil, ticketing.ErrNoDeadLetters, "no stream"},
		"a negative concurrency":     {newFakeBroker(), "g", &ticketing.ListenerOptions{Concurrency: -1}, nil, "Concurrency cannot be negative"},
		"a negative window":          {newFakeBroker(), "g", &ticketing.ListenerOptions{Window: -1}, nil, "cannot be negative"},
		"backoff bounds reversed":    {newFakeBroker(), "g", &ticketing.ListenerOptions{MinBackoff: 2, MaxBackoff: 1}, nil, "over MaxBackoff"},
	} {
		t.Run(name, func(t *testing.T) {
			err := ticketing.NewListener(test.receiver, test.group, ok, test.opts).Listen(t.Context())
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Listen = %v, want %v with %q", err, test.want, test.text)
			}
		})
	}
	//lint:ignore SA1012 a nil context is the point
	if err := ticketing.NewListener(newFakeBroker(), "g", ok, nil).Listen(nil); err == nil || !strings.Contains(err.Error(), "context is nil") {
		t.Errorf("Listen(nil) = %v", err)
	}
}

func (longEvent) Subject() ticketing.Subject {
	return ticketing.Subject(strings.Repeat("x", ticketing.MaxSubjectLen))
}

func TestTheSubscriptionHasTheListenersOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil },
			ticketing.ListenerOptions{Concurrency: 3, AckWait: time.Minute, Window: 77, ShutdownTimeout: time.Hour})
		want := ticketing.Subscription{Subject: "note:taken", Group: "group", AckWait: time.Minute, Window: 77, Concurrency: 3, DrainTimeout: time.Hour}
		if l.broker.sub != want {
			t.Errorf("subscription %+v, want %+v", l.broker.sub, want)
		}
		l.stop()
	})
}

func (trap) Subject() ticketing.Subject { return "note:taken" }
