package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// listen runs a Listener until the test ends.
func listen[E ticketing.Event](t *testing.T, r *natstest.Recorder, group string, opts ticketing.ListenerOptions, h ticketing.Handler[E]) {
	t.Helper()
	opts.Logger = quiet
	l := ticketing.NewListener(r, group, h, &opts)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- l.Listen(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-result; err != nil {
			t.Errorf("Listen: %v", err)
		}
	})
}

// returns is a handler that fails with the given errors in turn, and then
// succeeds.
func returns(errs ...error) ticketing.Handler[ticketCreated] {
	return func(context.Context, *ticketing.Delivery[ticketCreated]) error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

func TestDeliverReturnsWhatTheListenerMadeOfIt(t *testing.T) {
	tests := []struct {
		name     string
		handler  ticketing.Handler[ticketCreated]
		opts     []natstest.DeliverOption
		is       func(natstest.Result) bool
		want     string
		recorded []string // subjects
	}{
		{"success", returns(), nil, natstest.Result.Acked, "acked", nil},
		{"failure", returns(ticketing.RetryAfter(3*time.Second, errBoom)), nil, natstest.Result.Retried,
			"retried after 3s: retry after 3s: boom", nil},
		{"permanent failure", returns(ticketing.Permanent(errBoom)), nil, natstest.Result.DeadLettered,
			"dead-lettered: permanent: boom", []string{"dead.orders.ticket:created"}},
		{"last attempt", returns(errBoom), []natstest.DeliverOption{natstest.WithAttempt(4)}, natstest.Result.DeadLettered,
			"dead-lettered: boom", []string{"dead.orders.ticket:created"}},
		{"last but one", returns(ticketing.RetryAfter(0, errBoom)), []natstest.DeliverOption{natstest.WithAttempt(3)}, natstest.Result.Retried,
			"retried after 0s: retry after 0s: boom", nil},
		{"panic", func(context.Context, *ticketing.Delivery[ticketCreated]) error { panic("oh") },
			[]natstest.DeliverOption{natstest.WithAttempt(4)}, natstest.Result.DeadLettered,
			"dead-lettered: handler panicked: oh", []string{"dead.orders.ticket:created"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r natstest.Recorder
			listen(t, &r, "orders", ticketing.ListenerOptions{MaxAttempts: 4}, tt.handler)
			res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}, tt.opts...)
			if !tt.is(res) || res.String() != tt.want {
				t.Errorf("result is %q (%+v), want %q", res, res.Verdict, tt.want)
			}
			if res.Err != nil && tt.name != "panic" && !errors.Is(res.Err, errBoom) {
				t.Errorf("error is %v, want the handler's", res.Err)
			}
			var recorded []string
			for _, m := range r.Messages() {
				recorded = append(recorded, string(m.Subject))
				if m.ID != res.ID {
					t.Errorf("the dead letter's id is %q, want %q", m.ID, res.ID)
				}
			}
			if !slices.Equal(recorded, tt.recorded) {
				t.Errorf("recorded %q, want %q", recorded, tt.recorded)
			}
		})
	}
}

func TestDeliverNeedsNoBackoffToPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		attempts := 0
		listen(t, &r, "orders", ticketing.ListenerOptions{}, func(context.Context, *ticketing.Delivery[ticketCreated]) error {
			attempts++
			return errBoom
		})
		start := time.Now()
		res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"})
		if !res.Retried() || !errors.Is(res.Err, errBoom) || res.After < 800*time.Millisecond || res.After > 1200*time.Millisecond {
			t.Errorf("result is %+v, want a retry after a second or so", res)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("it waited %v", waited)
		}
		time.Sleep(time.Hour) // of the bubble's clock
		if attempts != 1 {
			t.Errorf("%d attempts, want one: the listener kept the message", attempts)
		}
	})
}

func TestDeliverUntilSettledSeesTheListenersOwnRetries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errs  []error
		want  string
		after []time.Duration
	}{
		{"success in the end", []error{ticketing.RetryAfter(time.Hour, errBoom), ticketing.RetryAfter(2*time.Hour, errBoom)},
			"acked", []time.Duration{time.Hour, 2 * time.Hour}},
		{"dead letter in the end", []error{ticketing.RetryAfter(time.Hour, errBoom), ticketing.RetryAfter(time.Hour, errBoom), errBoom},
			"dead-lettered: boom", []time.Duration{time.Hour, time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r natstest.Recorder
				listen(t, &r, "orders", ticketing.ListenerOptions{MaxAttempts: 3}, returns(tt.errs...))
				res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}, natstest.UntilSettled())
				if res.String() != tt.want {
					t.Errorf("result is %q, want %q", res, tt.want)
				}
				var after []time.Duration
				for _, v := range res.Kept {
					after = append(after, v.After)
					if v.Kind != ticketing.Retry || !errors.Is(v.Err, errBoom) {
						t.Errorf("kept because of %+v", v)
					}
				}
				if !slices.Equal(after, tt.after) {
					t.Errorf("kept for %v, want %v", after, tt.after)
				}
			})
		})
	}
}

func TestADeadLetterThatIsNotStoredKeepsTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		listen(t, &r, "orders", ticketing.ListenerOptions{}, returns(ticketing.Permanent(errBoom)))
		r.FailNext(ticketing.OutcomeBusy)
		res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}, natstest.UntilSettled())
		if !res.DeadLettered() || len(res.Kept) != 1 || !errors.Is(res.Kept[0].Err, ticketing.ErrBusy) {
			t.Errorf("result is %q, kept %v; want a dead letter after a busy one", res, res.Kept)
		}
		if n := len(r.Messages()); n != 1 {
			t.Errorf("%d dead letters, want one", n)
		}
	})
}

func TestDeliverRawHandsOverWhatCannotBeDecoded(t *testing.T) {
	var r natstest.Recorder
	listen(t, &r, "orders", ticketing.ListenerOptions{}, returns())
	res := natstest.DeliverRaw(t, &r, "ticket:created", []byte(`{"id":`), natstest.WithHeader("trace", "x"))
	if !res.DeadLettered() {
		t.Errorf("result is %q", res)
	}
	dead := r.Messages()[0]
	if string(dead.Data) != `{"id":` || !slices.Equal(dead.Header["trace"], []string{"x"}) {
		t.Errorf("the dead letter is %+v", dead)
	}
	if res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}); !res.Acked() {
		t.Errorf("the next event: %v", res)
	}
}

func TestTheHandlerSeesWhatWasDelivered(t *testing.T) {
	var r natstest.Recorder
	var got ticketing.Delivery[ticketCreated]
	listen(t, &r, "orders", ticketing.ListenerOptions{}, func(_ context.Context, d *ticketing.Delivery[ticketCreated]) error {
		got = *d
		return nil
	})
	natstest.Deliver(t, &r, ticketCreated{ID: "T1", Price: 20}, natstest.WithID("e1"), natstest.WithAttempt(2), natstest.WithHeader("trace", "x"))
	if got.Event != (ticketCreated{ID: "T1", Price: 20}) || got.ID != "e1" || got.Attempt != 2 || got.Header["trace"][0] != "x" {
		t.Errorf("the handler got %+v", got)
	}
}

func TestDeliverWaitsForTheListenerToSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		go func() {
			time.Sleep(natstest.DefaultWait - 1) // of the bubble's clock
			listen(t, &r, "orders", ticketing.ListenerOptions{}, returns())
		}()
		if res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}); !res.Acked() {
			t.Error(res)
		}
	})
}

func TestTheWaitForTheVerdictBeginsWithTheHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		go func() {
			time.Sleep(natstest.DefaultWait - 1) // of the bubble's clock
			listen(t, &r, "orders", ticketing.ListenerOptions{}, func(context.Context, *ticketing.Delivery[ticketCreated]) error {
				time.Sleep(natstest.DefaultWait - 1) // of the bubble's clock
				return nil
			})
		}()
		if res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}); !res.Acked() {
			t.Error(res)
		}
	})
}

func TestToGroupChoosesAmongGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		var got []string
		for _, group := range []string{"orders", "mail"} {
			listen(t, &r, group, ticketing.ListenerOptions{}, func(context.Context, *ticketing.Delivery[ticketCreated]) error {
				got = append(got, group)
				return nil
			})
		}
		synctest.Wait()
		for _, group := range []string{"mail", "orders", "mail"} {
			if res := natstest.Deliver(t, &r, ticketCreated{}, natstest.ToGroup(group)); !res.Acked() || res.Group != group {
				t.Errorf("result is %+v", res)
			}
		}
		if want := []string{"mail", "orders", "mail"}; !slices.Equal(got, want) {
			t.Errorf("delivered to %q, want %q", got, want)
		}
	})
}

func TestDeliverSaysWhyNobodyTookTheEvent(t *testing.T) {
	hold := func(context.Context, *ticketing.Inbound) {}
	block := func(ctx context.Context, _ *ticketing.Inbound) { <-ctx.Done() }
	sub := func(s ticketing.Subject, group string, window int) ticketing.Subscription {
		return ticketing.Subscription{Subject: s, Group: group, Window: window}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, r *natstest.Recorder)
		opts    []natstest.DeliverOption
		want    string
	}{
		{"nobody", func(*testing.T, *natstest.Recorder) {}, nil, `
natstest: Deliver ticket:created: no listener on it within 10s; Listen has to run in another goroutine
nobody listens on any subject`},
		{"others", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("order:created", "tickets", 0), hold)
			receive(t, r, sub("order:created", "mail", 0), hold)
			receive(t, r, sub("a", "mail", 0), hold)
		}, []natstest.DeliverOption{natstest.Within(time.Second)}, `
natstest: Deliver ticket:created: no listener on it within 1s; Listen has to run in another goroutine
listening on a: "mail"
listening on order:created: "mail", "tickets"`},
		{"one that stopped", func(t *testing.T, r *natstest.Recorder) {
			stop := receive(t, r, sub("ticket:created", "orders", 0), hold)
			synctest.Wait()
			if err := stop(); err != nil {
				t.Error(err)
			}
		}, nil, `
natstest: Deliver ticket:created: no listener on it within 10s; Listen has to run in another goroutine
has stopped: "orders"
nobody listens on any subject`},
		{"two that stopped", func(t *testing.T, r *natstest.Recorder) {
			for _, group := range []string{"orders", "mail"} {
				stop := receive(t, r, sub("ticket:created", group, 0), hold)
				synctest.Wait()
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
		}, nil, `
natstest: Deliver ticket:created: no listener on it within 10s; Listen has to run in another goroutine
has stopped: "mail", "orders"
nobody listens on any subject`},
		{"another group", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("ticket:created", "orders", 0), hold)
		}, []natstest.DeliverOption{natstest.ToGroup("mail")}, `
natstest: Deliver ticket:created: no listener of group "mail" on it within 10s
listening on ticket:created: "orders"`},
		{"several groups", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("ticket:created", "orders", 0), hold)
			receive(t, r, sub("ticket:created", "mail", 0), hold)
		}, nil, `
natstest: Deliver ticket:created: the groups "mail", "orders" listen on it: choose one with ToGroup`},
		{"no verdict", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("ticket:created", "orders", 0), hold)
		}, nil, `
natstest: Deliver ticket:created: the listener of group "orders" did not settle the message within 10s`},
		{"a full window", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("ticket:created", "orders", 1), hold)
			go natstest.Deliver(new(fakeTB), r, ticketCreated{}, natstest.Within(time.Hour))
		}, nil, `
natstest: Deliver ticket:created: group "orders" holds its window of unsettled messages, for 10s`},
		{"a full window of a chosen group", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("ticket:created", "orders", 1), hold)
			receive(t, r, sub("ticket:created", "mail", 1), hold)
			go natstest.Deliver(new(fakeTB), r, ticketCreated{}, natstest.Within(time.Hour), natstest.ToGroup("mail"))
		}, []natstest.DeliverOption{natstest.ToGroup("mail")}, `
natstest: Deliver ticket:created: group "mail" holds its window of unsettled messages, for 10s`},
		{"a handle that blocks", func(t *testing.T, r *natstest.Recorder) {
			receive(t, r, sub("ticket:created", "orders", 5), block)
			go natstest.Deliver(new(fakeTB), r, ticketCreated{}, natstest.Within(time.Hour))
		}, nil, `
natstest: Deliver ticket:created: the listener of group "orders" has not returned from the message before this one after 10s`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r natstest.Recorder
				tt.prepare(t, &r)
				synctest.Wait()
				got := run(t, func(t testing.TB) { natstest.Deliver(t, &r, ticketCreated{ID: "T1"}, tt.opts...) })
				wantText(t, got, tt.want)
			})
		})
	}
}

func TestDeliverIsBoundedWhileTheListenerRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		handed := make(chan *ticketing.Inbound, 1)
		receive(t, &r, tickets, func(_ context.Context, in *ticketing.Inbound) {
			for range 2 {
				if !in.Retain(ticketing.Verdict{Kind: ticketing.Retry, After: time.Hour, Err: errBoom}) {
					t.Error("Retain was refused")
				}
			}
			handed <- in // and forget it
		})
		start := time.Now()
		got := run(t, func(t testing.TB) { natstest.Deliver(t, &r, ticketCreated{}, natstest.UntilSettled()) })
		wantText(t, got, `natstest: Deliver ticket:created: the listener of group "orders" did not settle the message within 10s of when it was due again; it kept it after failed attempt 2, for 1h0m0s: boom`)
		if waited := time.Since(start); waited != time.Hour+natstest.DefaultWait {
			t.Errorf("it waited %v", waited)
		}
		in := <-handed
		if in.Retain(ticketing.Verdict{Kind: ticketing.Retry}) {
			t.Error("a message that was taken back can be kept")
		}
		if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
			t.Errorf("settling it gives %v, want ErrSettled", err)
		}
	})
}

func TestDeliverToAListenerThatStopsMeanwhileIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r natstest.Recorder
		s := tickets
		s.Window = 5
		var blocked []*ticketing.Inbound
		release := make(chan struct{})
		stop := receive(t, &r, s, func(ctx context.Context, in *ticketing.Inbound) {
			blocked = append(blocked, in)
			<-release
			ack(ctx, in)
		})
		first := make(chan natstest.Result, 1)
		go func() { first <- natstest.Deliver(t, &r, ticketCreated{}) }()
		synctest.Wait()
		second := make(chan string, 1)
		go func() { // waits for the first one's handle to return
			second <- run(t, func(t testing.TB) { natstest.Deliver(t, &r, ticketCreated{}) })
		}()
		synctest.Wait()
		go func() { _ = stop() }() // the cleanup sees its error
		synctest.Wait()
		close(release)
		if res := <-first; !res.Acked() {
			t.Errorf("first: %v", res)
		}
		wantText(t, <-second, `
natstest: Deliver ticket:created: no listener on it within 10s; Listen has to run in another goroutine
has stopped: "orders"
nobody listens on any subject`)
		if len(blocked) != 1 {
			t.Errorf("%d messages were handed over, want the first", len(blocked))
		}
	})
}

func TestDeliverRefusesWhatCannotBeDelivered(t *testing.T) {
	var r natstest.Recorder
	got := run(t, func(t testing.TB) { natstest.DeliverRaw(t, &r, "ticket:*", nil) })
	wantText(t, got, `natstest: Deliver: invalid subject "ticket:*": it has a wildcard; an event has one subject`)
	got = run(t, func(t testing.TB) { natstest.Deliver(t, &r, unmarshalable{}) })
	wantText(t, got, `natstest: Deliver: cannot encode natstest_test.unmarshalable: json: unsupported type: chan int`)
}

type unmarshalable struct{ C chan int }

func (unmarshalable) Subject() ticketing.Subject { return "a" }

func TestAResultReadsWell(t *testing.T) {
	for want, v := range map[string]ticketing.Verdict{
		"acked":                  {Kind: ticketing.Ack},
		"retried after 1s: boom": {Kind: ticketing.Retry, After: time.Second, Err: errBoom},
		"dead-lettered: boom":    {Kind: ticketing.Drop, Err: errBoom},
		"abandoned: boom":        {Kind: ticketing.Abandon, Err: errBoom},
		"VerdictKind(9)":         {Kind: 9},
	} {
		if got := fmt.Sprint(natstest.Result{Verdict: v}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
