package jswrap_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

func TestCloseAwaitsWhatIsOpenAndIsCutShortByItsContext(t *testing.T) {
	p := netfault.Run(t, natsserver.Run(t).URL())
	c := connect(t, config(p.URL()))
	p.BlackHole(netfault.ToClient)
	result := sendAsync(context.Background(), c, message(subject, "{}"))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want the context's error", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
	wantOutcome(t, await(t, result, "the outcome"), ticketing.ErrUnknown, ticketing.ErrClosed)
	wantOutcome(t, send(t, c, message(subject, "{}")), ticketing.ErrNotSent, ticketing.ErrClosed)
	await(t, c.Closed(), "Closed")
	if c.Healthy() || c.Err() != nil {
		t.Errorf("after Close: healthy %t, Err %v", c.Healthy(), c.Err())
	}
	if err := c.Close(nil); err == nil {
		t.Error("Close accepts a nil context")
	}
}

func TestCloseTurnsAwayThoseWhoWaitForAPlace(t *testing.T) {
	p := netfault.Run(t, natsserver.Run(t).URL())
	cfg := config(p.URL())
	cfg.MaxPending = 1
	c := connect(t, cfg)
	p.BlackHole(netfault.ToClient)
	first := sendAsync(context.Background(), c, message(subject, "1"))
	second := make(chan (<-chan error), 1)
	go func() { second <- sendAsync(context.Background(), c, message(subject, "2")) }()
	closed := make(chan error, 1)
	go func() { closed <- c.Close(testContext(t)) }()
	wantOutcome(t, await(t, await(t, second, "the end of the wait"), "the outcome"), ticketing.ErrNotSent, ticketing.ErrClosed)
	p.Heal()
	if err := await(t, first, "the outcome"); err != nil {
		t.Errorf("what was open before Close = %v, want it awaited", err)
	}
	if err := await(t, closed, "Close"); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestAClientThatTheServerRefusesForGoodSaysWhy(t *testing.T) {
	password := "before"
	s := natsserver.Run(t, natsserver.Configure(func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: password}}
	}))
	c := connect(t, config("nats://u:before@"+s.URL()[len("nats://"):]))
	in := receive(t, c, ticketing.Subscription{Subject: subject, Group: "g"})
	mustSend(t, c, subject, "{}")
	in.settle(in.want("{}"), ticketing.Ack)
	password = "after"
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	await(t, c.Closed(), "Closed")
	if c.Err() == nil {
		t.Error("Err is nil")
	}
	if err := in.wait(); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
	wantOutcome(t, send(t, c, message(subject, "{}")), ticketing.ErrNotSent, ticketing.ErrClosed)
	if err := c.Close(testContext(t)); err != nil {
		t.Errorf("Close = %v", err)
	}
}
