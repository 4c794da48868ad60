package ticketing_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestAFailedAttemptIsRetriedWithDoublingBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			at = append(at, time.Now())
			if d.Attempt != len(at) {
				t.Errorf("attempt %d, want %d", d.Attempt, len(at))
			}
			if len(at) <= 5 {
				return errScripted
			}
			return nil
		}, ticketing.ListenerOptions{MinBackoff: time.Second, MaxBackoff: 6 * time.Second})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		for i, base := range []time.Duration{1, 2, 4, 6, 6} {
			base *= time.Second
			if wait := at[i+1].Sub(at[i]); wait < base*8/10 || wait > base*12/10 {
				t.Errorf("wait %d was %v, want %v within a fifth", i+1, wait, base)
			}
		}
		l.stop()
	})
}

func TestDeliveriesBeforeAreNoFailedAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			attempts = append(attempts, d.Attempt)
			return errScripted
		}, ticketing.ListenerOptions{MaxAttempts: 4})
		l.broker.deliverAttempt(`{"id":"a"}`, 3)
		l.want(ticketing.Drop)
		if fmt.Sprint(attempts) != "[3 4 5 6]" {
			t.Errorf("attempts %v, want four, counted from the third delivery", attempts)
		}
		l.stop()
	})
}

func TestAPermanentErrorIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			return fmt.Errorf("wrapped: %w", ticketing.Permanent(errScripted))
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		if v := l.want(ticketing.Drop); !errors.Is(v.Err, errScripted) || attempts != 1 {
			t.Errorf("%d attempts, verdict %v", attempts, v.Err)
		}
		l.stop()
	})
}

func TestAMarkOnNoErrorIsASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{ticketing.Permanent(nil), ticketing.RetryAfter(time.Second, nil), ticketing.Wait(nil)} {
			l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return err }, ticketing.ListenerOptions{})
			l.broker.deliverNote("a", 1)
			l.want(ticketing.Ack)
			l.stop()
		}
	})
}

func TestRetryAfterChoosesTheWaitAndCountsAsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Attempt == 1 {
				return ticketing.RetryAfter(42*time.Second, errScripted)
			}
			if d.Attempt != 2 {
				t.Errorf("attempt %d, want 2", d.Attempt)
			}
			return nil
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		if wait := time.Since(start); wait != 42*time.Second {
			t.Errorf("waited %v, want 42 s", wait)
		}
		l.stop()
	})
}

func TestAPanicIsAFailedAttemptWithItsStackInTheLog(t *testing.T) {
	for name, value := range map[string]any{"a string": "boom", "an error": errScripted, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
					panic(value)
				}, ticketing.ListenerOptions{MaxAttempts: 2})
				l.broker.deliverNote("a", 1)
				v := l.want(ticketing.Drop)
				var p *ticketing.PanicError
				if !errors.As(v.Err, &p) || len(p.Stack) == 0 {
					t.Errorf("verdict %v, want a PanicError with a stack", v.Err)
				}
				if err, ok := value.(error); ok && !errors.Is(v.Err, err) {
					t.Errorf("verdict %v does not wrap the error that was the panic's value", v.Err)
				}
				l.stop()
				if !strings.Contains(l.log.String(), "attempt_test.go") {
					t.Error("the log has no stack of the handler")
				}
			})
		})
	}
}

func TestAHandlerThatEndsItsGoroutineIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Attempt == 1 {
				runtime.Goexit()
			}
			return nil
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		l.broker.deliverNote("a", 2)
		l.want(ticketing.Ack)
		l.want(ticketing.Ack)
		l.stop()
	})
}

func TestAHandlersTimeoutEndsItsContextAndIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			if d.Attempt > 1 {
				return nil
			}
			start := time.Now()
			<-ctx.Done()
			if d := time.Since(start); d != 3*time.Second {
				t.Errorf("the context ended after %v, want 3 s", d)
			}
			return ctx.Err()
		}, ticketing.ListenerOptions{HandlerTimeout: 3 * time.Second})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		l.stop()
	})
}

func TestAHandlerThatDoesNotReturnIsGivenUpAndNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		running := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			running++
			if running > 1 {
				t.Error("started twice")
			}
			<-release
			running--
			return nil
		}, ticketing.ListenerOptions{HandlerTimeout: time.Second, Concurrency: 4})
		start := time.Now()
		in := l.broker.deliver(`{}`) // without a key: its lane is its sequence
		l.want(ticketing.Abandon)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("given up after %v, want twice the timeout", d)
		}
		// The broker delivers it again.
		again := &ticketing.Inbound{Message: in.Message, Sequence: in.Sequence, Attempt: 2}
		again.Bind(l.broker)
		l.broker.feed <- again
		if v := l.want(ticketing.Retry); v.After < 48*time.Second {
			t.Errorf("handed back for %v, want a while", v.After)
		}
		close(release)
		synctest.Wait()
		again = &ticketing.Inbound{Message: in.Message, Sequence: in.Sequence, Attempt: 3}
		again.Bind(l.broker)
		l.broker.feed <- again
		l.want(ticketing.Ack)
		l.wantNone()
		l.stop()
		if !strings.Contains(l.log.String(), "given up") {
			t.Errorf("the log does not say so: %s", l.log)
		}
	})
}

// What stands behind a handler that does not return would otherwise be kept
// alive here for ever, and no other process would get it.
func TestALostHandlerKeepsNothingFromTheOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			switch {
			case d.Event.N == 0:
				<-release
			case d.Event.ID == "failing":
				return errScripted
			}
			return ticketing.NextVersion(d.Event.N-1, d.Event.N)
		}, ticketing.ListenerOptions{HandlerTimeout: time.Second, Concurrency: 2, MinBackoff: time.Hour, MaxBackoff: time.Hour})
		handedBack := func(n int) {
			t.Helper()
			for range n {
				if v := l.want(ticketing.Retry); v.After < 48*time.Minute || !strings.Contains(v.Err.Error(), "does not return") {
					t.Errorf("handed back with %+v", v)
				}
			}
			l.wantNone()
		}
		l.broker.deliverNote("a", 0) // does not return
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Abandon)
		handedBack(1)
		l.broker.deliverNote("a", 2)
		handedBack(1)
		l.broker.deliverNote("b", 1) // there is another worker
		l.want(ticketing.Ack)
		l.broker.deliverNote("failing", 1)
		l.broker.deliverNote("failing", 2)
		l.broker.deliverNote("b", 0) // does not return, either
		l.broker.deliverNote("b", 1)
		l.broker.deliverNote("c", 1)
		l.want(ticketing.Abandon)
		handedBack(4)
		l.broker.deliverNote("c", 1)
		handedBack(1)
		close(release)
		synctest.Wait()
		time.Sleep(2 * time.Hour) // of the bubble's: no timer is left behind
		for _, id := range []string{"a", "b", "c"} {
			l.broker.deliverNote(id, 1)
			l.want(ticketing.Ack)
		}
		l.wantNone()
		l.stop()
	})
}

func TestANegativeTimeoutMeansNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			if _, ok := ctx.Deadline(); ok {
				t.Error("the context has a deadline")
			}
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
				t.Error("the context ended")
			}
			return nil
		}, ticketing.ListenerOptions{HandlerTimeout: -1})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		l.stop()
	})
}

// retainingBroker takes a failed message back instead of letting the listener
// keep it.
type retainingBroker struct {
	*fakeBroker
	failed chan ticketing.Verdict
}

func (b *retainingBroker) RetainInbound(in *ticketing.Inbound, v ticketing.Verdict) bool {
	b.mu.Lock()
	delete(b.held, in.Sequence)
	b.mu.Unlock()
	b.failed <- v
	return false
}

func TestAReceiverMayTakeAFailedMessageBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			return errScripted
		}, ticketing.ListenerOptions{})
		b := &retainingBroker{l.broker, make(chan ticketing.Verdict, 1)}
		in := &ticketing.Inbound{Sequence: 1, Attempt: 1}
		in.Data = []byte(`{"id":"a"}`)
		in.Bind(b)
		l.broker.feed <- in
		if v := <-b.failed; v.Kind != ticketing.Retry || !errors.Is(v.Err, errScripted) || v.After == 0 {
			t.Errorf("asked with %+v", v)
		}
		time.Sleep(time.Hour) // of the bubble's: any retry would be over
		if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
			t.Errorf("Settle = %v, want ErrSettled", err)
		}
		l.stop()
		if attempts != 1 {
			t.Errorf("%d attempts, want 1", attempts)
		}
	})
}

func TestAHandlerThatFailsAfterItsEventWasGivenUpIsNotRetriedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			time.Sleep(time.Minute) // of the bubble's: longer than twice the timeout
			return errScripted
		}, ticketing.ListenerOptions{HandlerTimeout: time.Second})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Abandon)
		time.Sleep(time.Hour) // of the bubble's: any retry would be over
		l.stop()
		if attempts != 1 {
			t.Errorf("%d attempts, want 1: the event is somebody else's", attempts)
		}
	})
}

func TestAHandlersContextIsOverWithItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ctxs []context.Context
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			ctxs = append(ctxs, ctx)
			if ctx.Err() != nil {
				t.Errorf("attempt %d begins with an ended context", d.Attempt)
			}
			for _, earlier := range ctxs[:len(ctxs)-1] {
				if earlier.Err() == nil {
					t.Error("an earlier attempt's context has not ended")
				}
			}
			if d.Attempt < 3 {
				return errScripted
			}
			return nil
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		l.stop()
		if len(ctxs) != 3 || ctxs[2].Err() == nil {
			t.Errorf("%d attempts; the last one's context has to be over", len(ctxs))
		}
	})
}

func TestEveryHandlerOfAWorkerIsWatchedFromItsOwnStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		start := time.Now()
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			switch d.Event.N {
			case 1: // in time
				time.Sleep(timeout / 2) // of the bubble's
			default: // given up after 20 s, back after 30 s
				time.Sleep(3 * timeout) // of the bubble's
			}
			return nil
		}, ticketing.ListenerOptions{HandlerTimeout: timeout})
		l.broker.deliverNote("a", 1)
		l.broker.deliverNote("a", 2)
		l.want(ticketing.Ack)
		for i, want := range []time.Duration{5*time.Second + 2*timeout, 40*time.Second + 2*timeout} {
			l.want(ticketing.Abandon)
			if got := time.Since(start); got != want {
				t.Errorf("event %d was given up after %v, want %v", i+2, got, want)
			}
			if i == 0 {
				time.Sleep(15 * time.Second) // of the bubble's: its handler is back
				l.broker.deliverNote("a", 3)
			}
		}
		time.Sleep(time.Minute) // of the bubble's: the last handler is back
		l.stop()
	})
}
