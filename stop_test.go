package ticketing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestStopFinishesWhatRunsAndHandsBackWhatDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		started := make(chan struct{}, 10)
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Event.ID == "failing" {
				return errScripted
			}
			started <- struct{}{}
			<-release
			return nil
		}, ticketing.ListenerOptions{Concurrency: 2, MinBackoff: time.Minute})
		l.broker.deliverNote("failing", 1) // will be in backoff
		synctest.Wait()
		l.broker.deliverNote("a", 1) // runs
		l.broker.deliverNote("a", 2) // waits behind it
		<-started
		synctest.Wait()
		l.cancel()
		waits := l.want(ticketing.Retry).After + l.want(ticketing.Retry).After
		if waits < 48*time.Second || waits > 72*time.Second {
			t.Errorf("handed back for %v, want what was left of the one's backoff", waits)
		}
		l.wantNone()
		l.broker.late <- l.broker.inbound(`{"id":"late"}`, 1)
		l.want(ticketing.Retry)
		close(release)
		l.want(ticketing.Ack)
		if err := <-l.result; err != nil {
			t.Error(err)
		}
		if len(started) != 0 {
			t.Error("a handler was started after the stop")
		}
	})
}

func TestAHandlerThatFailsDuringTheStopHandsItsEventBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			<-release
			return ticketing.RetryAfter(time.Minute, errScripted)
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		synctest.Wait()
		l.cancel()
		synctest.Wait()
		close(release)
		if v := l.want(ticketing.Retry); v.After != time.Minute || !errors.Is(v.Err, errScripted) {
			t.Errorf("handed back with %+v, want after a minute with the handler's error", v)
		}
		if err := <-l.result; err != nil {
			t.Error(err)
		}
	})
}

func TestStopIsBoundedAlsoWhenAHandlerDoesNotHeedItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ended := make(chan struct{})
		l := listen(t, func(ctx context.Context, _ *ticketing.Delivery[note]) error {
			<-ctx.Done()
			close(ended)
			<-release
			return nil
		}, ticketing.ListenerOptions{ShutdownTimeout: 5 * time.Second})
		l.broker.deliverNote("a", 1)
		synctest.Wait()
		start := time.Now()
		l.stop()
		<-ended
		if d := time.Since(start); d < 5*time.Second || d > 7*time.Second {
			t.Errorf("the stop took %v, want the shutdown timeout and little more", d)
		}
		if !strings.Contains(l.log.String(), "handlers still running") {
			t.Errorf("log: %s", l.log)
		}
		close(release)
	})
}

// slowSettler tells the broker at once, and then takes its time, as one that logs
// may.
type slowSettler struct {
	*fakeBroker
	done bool
}

func (s *slowSettler) SettleInbound(in *ticketing.Inbound, v ticketing.Verdict) error {
	err := s.fakeBroker.SettleInbound(in, v)
	time.Sleep(time.Second) // in a bubble
	s.done = true
	return err
}

// What runs after Listen has returned would meet a test that is over, or a log
// that is closed. Protection: run.handedBack.
func TestListenReturnsWhenAllThatItHandsBackIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return errScripted }, ticketing.ListenerOptions{})
		s := &slowSettler{fakeBroker: l.broker}
		in := l.broker.inbound(`{"id":"a"}`, 1)
		in.Bind(s)
		l.broker.feed <- in
		synctest.Wait() // it is in backoff
		l.stop()
		if !s.done {
			t.Error("Listen has returned before")
		}
		l.want(ticketing.Retry)
	})
}

func TestListenReturnsWhyItCanNoLongerReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil }, ticketing.ListenerOptions{})
		l.broker.ends <- ticketing.ErrClosed
		err := <-l.result
		if !errors.Is(err, ticketing.ErrClosed) || !strings.Contains(err.Error(), `listen to note:taken as "group"`) {
			t.Errorf("Listen = %v, want why, and what it listened to", err)
		}
		l.cancel()
	})
}
