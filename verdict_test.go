package ticketing_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestAVerdictSaysHowOftenTheMessageWasTried(t *testing.T) {
	fails := func(n int) ticketing.Handler[note] {
		return func(context.Context, *ticketing.Delivery[note]) error {
			if n--; n >= 0 {
				return errScripted
			}
			return nil
		}
	}
	overdue := func(context.Context, *ticketing.Delivery[note]) error {
		time.Sleep(time.Minute) // in a bubble
		return nil
	}
	for name, test := range map[string]struct {
		data    string
		broker  int // its count of deliveries
		handler ticketing.Handler[note]
		stop    bool // before the message is settled
		kind    ticketing.VerdictKind
		want    int
	}{
		"acknowledged at once":         {`{"id":"a"}`, 1, fails(0), false, ticketing.Ack, 1},
		"acknowledged after a failure": {`{"id":"a"}`, 1, fails(1), false, ticketing.Ack, 2},
		"delivered before":             {`{"id":"a"}`, 3, fails(0), false, ticketing.Ack, 1},
		"dead after the last attempt":  {`{"id":"a"}`, 2, fails(9), false, ticketing.Drop, 4},
		"dead because nobody can read": {`{"id":`, 2, fails(0), false, ticketing.Drop, 0},
		"given up while it runs":       {`{"id":"a"}`, 2, overdue, false, ticketing.Abandon, 1},
		"handed back during its wait":  {`{"id":"a"}`, 2, fails(9), true, ticketing.Retry, 1},
		"done during the stop":         {`{"id":"a"}`, 1, overdue, true, ticketing.Ack, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				timeout := 10 * time.Second
				if test.stop {
					timeout = time.Hour
				}
				l := listen(t, test.handler, ticketing.ListenerOptions{
					MaxAttempts: 4, HandlerTimeout: timeout, ShutdownTimeout: time.Hour,
				})
				l.broker.deliverAttempt(test.data, test.broker)
				if test.stop {
					synctest.Wait()
					l.cancel()
				}
				if v := l.want(test.kind); v.Attempts != test.want {
					t.Errorf("%d attempts, want %d", v.Attempts, test.want)
				}
				time.Sleep(time.Minute) // in a bubble: the overdue handler returns
				l.stop()
			})
		})
	}
}

func TestAFailedAttemptThatIsKeptSaysWhichOneItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broker natstest.Recorder
		natstest.Listen(t, ticketing.NewListener(&broker, "group", func(context.Context, *ticketing.Delivery[note]) error {
			return errScripted
		}, &ticketing.ListenerOptions{MaxAttempts: 4}))
		res := natstest.Deliver(t, &broker, note{ID: "a"}, natstest.WithAttempt(2), natstest.UntilSettled())
		got := []int{}
		for _, v := range append(res.Kept, res.Verdict) {
			got = append(got, v.Attempts)
		}
		if !slices.Equal(got, []int{2, 3, 4}) {
			t.Errorf("attempts %v, want 2, 3 and 4", got)
		}
	})
}
