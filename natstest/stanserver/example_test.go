package stanserver_test

import (
	"fmt"
	"log"
	"testing"

	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/nats-io/stan.go"
)

// In a test there is nothing to stop and nothing to check.
func ExampleRun() {
	_ = func(t *testing.T) {
		s := stanserver.Run(t)
		sc, err := stan.Connect(s.ClusterID(), "orders-1", stan.NatsURL(s.URL()))
		if err != nil {
			t.Fatal(err)
		}
		defer sc.Close()
	}
}

// Outside a test the server is started and shut down by hand.
func ExampleStart() {
	s, err := stanserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()

	sc, err := stan.Connect(s.ClusterID(), "orders-1", stan.NatsURL(s.URL()))
	if err != nil {
		log.Fatal(err)
	}
	defer sc.Close()
	fmt.Println(sc.Publish("order:created", []byte(`{}`)))
	// Output: <nil>
}

// With the memory store a restart loses everything, sessions included. A file
// store keeps it.
func ExampleServer_Restart() {
	s, err := stanserver.Start(stanserver.FileStore())
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()

	sc, err := stan.Connect(s.ClusterID(), "orders-1", stan.NatsURL(s.URL()))
	if err != nil {
		log.Fatal(err)
	}
	defer sc.Close()
	if err := sc.Publish("order:created", []byte("before")); err != nil {
		log.Fatal(err)
	}

	if err := s.Restart(); err != nil {
		log.Fatal(err)
	}
	again, err := stan.Connect(s.ClusterID(), "orders-2", stan.NatsURL(s.URL()))
	if err != nil {
		log.Fatal(err)
	}
	defer again.Close()
	received := make(chan string, 1)
	_, err = again.Subscribe("order:created", func(m *stan.Msg) { received <- string(m.Data) }, stan.DeliverAllAvailable())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-received)
	// Output: before
}
