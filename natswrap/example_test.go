package natswrap_test

import (
	"context"
	"fmt"
	"log"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// A service reads its configuration at the start and ends with a message that
// names every variable that is wrong.
func ExampleFromEnv() {
	cfg, err := natswrap.FromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg)
}

func ExampleFromLookup() {
	vars := map[string]string{
		"NATS_URL":        "nats://tickets:secret@nats-srv:4222",
		"NATS_CLIENT_ID":  "tickets-7d9f",
		"NATS_CLUSTER_ID": "ticketing",
	}
	lookup := func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
	cfg, err := natswrap.FromLookup(lookup)
	fmt.Println(cfg, err)

	vars["NATS_URL"], vars["NATS_REPLICAS"] = "nats://tickets:secret@nats-srv:port", "three"
	_, err = natswrap.FromLookup(lookup)
	fmt.Println(err)
	// Output:
	// {URLs:[nats://xxxxx@nats-srv:4222] ClientID:tickets-7d9f Backend:stan ClusterID:ticketing} <nil>
	// natswrap: the environment has to be changed:
	// NATS_URL: URL 1 of 1: its port is not a number from 1 to 65535
	// NATS_REPLICAS: is not from 1 to 5
}

func ExampleConnect() {
	server, err := natsserver.Start() // an embedded server, for the example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := natswrap.Connect(ctx, natswrap.Config{
		URLs:     []string{server.URL()},
		ClientID: "tickets-1",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	client.OnClose(func(err error) {
		if err != nil {
			log.Print(err)
		}
	})

	created := ticketing.NewPublisher[events.TicketCreated](client, nil)
	err = created.Publish(ctx, events.TicketCreated{ID: "T1", Title: "concert", Price: 20, UserID: "U1"})
	fmt.Println(client.Backend(), client.Healthy(), err)
	// Output: jetstream true <nil>
}

// A service that holds its connection in a package variable makes its
// publishers over it before it is connected, and a test points it at a
// recorder.
func ExampleWrapper() {
	var NATS natswrap.Wrapper // in a service: a package variable
	created := ticketing.NewPublisher[events.TicketCreated](&NATS, nil)

	ctx := context.Background()
	err := created.Publish(ctx, events.TicketCreated{ID: "T1"}, ticketing.WithID("E1"))
	fmt.Println(err)

	var recorder natstest.Recorder
	restore := NATS.Use(&recorder, &recorder)
	defer restore()
	err = created.Publish(ctx, events.TicketCreated{ID: "T1"})
	fmt.Println(err)
	// Output:
	// ticketing: publish ticket:created (id E1): not sent: not connected: natswrap.Wrapper accessed before Connect
	// <nil>
}

// A service's main function. The function that Run calls returns when a signal
// has ended its context.
func ExampleRun() {
	server, err := natsserver.Start() // an embedded server, for the example
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()
	cfg := natswrap.Config{URLs: []string{server.URL()}, ClientID: "tickets-1"}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	err = natswrap.Run(ctx, cfg, func(ctx context.Context, c *natswrap.Client) error {
		created := ticketing.NewPublisher[events.TicketCreated](c, nil)
		if err := created.Publish(ctx, events.TicketCreated{ID: "T1", Title: "concert"}); err != nil {
			return err
		}
		listener := ticketing.NewListener(c, "orders-service",
			func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
				fmt.Println("received", d.Event.Title)
				stop() // in a service: a signal
				return nil
			}, nil)
		return listener.Listen(ctx)
	})
	fmt.Println("stopped:", err)
	// Output:
	// received concert
	// stopped: <nil>
}
