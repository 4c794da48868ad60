package jswrap

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

// A connect that waits for the broker tries again then. Protection: awaitErr in
// subscribeAcks.
func TestAServerThatFallsSilentAfterItsHandshakeIsATimeout(t *testing.T) {
	t.Parallel()
	p := netfault.Run(t, natsserver.Run(t).URL())
	nc, err := nats.Connect(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p.BlackHole(netfault.ToClient)
	c := &Client{nc: nc, flights: newFlights(1, time.Second)}
	if err := c.subscribeAcks(t.Context()); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("error = %v, want nats.ErrTimeout", err)
	}
}
