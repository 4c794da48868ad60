package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestOutcomesOfAPublishSayWhatIsKnown(t *testing.T) {
	m := &ticketing.Message{ID: "id", Subject: "ticket:created"}
	explain := map[string]func(*ticketing.Message, error, error) (bool, error){"publish": explainPublish, "ack": explainAck}
	for _, test := range []struct {
		at   string
		err  error
		want []error
		lost bool
	}{
		{"publish", nats.ErrReconnectBufExceeded, []error{ticketing.ErrNotSent, ticketing.ErrNotConnected}, false},
		{"publish", nats.ErrConnectionClosed, []error{ticketing.ErrNotSent, ticketing.ErrClosed}, true},
		{"publish", nats.ErrConnectionDraining, []error{ticketing.ErrNotSent, ticketing.ErrClosed}, true},
		{"publish", nats.ErrMaxPayload, []error{ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge}, false},
		{"publish", stan.ErrConnectionClosed, []error{ticketing.ErrUnknown, ticketing.ErrClosed}, true},
		{"publish", errors.New("broken pipe"), []error{ticketing.ErrUnknown}, false},
		{"ack", stan.ErrTimeout, []error{ticketing.ErrUnknown, stan.ErrTimeout}, false},
		{"ack", stan.ErrConnectionClosed, []error{ticketing.ErrUnknown, ticketing.ErrClosed}, true},
		{"ack", errors.New("stan: invalid publish request"), []error{ticketing.ErrNotSent, ticketing.ErrNotConnected}, true},
		{"ack", errors.New("stan: channel is being deleted"), []error{ticketing.ErrNotSent}, false},
		{"ack", errors.New("stan: no configured channel"), []error{ticketing.ErrRejected}, false},
		{"ack", errors.New("too many channels"), []error{ticketing.ErrRejected}, false},
		{"ack", errors.New("no space left on device"), []error{ticketing.ErrUnknown}, false},
	} {
		t.Run(fmt.Sprint(test.at, " ", test.err), func(t *testing.T) {
			lost, got := explain[test.at](m, test.err, ticketing.ErrClosed)
			for _, want := range test.want {
				if !errors.Is(got, want) {
					t.Errorf("outcome %v, want one that matches %q", got, want)
				}
			}
			if lost != test.lost {
				t.Errorf("lost = %v, want %v", lost, test.lost)
			}
		})
	}
}

func TestAttemptsAreCountedFromOneOnEveryServer(t *testing.T) {
	for want, m := range map[int]stan.Msg{1: {}, 2: {}, 6: {}} {
		if want > 1 {
			m.Redelivered = true
		}
		if want > 2 {
			m.RedeliveryCount = uint32(want - 1)
		}
		if got := attempt(&m); got != want {
			t.Errorf("attempt = %d, want %d", got, want)
		}
	}
}

// Otherwise Receive would fail while the pings still wait for the same server.
func TestASubscriptionIsAskedForAsLongAsThePingsWait(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		maxOut   int
		want     time.Duration
	}{
		{DefaultPingInterval, DefaultPingMaxOut, minSubscribePatience},
		{time.Second, 2, minSubscribePatience},
		{9500 * time.Millisecond, 3, 40 * time.Second},
	} {
		if got := (Config{PingInterval: test.interval, PingMaxOut: test.maxOut}).subscribePatience(); got != test.want {
			t.Errorf("with %d pings, %v apart: %v, want %v", test.maxOut, test.interval, got, test.want)
		}
	}
}

// fakeStan is a connection whose PublishAsync does what the test says.
type fakeStan struct {
	stan.Conn
	publish   func(subject string, ah stan.AckHandler) (string, error)
	subscribe func(stan.MsgHandler)
}

func (f *fakeStan) QueueSubscribe(channel, group string, cb stan.MsgHandler, _ ...stan.SubscriptionOption) (stan.Subscription, error) {
	if channel != string(replayChannel(group)) { // of which there are none here
		f.subscribe(cb)
	}
	return fakeSubscription{}, nil
}

type fakeSubscription struct{ stan.Subscription }

func (fakeSubscription) Close() error { return nil }

func (f *fakeStan) PublishAsync(subject string, _ []byte, ah stan.AckHandler) (string, error) {
	return f.publish(subject, ah)
}

// fakeClient is a connected client without a connection.
func fakeClient(t *testing.T, cfg Config, publish func(string, stan.AckHandler) (string, error)) *Client {
	cfg.URLs, cfg.ClusterID, cfg.ClientID = []string{"nats://unused"}, "cluster", "client"
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(cfg)
	c.out.maxPayload.Store(1 << 20)
	s := newSession()
	s.conn = &fakeStan{publish: publish}
	c.sess.Store(s)
	c.link.Set(true)
	c.out.start()
	t.Cleanup(func() {
		c.out.window.close()
		<-c.out.window.empty
		c.out.stop()
	})
	return c
}

func (c *Client) testSend(data string) <-chan error {
	outcome := make(chan error, 2)
	m := &ticketing.Message{ID: data, Subject: "ticket:created", Data: []byte(data)}
	c.Send(context.Background(), m, func(err error) { outcome <- err })
	return outcome
}

func wait(t *testing.T, outcome <-chan error) error {
	t.Helper()
	select {
	case err := <-outcome:
		return err
	case <-time.After(60 * time.Second):
		t.Fatal("no outcome")
		return nil
	}
}

// Without watch everything behind such a call would wait with it.
func TestACallThatDoesNotReturnBoundsTheOutcomeOfAllBehindIt(t *testing.T) {
	release := make(chan struct{})
	calls := make(chan struct{}, 10)
	c := fakeClient(t, Config{AckTimeout: 20 * time.Millisecond}, func(_ string, ah stan.AckHandler) (string, error) {
		calls <- struct{}{}
		<-release
		ah("guid", nil)
		return "guid", nil
	})
	stuck := c.testSend("stuck")
	<-calls
	behind := c.testSend("behind")
	if err := wait(t, stuck); !errors.Is(err, ticketing.ErrUnknown) {
		t.Errorf("the message in the call = %v, want unknown", err)
	}
	if err := wait(t, behind); !errors.Is(err, ticketing.ErrNotSent) {
		t.Errorf("the message behind it = %v, want not sent", err)
	}
	close(release)
	if err := wait(t, c.testSend("after")); err != nil {
		t.Errorf("a message after it = %v, want nil", err)
	}
	select {
	case err := <-stuck:
		t.Errorf("completed a second time, with %v", err)
	default:
	}
}

func TestAnErrorTogetherWithACompletionCompletesOnce(t *testing.T) {
	c := fakeClient(t, Config{MaxPending: 1}, func(_ string, ah stan.AckHandler) (string, error) {
		ah("guid", nil)
		return "", nats.ErrReconnectBufExceeded
	})
	for range 3 { // a place that is freed twice would block the next
		outcome := c.testSend("{}")
		if err := wait(t, outcome); err != nil {
			t.Errorf("outcome %v, want the first, nil", err)
		}
		if len(outcome) != 0 {
			t.Error("completed twice")
		}
	}
}

// Without relink in lose for each caller, the second would be given to the
// session that is lost.
func TestWhoHearsThatTheSessionIsLostSendsNothingMoreInIt(t *testing.T) {
	c := fakeClient(t, Config{}, func(string, stan.AckHandler) (string, error) { return "", stan.ErrConnectionClosed })
	c.session().end() // as when another goroutine is in the middle of lose
	if err := wait(t, c.testSend("first")); !errors.Is(err, ticketing.ErrUnknown) {
		t.Errorf("the message in the session = %v, want unknown", err)
	}
	if err := wait(t, c.testSend("second")); !errors.Is(err, ticketing.ErrNotSent) {
		t.Errorf("the message after it = %v, want not sent", err)
	}
}

func TestADisconnectFailsWhatStandsInTheQueue(t *testing.T) {
	release := make(chan struct{})
	calls := make(chan struct{}, 10)
	c := fakeClient(t, Config{}, func(_ string, ah stan.AckHandler) (string, error) {
		calls <- struct{}{}
		<-release
		ah("guid", nil)
		return "guid", nil
	})
	inCall := c.testSend("in the call")
	<-calls
	queued := c.testSend("queued")
	c.link.Set(false)
	c.out.failQueued(errDisconnected)
	if err := wait(t, queued); !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("queued = %v, want not sent", err)
	}
	close(release)
	if err := wait(t, inCall); err != nil {
		t.Errorf("in the call = %v, want nil", err)
	}
	if n := len(calls); n != 0 {
		t.Errorf("%d more calls, want none", n)
	}
}

func TestAPermissionThatIsMissingFailsItsOwnChannelAlone(t *testing.T) {
	calls := make(chan stan.AckHandler, 1)
	c := fakeClient(t, Config{}, func(_ string, ah stan.AckHandler) (string, error) {
		calls <- ah
		return "guid", nil
	})
	outcome := c.testSend("{}")
	acked := <-calls
	violation := func(subject string) error {
		return fmt.Errorf(`%w: Permissions Violation for Publish to "%s"`, nats.ErrPermissionViolation, subject)
	}
	for _, other := range []error{
		violation("_STAN.pub.cluster.prefix.ticket:created"),
		violation("_STAN.pub.cluster.ticket:created:too"),
		violation("_STAN.sub.cluster"),
		fmt.Errorf(`%w: Permissions Violation for Subscription to "ticket:created"`, nats.ErrPermissionViolation),
		nats.ErrSlowConsumer,
	} {
		c.asyncError(nil, other)
		if len(outcome) != 0 {
			t.Fatalf("%v failed a publish to ticket:created", other)
		}
	}
	c.asyncError(nil, violation("_STAN.pub.kGq7AZ.ticket:created"))
	if err := wait(t, outcome); !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrPermission) {
		t.Errorf("outcome %v, want rejected for the permission", err)
	}
	acked("guid", stan.ErrTimeout)
}

// The first message may come before the subscriber knows that it has
// subscribed, and its handler may end ctx.
func TestAStopAtTheFirstHandOverStillWaitsForWhatIsHeld(t *testing.T) {
	c := fakeClient(t, Config{}, nil)
	handed := make(chan *ticketing.Inbound, 1)
	c.session().conn.(*fakeStan).subscribe = func(cb stan.MsgHandler) {
		msg := new(stan.Msg)
		msg.Sequence = 1
		go cb(msg)
		select {
		case m := <-handed:
			handed <- m
		case <-time.After(50 * time.Millisecond): // as it should be: not yet
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	sub := ticketing.Subscription{Subject: "ticket:created", Group: "group", DrainTimeout: 20 * time.Second}
	handlerCtx := make(chan context.Context, 1)
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, sub, func(ctx context.Context, m *ticketing.Inbound) {
			cancel()
			handlerCtx <- ctx
			handed <- m
		})
	}()
	held := <-handlerCtx
	select {
	case <-held.Done():
		t.Error("the handler's context ended with Receive's")
	case err := <-result:
		t.Errorf("Receive returned (%v) while a message was held", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := (<-handed).Settle(ticketing.Verdict{Kind: ticketing.Retry}); err != nil {
		t.Errorf("settle: %v", err)
	}
	if err := wait(t, result); err != nil {
		t.Error(err)
	}
}

func TestNothingIsHandedOverOnceTheIntakeStopped(t *testing.T) {
	c := fakeClient(t, Config{}, nil)
	handed := 0
	sub := ticketing.Subscription{Subject: "ticket:created", Group: "group", Window: 1, DrainTimeout: time.Second}
	in := newIntake(t.Context(), c, sub, sub.Group, func(_ context.Context, m *ticketing.Inbound) {
		handed++
		_ = m.Settle(ticketing.Verdict{Kind: ticketing.Retry})
	})
	mem := new(membership)
	in.joined.Store(mem)
	m := func(seq uint64) *stan.Msg {
		msg := new(stan.Msg)
		msg.Sequence = seq
		return msg
	}
	in.deliver(mem, m(1))
	in.drain()
	in.deliver(mem, m(2))
	if handed != 1 {
		t.Errorf("%d messages were handed over, want the first alone", handed)
	}
	if in.ctx.Err() == nil {
		t.Error("the handlers' context has not ended with the drain")
	}
}

// An intake whose server crashed: the second membership gets what the first had.
func TestAMembershipThatWasReplacedHandsNothingOver(t *testing.T) {
	c := fakeClient(t, Config{}, nil)
	var handed []uint64
	sub := ticketing.Subscription{Subject: "ticket:created", Group: "group", Window: 4, DrainTimeout: time.Second}
	in := newIntake(t.Context(), c, sub, sub.Group, func(_ context.Context, m *ticketing.Inbound) {
		handed = append(handed, m.Sequence)
	})
	old, current := new(membership), &membership{again: true}
	in.joined.Store(old)
	m := func(seq uint64) *stan.Msg {
		msg := new(stan.Msg)
		msg.Sequence = seq
		return msg
	}
	in.deliver(old, m(1))
	in.joined.Store(current)
	in.deliver(old, m(2))
	in.deliver(current, m(1)) // still held
	in.acks.keep(m(3))
	in.deliver(current, m(3)) // done, and not flagged as a redelivery
	in.deliver(current, m(4))
	if want := []uint64{1, 4}; !slices.Equal(handed, want) {
		t.Errorf("handed over %v, want %v", handed, want)
	}
	in.held.TakeAll()
}
