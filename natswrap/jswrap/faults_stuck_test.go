package jswrap_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// stuck returns a client that shakes hands with a server that says nothing.
// The NATS client holds its lock meanwhile.
func stuck(t *testing.T, wait bool) (c *jswrap.Client, in *intake, held *ticketing.Inbound) {
	url := natsserver.Run(t).URL()
	p := netfault.Run(t, url)
	cfg := config(p.URL())
	cfg.WaitForConnection = wait
	c = connect(t, cfg)
	if _, err := c.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "NEW", Subjects: []string{"new:stream"}}); err != nil {
		t.Fatal(err)
	}
	s := group
	s.DrainTimeout = time.Minute
	in = receive(t, c, s)
	mustSend(t, c, subject, "{}")
	held = in.want("{}")
	p.Mute()
	p.Break()
	before := p.Accepted()
	until(t, "the client shakes hands", func() bool { return !c.Healthy() && p.Accepted() > before })
	return c, in, held
}

// Protection: Link and State instead of the client's own methods, the writer's
// queue instead of a publish, await around every request, and in drainIntake
// the writer for the end of the subscription.
func TestEveryCallHonoursItsContextWhileTheClientIsStuckInAHandshake(t *testing.T) {
	for name, wait := range map[string]bool{"fail at once": false, "wait for the connection": true} {
		t.Run(name, func(t *testing.T) {
			c, in, held := stuck(t, wait)
			const timeout, limit = 50 * time.Millisecond, time.Second
			within := func(what string, limit time.Duration, call func(ctx context.Context) error) {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				start := time.Now()
				err := call(ctx)
				if took := time.Since(start); took > limit {
					t.Errorf("%s took %v", what, took)
				}
				t.Logf("%s: %v", what, err)
			}
			publish := func(to ticketing.Subject) func(context.Context) error {
				return func(ctx context.Context) error {
					result := make(chan error, 1)
					c.Send(ctx, message(to, "{}"), func(err error) { result <- err })
					err := await(t, result, "the outcome")
					wantOutcome(t, err, ticketing.ErrNotSent)
					return err
				}
			}
			within("a publish", limit, publish(subject))
			within("a publish that needs a lookup", limit, publish("new:stream"))
			within("CheckSubject", limit, func(ctx context.Context) error { return c.CheckSubject(ctx, subject) })
			within("a new Receive", limit, func(ctx context.Context) error {
				s := group
				s.Subject = other
				return c.Receive(ctx, s, func(context.Context, *ticketing.Inbound) {})
			})
			within("health", limit, func(context.Context) error {
				if c.Healthy() {
					t.Error("the client is healthy")
				}
				return c.Err()
			})
			within("Settle", limit, func(context.Context) error { return held.Settle(ticketing.Verdict{Kind: ticketing.Ack}) })
			within("the end of a Receive", limit, func(context.Context) error {
				in.stop()
				return in.wait()
			})
			within("Close", limit, c.Close)
		})
	}
}

// Protection: cutGrace, and the interruption of the connection in State.Close.
func TestCloseWhileTheNetworkIsBlackHoledIsBoundedByItsContext(t *testing.T) {
	p := netfault.Run(t, natsserver.Run(t).URL())
	c := connect(t, config(p.URL()))
	s := group
	s.DrainTimeout = time.Minute
	in := receive(t, c, s)
	mustSend(t, c, subject, "1", "2")
	in.settle(in.want("1"), ticketing.Ack)
	in.want("2") // its handler runs
	p.BlackHole(netfault.Both)
	large := strings.Repeat("x", 1<<19)
	var results []<-chan error
	for range 64 { // more than the buffers on the way take, so that the writer is stuck
		results = append(results, sendAsync(context.Background(), c, message(subject, large)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want the context's error", err)
	}
	if took := time.Since(start); took > 1500*time.Millisecond { // a second is for what is cut short
		t.Errorf("Close took %v", took)
	}
	await(t, c.Closed(), "the end of it all")
	if err := in.wait(); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
	for _, r := range results {
		var pe *ticketing.PublishError
		if err := await(t, r, "the outcome"); !errors.As(err, &pe) || !errors.Is(err, ticketing.ErrClosed) {
			t.Errorf("a publish ended with %v", err)
		}
	}
}

// Protection: FlusherTimeout in Connect. Without it the writer sits in the client
// for a minute, and meanwhile the publishes of every AckTimeout come and go.
func TestAServerThatDoesNotReadIsFoundWithinAckTimeout(t *testing.T) {
	t.Parallel()
	p := netfault.Run(t, natsserver.Run(t).URL())
	cfg := config(p.URL())
	cfg.AckTimeout, cfg.MaxPending = time.Second, 64
	c := connect(t, cfg)
	p.BlackHole(netfault.ToServer)
	large := strings.Repeat("x", 1<<19)
	start, most := time.Now(), 0
	var results []<-chan error
	for c.Healthy() && time.Since(start) < 20*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		results = append(results, sendAsync(ctx, c, message(subject, large)))
		cancel()
		most = max(most, c.Queued())
	}
	if took := time.Since(start); c.Healthy() || took > 8*time.Second {
		t.Errorf("it is found after %v: %t", took, !c.Healthy())
	}
	if most > 2*cfg.MaxPending { // those that end make room a moment before they are forgotten
		t.Errorf("%d publishes waited for the writer, %d may be open", most, cfg.MaxPending)
	}
	for _, r := range results {
		var pe *ticketing.PublishError
		if err := await(t, r, "the outcome"); !errors.As(err, &pe) {
			t.Errorf("a publish ended with %v", err)
		}
	}
	p.Heal()
	last := message(subject, "the last")
	until(t, "the connection works again", func() bool { return send(t, c, last) == nil })
}

// Protection: Client.closing.
func TestAHundredConcurrentCloses(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	in := receive(t, c, group)
	mustSend(t, c, subject, "{}")
	held := in.want("{}")
	_, results := numbered(c, other, 0, 50)
	var closes sync.WaitGroup
	for range 100 {
		closes.Go(func() {
			if err := c.Close(testContext(t)); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
	}
	in.settle(held, ticketing.Ack)
	closes.Wait()
	for _, r := range results {
		// Those that were admitted are awaited.
		if err := await(t, r, "the outcome"); err != nil {
			t.Error(err)
		}
	}
	if err := in.wait(); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
}
