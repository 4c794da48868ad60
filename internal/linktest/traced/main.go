// Command traced is command service with tracing and metrics. The test beside it
// looks at what that links.
package main

import (
	"context"
	"log"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

func main() {
	cfg, err := natswrap.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	if err := natswrap.Run(context.Background(), cfg, serve); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, c *natswrap.Client) error {
	tel := otelwrap.New(nil)
	broker := tel.Broker(c)
	created := ticketing.NewPublisher[events.TicketCreated](broker, nil)
	if err := created.Publish(ctx, events.TicketCreated{ID: "1", Title: "concert", UserID: "2"}); err != nil {
		return err
	}
	orders := ticketing.NewListener(broker, "tickets-service", otelwrap.Handler(tel, func(_ context.Context, d *ticketing.Delivery[events.OrderCreated]) error {
		log.Print(d.Event.ID)
		return nil
	}), nil)
	return orders.Listen(ctx)
}
