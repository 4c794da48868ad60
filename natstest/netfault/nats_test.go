package netfault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

func TestANATSClientLivesThroughTheFaults(t *testing.T) {
	p := netfault.Run(t, natsserver.Run(t).URL())
	events := make(chan string, 64)
	nc, err := nats.Connect(p.URL(),
		nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { events <- "lost" }),
		nats.ReconnectHandler(func(*nats.Conn) { events <- "back" }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("ticket:created")
	if err != nil {
		t.Fatal(err)
	}
	wantEvent := func(want string) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Fatalf("the connection is %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the connection is not %s", want)
		}
	}
	wantMessage := func(data string) {
		t.Helper()
		if err := nc.Publish("ticket:created", []byte(data)); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(patience)
		if err != nil || string(m.Data) != data {
			t.Fatalf("received %v, error %v, want %s", m, err, data)
		}
	}
	wantMessage("healthy")

	p.Break()
	wantEvent("lost")
	wantEvent("back")
	wantMessage("after a break")

	p.Cut()
	wantEvent("lost")
	p.Heal()
	wantEvent("back")
	wantMessage("after a cut")

	p.BlackHole(netfault.ToClient)
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	if err := nc.FlushWithContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("flush into a black hole: %v", err)
	}
	p.Heal()
	wantMessage("after a black hole")
}

func TestAClientOfAClusterDoesNotGoAroundItsProxy(t *testing.T) {
	p := netfault.Run(t, natsserver.RunCluster(t, 3).Servers()[0].URL())
	// It gives up soon, where there is no way but the proxy.
	end := make(chan string, 64)
	nc, err := nats.Connect(p.URL(),
		nats.MaxReconnects(2), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectHandler(func(nc *nats.Conn) { end <- "back through " + nc.ConnectedUrl() }),
		nats.ClosedHandler(func(*nats.Conn) { end <- "closed" }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p.Cut()
	select {
	case got := <-end:
		if got != "closed" {
			t.Errorf("the proxy is cut, and the connection is %s", got)
		}
	case <-time.After(patience):
		t.Error("the proxy is cut, and the connection is not closed")
	}
}
