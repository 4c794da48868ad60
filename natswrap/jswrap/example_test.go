package jswrap_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// One client publishes and listens.
func ExampleConnect() {
	server, err := natsserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()

	ctx, cancel := context.WithCancel(context.Background())
	client, err := jswrap.Connect(ctx, jswrap.Config{
		URLs:   []string{server.URL()},
		Name:   "orders",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(context.Background()) }()

	publisher := ticketing.NewPublisher[events.ExpirationComplete](client, nil)
	if err := publisher.Publish(ctx, events.ExpirationComplete{OrderID: "o-1"}); err != nil {
		log.Fatal(err)
	}

	listener := ticketing.NewListener(client, "orders-srv",
		func(_ context.Context, d *ticketing.Delivery[events.ExpirationComplete]) error {
			fmt.Println("expired:", d.Event.OrderID)
			cancel()
			return nil
		}, nil)
	if err := listener.Listen(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: expired: o-1
}

func ExampleConsumerName() {
	fmt.Println(jswrap.ConsumerName("orders-srv", ticketing.SubjectTicketCreated))
	// Output: orders-srv_ticket--created
}
