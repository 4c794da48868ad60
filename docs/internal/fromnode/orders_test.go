package fromnode

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// Orders is another service, which keeps a copy of the tickets.
type Orders struct{ copies *Store }

// region version

func (o *Orders) TicketUpdated(_ context.Context, d *ticketing.Delivery[events.TicketUpdated]) error {
	if err := ticketing.NextVersion(o.copies.Version(d.Event.ID), d.Event.Version); err != nil {
		return err
	}
	return o.copies.Put(d.Event)
}

// endregion

func TestACopyOfATicketTakesEachVersionOnceAndInOrder(t *testing.T) {
	o := Orders{NewStore()}
	o.copies.Insert(Ticket{Title: "concert", Price: 20})
	var broker natstest.Recorder
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- ticketing.NewListener(&broker, "orders-service", o.TicketUpdated, quiet).Listen(ctx)
	}()
	for _, tt := range []struct {
		version int
		acked   bool
	}{{2, false}, {1, true}, {1, true}, {2, true}, {0, true}} {
		res := natstest.Deliver(t, &broker, events.TicketUpdated{ID: "t1", Version: tt.version})
		if res.Acked() != tt.acked {
			t.Errorf("version %d: %v", tt.version, res)
		}
	}
	if have := o.copies.Version("t1"); have != 2 {
		t.Errorf("version %d in the end", have)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// quiet is for failures that are part of a test.
var quiet = &ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler)}

func ExampleListener() {
	client, ctx := new(natstest.Recorder), context.Background()
	ctx, cancel := context.WithCancel(ctx)
	cancel() // this listener has nothing to do
	tickets := NewTickets(NewStore(), client)
	// region listen
	orders := ticketing.NewListener(client, "tickets-service", tickets.OrderCreated, nil)
	err := orders.Listen(ctx) // blocks until ctx ends
	// endregion
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stopped")
	// Output: stopped
}
