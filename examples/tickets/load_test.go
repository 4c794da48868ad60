package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

func TestUnderLoadEveryTicketsEventsAreItsVersionsInOrder(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, b *broker) {
		db := filepath.Join(t.TempDir(), "tickets.db")
		out, stop := inProcess(t, b.environment(db))
		c := newClient(t, out.url())
		create := func() (store.Ticket, bool) {
			status, ticket, err := c.create("load")
			if err != nil || status != http.StatusCreated {
				t.Errorf("create: status %d, error %v", status, err)
				return ticket, false
			}
			return ticket, true
		}

		// The tickets that all fight for, by updates and by orders.
		const clients, orderers, rounds = 64, 4, 3
		var shared [orderers]store.Ticket
		for i := range shared {
			var ok bool
			if shared[i], ok = create(); !ok {
				return
			}
		}
		var changed, refused, orders atomic.Int32
		update := func(id string, price int) {
			switch status, _, err := c.update(id, price); {
			case err == nil && status == http.StatusOK:
				changed.Add(1)
			case err == nil && status == http.StatusConflict:
				refused.Add(1)
			default:
				t.Errorf("update: status %d, error %v", status, err)
			}
		}
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				mine, ok := create()
				for round := 1; ok && round <= rounds; round++ {
					update(mine.ID, round)
					update(shared[(i+round)%len(shared)].ID, i+1)
					status, got, err := c.show(mine.ID)
					if err != nil || status != http.StatusOK || got.Version != round {
						t.Errorf("read version %d after %d updates, status %d, error %v", got.Version, round, status, err)
					}
					if status, _, err := c.do(http.MethodGet, "/api/tickets?limit=10", ""); err != nil || status != http.StatusOK {
						t.Errorf("list: status %d, error %v", status, err)
					}
				}
			})
		}
		o := newOrders(t, b)
		for i := range orderers {
			wg.Go(func() {
				for round := range rounds {
					// One order that is heard of before it is cancelled ...
					id := fmt.Sprintf("order-%d-%d", i, round)
					o.create(t, id, shared[i])
					has := func(order string) func() bool {
						return func() bool {
							_, ticket, err := c.show(shared[i].ID)
							return err == nil && ticket.OrderID == order
						}
					}
					if !within(patience, has(id)) {
						t.Errorf("%s did not get its ticket", id)
						return
					}
					o.cancel(t, id, shared[i])
					if !within(patience, has("")) {
						t.Errorf("%s did not set its ticket free", id)
						return
					}
					// ... and one of which either may be heard of first.
					if ticket, ok := create(); ok {
						o.create(t, id+"-quick", ticket)
						o.cancel(t, id+"-quick", ticket)
					}
					orders.Add(2)
				}
			})
		}
		wg.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		t.Logf("%d updates, %d conflicts, %d orders", changed.Load(), refused.Load(), orders.Load())
		if changed.Load() == 0 || refused.Load() == 0 {
			t.Error("the clients did not get in each other's way")
		}
		check := b.connect(t, "check")
		relayTheRest(t, db, check)
		b.requireEvents(t, check, db)
	})
}

// relayTheRest brings what the service had not sent when it was stopped to the
// broker, as its next start would.
func relayTheRest(t *testing.T, db string, c *natswrap.Client) {
	s := openStore(t, db)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- outbox.NewRelay(s.Outbox, c, nil).Run(ctx) }()
	eventually(t, "the outbox is empty", outboxIsEmpty(t, db))
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// orderService publishes what the orders service does.
type orderService struct {
	client    *natswrap.Client
	created   *events.OrderCreatedPublisher
	cancelled *events.OrderCancelledPublisher
}

func newOrders(t *testing.T, b *broker) *orderService {
	c := b.connect(t, "orders")
	return &orderService{c, ticketing.NewPublisher[events.OrderCreated](c, nil), ticketing.NewPublisher[events.OrderCancelled](c, nil)}
}

func (o *orderService) create(t *testing.T, id string, ticket store.Ticket) {
	err := o.created.Publish(t.Context(), events.OrderCreated{
		ID:        id,
		Status:    events.OrderStatusCreated,
		UserID:    "bob",
		ExpiresAt: events.NewTimestamp(time.Now().Add(time.Minute)),
		Ticket:    events.OrderCreatedTicket{ID: ticket.ID, Price: ticket.Price, Version: ticket.Version},
	})
	if err != nil {
		t.Error(err)
	}
}

func (o *orderService) cancel(t *testing.T, id string, ticket store.Ticket) {
	err := o.cancelled.Publish(t.Context(), events.OrderCancelled{
		ID:     id,
		Ticket: events.OrderCancelledTicket{ID: ticket.ID, Version: ticket.Version},
	})
	if err != nil {
		t.Error(err)
	}
}
