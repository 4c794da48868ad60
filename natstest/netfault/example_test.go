package netfault_test

import (
	"context"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

// In a test there is nothing to close and nothing to check.
func ExampleRun() {
	_ = func(t *testing.T) {
		p := netfault.Run(t, natsserver.Run(t).URL())
		nc, err := nats.Connect(p.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		p.Break()
	}
}

// A server that falls silent is not an error to its clients: only a deadline
// finds it out.
func ExampleProxy_BlackHole() {
	s, err := natsserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()
	p, err := netfault.Start(s.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	nc, err := nats.Connect(p.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	p.BlackHole(netfault.ToClient)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fmt.Println(nc.FlushWithContext(ctx), nc.IsConnected())

	p.Heal()
	fmt.Println(nc.Flush(), nc.IsConnected())
	// Output:
	// context deadline exceeded true
	// <nil> true
}
