package jswrap_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// Protection: flights.wait, and Client.connected for a subject that has to be
// looked up first.
func TestSendWaitsForTheConnectionWhereItIsAskedTo(t *testing.T) {
	s := natsserver.Run(t)
	cfg := config(s.URL())
	cfg.WaitForConnection = true
	cfg.MaxPending = 8
	c := connect(t, cfg)
	if _, err := c.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "NEW", Subjects: []string{"new:stream"}}); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	for _, to := range []ticketing.Subject{subject, "new:stream"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		start := time.Now()
		wantOutcome(t, await(t, sendAsync(ctx, c, message(to, "never")), "the outcome"), ticketing.ErrNotSent, ticketing.ErrNotConnected, context.DeadlineExceeded)
		if took := time.Since(start); took < 50*time.Millisecond || took > 2*time.Second {
			t.Errorf("the wait for %v took %v", 50*time.Millisecond, took)
		}
		cancel()
	}
	const n = 32 // more than MaxPending
	results := make(chan error, 2*n)
	for i := range n {
		to := subject
		if i%4 == 0 {
			to = "new:stream"
		}
		m := message(to, fmt.Sprint(i))
		go c.Send(context.Background(), m, func(err error) { results <- err })
	}
	select {
	case err := <-results:
		t.Errorf("a publish ended without a connection: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := await(t, results, "the outcome"); err != nil {
			t.Error(err)
		}
	}
	if got := len(stored(t, c.JetStream(), jswrap.DefaultStream)) + len(stored(t, c.JetStream(), "NEW")); got != n {
		t.Errorf("%d are stored, want %d", got, n)
	}
}

// Protection: untilLost, without which the lookup waits for an answer that was
// lost with the connection.
func TestALookupThatLosesItsConnectionIsMadeAgainOrFailsAtOnce(t *testing.T) {
	for name, wait := range map[string]bool{"fail at once": false, "wait for the connection": true} {
		t.Run(name, func(t *testing.T) {
			url := natsserver.Run(t).URL()
			if _, err := connect(t, config(url)).JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "NEW", Subjects: []string{"new:stream"}}); err != nil {
				t.Fatal(err)
			}
			p := netfault.Run(t, url)
			cfg := config(p.URL())
			cfg.WaitForConnection = wait
			c := connect(t, cfg)
			p.BlackHole(netfault.ToClient)
			asked := c.Conn().Stats().OutMsgs
			result := make(chan error, 1)
			go c.Send(context.Background(), message("new:stream", "{}"), func(err error) { result <- err })
			until(t, "the server is asked", func() bool { return c.Conn().Stats().OutMsgs > asked })
			start := time.Now()
			p.Break()
			until(t, "the client notices", func() bool { return !c.Healthy() })
			p.Heal()
			err := await(t, result, "the outcome")
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			if wait && err != nil {
				t.Error(err)
			} else if !wait {
				wantOutcome(t, err, ticketing.ErrNotSent, ticketing.ErrNotConnected)
			}
		})
	}
}

func TestCloseEndsTheWaitForTheConnection(t *testing.T) {
	s := natsserver.Run(t)
	cfg := config(s.URL())
	cfg.WaitForConnection = true
	c := connect(t, cfg)
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	results := make(chan error, 2)
	for _, to := range []ticketing.Subject{subject, "new:stream"} {
		m := message(to, "{}")
		go c.Send(context.Background(), m, func(err error) { results <- err })
	}
	if err := c.Close(testContext(t)); err != nil {
		t.Errorf("Close = %v", err)
	}
	for range 2 {
		wantOutcome(t, await(t, results, "the outcome"), ticketing.ErrNotSent, ticketing.ErrClosed)
	}
}
