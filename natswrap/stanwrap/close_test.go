package stanwrap_test

import (
	"context"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func closing(ctx context.Context, c *stanwrap.Client) <-chan error {
	result := make(chan error, 1)
	go func() { result <- c.Close(ctx) }()
	return result
}

// In shutdown the window is closed after the Receives, and not before.
func TestHandlersMayPublishWhileTheClientCloses(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "one")
	m := in.want("one")
	result := closing(t.Context(), c)
	until(t, "closing", func() bool { return !c.Healthy() })
	reply := message("reply")
	reply.Subject = "ticket:updated"
	if err := await(t, start(t.Context(), c, reply)); err != nil {
		t.Errorf("a handler's publish = %v, want nil", err)
	}
	in.ack(m)
	if err := await(t, result); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	is(t, in.wait(), ticketing.ErrClosed)
	closed(t, "closed", c.Closed())
	if err := c.Err(); err != nil {
		t.Errorf("Err = %v after Close, want nil", err)
	}
}

func TestCloseAwaitsOutstandingPublishes(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), nil)
	p.BlackHole(netfault.Both)
	outcome := start(t.Context(), c, message("{}"))
	result := closing(t.Context(), c)
	until(t, "closing", func() bool { return !c.Healthy() })
	select {
	case err := <-result:
		t.Fatalf("Close returned (%v) before the publish was acknowledged", err)
	case <-time.After(20 * time.Millisecond):
	}
	p.Heal()
	if err := await(t, outcome); err != nil {
		t.Errorf("the publish = %v, want nil", err)
	}
	if err := await(t, result); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
}

func TestCloseIsBoundedByItsContext(t *testing.T) {
	for name, fail := range map[string]func(*stanserver.Server, *netfault.Proxy){
		"where the server is silent": func(_ *stanserver.Server, p *netfault.Proxy) { p.BlackHole(netfault.Both) },
		"where the server is gone":   func(s *stanserver.Server, _ *netfault.Proxy) { s.Shutdown() },
	} {
		t.Run(name, func(t *testing.T) {
			s := stanserver.Run(t)
			p := netfault.Run(t, s.URL())
			c := connect(t, p.URL(), nil)
			in := receive(t, c, subscription())
			send(t, c, "one")
			m := in.want("one")
			fail(s, p)
			outcome := start(t.Context(), c, message("two"))
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			begin := time.Now()
			is(t, c.Close(ctx), context.DeadlineExceeded)
			if d := time.Since(begin); d > 2*time.Second {
				t.Errorf("Close took %v", d)
			}
			if err := await(t, outcome); err == nil {
				t.Error("a publish to a server that does not answer was acknowledged")
			}
			is(t, in.wait(), ticketing.ErrClosed)
			is(t, m.Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrSettled)
			closed(t, "closed", c.Closed())
		})
	}
}

// A handler that closes the client while Run does so: what Run waits for is not
// the handler's to cut.
func TestALaterCloseGivesUpByItselfAndCutsNothingShort(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "one")
	m := in.want("one")
	handling := <-in.ctxs
	first := closing(t.Context(), c)
	until(t, "closing", func() bool { return !c.Healthy() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	is(t, c.Close(ctx), context.DeadlineExceeded)
	select {
	case <-handling.Done():
		t.Error("the second Close ended the handler's context")
	case err := <-first:
		t.Errorf("the first Close returned (%v) with the second", err)
	case <-time.After(50 * time.Millisecond):
	}
	reply := message("reply")
	reply.Subject = "ticket:updated"
	if err := await(t, start(t.Context(), c, reply)); err != nil {
		t.Errorf("a handler's publish = %v, want nil", err)
	}
	in.ack(m)
	if err := await(t, first); err != nil {
		t.Errorf("the first Close = %v, want nil", err)
	}
	for range 100 { // two ways out, and no luck in which is taken
		if err := c.Close(ctx); err != nil {
			t.Fatalf("Close of a client that is closed = %v, want nil", err)
		}
	}
}

// The end for want of a session is nobody's Close: the first one still bounds it.
func TestTheFirstCloseBoundsAShutdownThatHasBegunByItself(t *testing.T) {
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) {
		quickPings(c)
		c.ClientIDWait = time.Millisecond
	})
	in := receive(t, c, subscription())
	send(t, c, "one")
	in.want("one") // and does not settle it
	p.Cut()
	until(t, "the session is lost", func() bool { return !c.Healthy() })
	connect(t, s.URL(), nil)
	p.Heal()
	until(t, "the client shuts down", func() bool { return c.Err() != nil })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	is(t, c.Close(ctx), context.DeadlineExceeded)
	is(t, in.wait(), ticketing.ErrClosed) // and not after its drain timeout
}

func TestAHandlerThatDoesNotSettleBoundsCloseByTheDrainTimeout(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	sub := subscription()
	sub.DrainTimeout = 50 * time.Millisecond
	in := receive(t, c, sub)
	send(t, c, "one")
	in.want("one")
	ctx := <-in.ctxs
	if err := await(t, closing(t.Context(), c)); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	closed(t, "the handler's context has ended", ctx.Done())
	is(t, in.wait(), ticketing.ErrClosed)
}

// handle is called on the subscription's goroutine: while it blocks Close
// cannot wait for it for ever.
func TestCloseMayBeCalledByAHandler(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	sub := subscription()
	sub.DrainTimeout = 50 * time.Millisecond
	result := make(chan error, 1)
	received := make(chan error, 1)
	go func() {
		received <- c.Receive(t.Context(), sub, func(_ context.Context, m *ticketing.Inbound) {
			_ = m.Settle(ticketing.Verdict{Kind: ticketing.Ack})
			result <- c.Close(context.Background())
		})
	}()
	send(t, c, "one")
	if err := await(t, result); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	is(t, await(t, received), ticketing.ErrClosed)
}

func TestTheClientIDIsFreeAfterClose(t *testing.T) {
	s := stanserver.Run(t)
	for range 3 {
		c := connect(t, s.URL(), nil)
		send(t, c, "{}")
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
