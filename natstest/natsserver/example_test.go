package natsserver_test

import (
	"context"
	"fmt"
	"log"
	"testing"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// In a test there is nothing to stop and nothing to check.
func ExampleRun() {
	_ = func(t *testing.T) {
		s := natsserver.Run(t)
		nc, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
}

// Outside a test the server is started and shut down by hand.
func ExampleStart() {
	s, err := natsserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()

	nc, err := nats.Connect(s.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	info, err := js.AccountInfo(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("streams:", info.Streams)
	// Output: streams: 0
}

// What a service may not do in production can be refused to it in a test.
func ExampleConfigure() {
	s, err := natsserver.Start(natsserver.Configure(func(o *server.Options) {
		o.Users = []*server.User{{
			Username:    "reader",
			Password:    "pw",
			Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"ticket:created"}}},
		}}
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()

	refused := make(chan error, 1)
	nc, err := nats.Connect(s.URL(), nats.UserInfo("reader", "pw"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("ticket:created", nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-refused)
	// Output: nats: permissions violation: Permissions Violation for Publish to "ticket:created"
}

// A restart keeps the port and what is stored.
func ExampleServer_Restart() {
	s, err := natsserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()
	before := s.URL()
	if err := s.Restart(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.URL() == before)
	// Output: true
}

// Three servers keep a stream with three replicas, and lose any one of them
// without losing a message.
func ExampleRunCluster() {
	_ = func(t *testing.T) {
		c := natsserver.RunCluster(t, 3)
		nc, err := nats.Connect(c.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c.Leader().Shutdown()
	}
}

func ExampleStartCluster() {
	c, err := natsserver.StartCluster(3)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Shutdown()
	fmt.Println(len(c.Servers()))
	// Output: 3
}
