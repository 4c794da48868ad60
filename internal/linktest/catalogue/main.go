// Command catalogue is a service that publishes and listens to all events of
// package events. The test beside it looks at what an event more costs.
package main

import (
	"context"
	"errors"
	"log"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natswrap"
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
	return errors.Join(
		both[events.TicketCreated](ctx, c),
		both[events.TicketUpdated](ctx, c),
		both[events.OrderCreated](ctx, c),
		both[events.OrderCancelled](ctx, c),
		both[events.ExpirationComplete](ctx, c),
		both[events.PaymentCreated](ctx, c),
	)
}

func both[E ticketing.Event](ctx context.Context, c *natswrap.Client) error {
	var e E
	if err := ticketing.NewPublisher[E](c, nil).Publish(ctx, e); err != nil {
		return err
	}
	return ticketing.NewListener(c, "tickets-service", func(_ context.Context, d *ticketing.Delivery[E]) error {
		log.Print(d.Event.Subject())
		return nil
	}, nil).Listen(ctx)
}
