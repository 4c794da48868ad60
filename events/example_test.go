package events_test

import (
	"context"
	"fmt"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

// printer stands for a connection.
var printer = ticketing.SendFunc(func(_ context.Context, m *ticketing.Message) error {
	fmt.Printf("%s key=%s %s\n", m.Subject, m.Key, m.Data)
	return nil
})

func Example() {
	// A service embeds what it publishes.
	type Service struct {
		*events.TicketCreatedPublisher
		*events.TicketUpdatedPublisher
	}
	s := Service{
		ticketing.NewPublisher[events.TicketCreated](printer, nil),
		ticketing.NewPublisher[events.TicketUpdated](printer, nil),
	}

	ctx := context.Background()
	if err := s.TicketCreatedPublisher.Publish(ctx, events.TicketCreated{ID: "t1", Title: "concert", Price: 20, UserID: "u1"}); err != nil {
		fmt.Println(err)
	}
	if err := s.TicketUpdatedPublisher.Publish(ctx, events.TicketUpdated{ID: "t1", Title: "concert", Price: 20.5, UserID: "u1", Version: 1}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ticket:created key=t1 {"id":"t1","title":"concert","price":20,"userId":"u1","version":0}
	// ticket:updated key=t1 {"id":"t1","title":"concert","price":20.5,"userId":"u1","version":1}
}

func ExampleOrderCreated() {
	ordered := time.Date(2021, time.October, 5, 14, 33, 0, 0, time.UTC)
	orders := ticketing.NewPublisher[events.OrderCreated](printer, nil)
	err := orders.Publish(context.Background(), events.OrderCreated{
		ID:        "o1",
		Status:    events.OrderStatusCreated,
		UserID:    "u2",
		ExpiresAt: events.NewTimestamp(ordered.Add(15 * time.Minute)),
		Ticket:    events.OrderCreatedTicket{ID: "t1", Price: 20.5, Version: 1},
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// order:created key=o1 {"id":"o1","status":"created","userId":"u2","expiresAt":"2021-10-05T14:48:00.000Z","ticket":{"id":"t1","price":20.5,"version":1}}
}

func ExampleTimestamp() {
	var order events.OrderCreated
	if err := ticketing.JSON.Unmarshal([]byte(`{"expiresAt":"2021-10-05T14:48:00.000Z"}`), &order); err != nil {
		fmt.Println(err)
	}
	now := time.Date(2021, time.October, 5, 14, 33, 0, 0, time.UTC)
	fmt.Println(order.ExpiresAt, "is in", order.ExpiresAt.Time().Sub(now))
	// Output: 2021-10-05T14:48:00.000Z is in 15m0s
}
