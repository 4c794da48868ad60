package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync/atomic"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// What failed because of a mistake in a handler is replayed when the mistake is
// gone. Other groups do not hear of it.
func Example() {
	server, err := natsserver.Start() // a service has a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()
	cfg := natswrap.Config{URLs: []string{server.URL()}, ClientID: "orders-0", Logger: slog.New(slog.DiscardHandler)}

	err = natswrap.Run(context.Background(), cfg, func(ctx context.Context, c *natswrap.Client) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		var fixed atomic.Bool
		died := make(chan struct{})
		listener := ticketing.NewListener(c, "orders-srv", func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
			if !fixed.Load() {
				return ticketing.Permanent(errors.New("column \"price\" does not exist"))
			}
			fmt.Println("handled", d.Event.ID)
			stop()
			return nil
		}, &ticketing.ListenerOptions{Logger: cfg.Logger, OnDeadLetter: func(ticketing.DeadLetter) { close(died) }})
		result := make(chan error, 1)
		go func() { result <- listener.Listen(ctx) }()

		if err := ticketing.NewPublisher[events.TicketCreated](c, nil).Publish(ctx, events.TicketCreated{ID: "T-1"}); err != nil {
			return err
		}
		<-died
		fixed.Store(true)

		letters := c.DeadLetters()
		for l, err := range letters.List(ctx, deadletter.Filter{Group: "orders-srv", Reason: "does not exist"}) {
			if err != nil {
				return err
			}
			fmt.Println(l, l.Reason)
			if err := letters.Replay(context.WithoutCancel(ctx), l); err != nil {
				return err
			}
		}
		return <-result
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// orders-srv/ticket:created/1 permanent: column "price" does not exist
	// handled T-1
}
