package fromnode

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// post creates a ticket through the handlers and returns the status.
func post(t *testing.T, tickets *Tickets, body string) int {
	t.Helper()
	res := httptest.NewRecorder()
	tickets.Routes().ServeHTTP(res, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/tickets", strings.NewReader(body)))
	return res.Code
}

// region recorder

func TestCreatingATicketPublishesIt(t *testing.T) {
	var broker natstest.Recorder // the mock; its zero value is ready
	tickets := NewTickets(NewStore(), &broker)

	res := httptest.NewRecorder()
	body := strings.NewReader(`{"title": "concert", "price": 20, "userId": "u1"}`)
	tickets.Routes().ServeHTTP(res, httptest.NewRequest("POST", "/api/tickets", body))

	if res.Code != http.StatusCreated {
		t.Fatalf("status %d: %s", res.Code, res.Body)
	}
	event := natstest.RequireOnePublished[events.TicketCreated](t, &broker)
	if event.Title != "concert" || event.Price != 20 {
		t.Errorf("published %+v", event)
	}
}

// endregion

func TestExpectations(t *testing.T) {
	var broker natstest.Recorder
	tickets := NewTickets(NewStore(), &broker)

	if status := post(t, tickets, `{"title": "concert"}`); status != http.StatusBadRequest {
		t.Errorf("status %d", status)
	}
	// region not-called
	natstest.RequireNonePublished[events.TicketCreated](t, &broker)
	natstest.RequireSequence(t, &broker) // nothing at all
	// endregion

	if status := post(t, tickets, `{"title": "concert", "price": 20, "userId": "u1"}`); status != http.StatusCreated {
		t.Errorf("status %d", status)
	}
	// region called-with
	natstest.RequirePublished(t, &broker,
		events.TicketCreated{Title: "concert", Price: 20, UserID: "u1"},
		cmpopts.IgnoreFields(events.TicketCreated{}, "ID"))
	// endregion
}

// region fails

func TestAFailedPublishIsAnswered(t *testing.T) {
	var broker natstest.Recorder
	broker.FailNext(ticketing.OutcomeNotSent)
	tickets := NewTickets(NewStore(), &broker)

	if status := post(t, tickets, `{"title": "concert", "price": 20}`); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}

// endregion

func TestAnUnknownOutcomeIsAnswered(t *testing.T) {
	var broker natstest.Recorder
	broker.FailNext(ticketing.OutcomeUnknown)
	if status := post(t, NewTickets(NewStore(), &broker), `{"title": "concert", "price": 20}`); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}

// region deliver

func TestAnOrderReservesItsTicket(t *testing.T) {
	var broker natstest.Recorder
	store := NewStore()
	ticket := store.Insert(Ticket{Title: "concert", Price: 20})
	tickets := NewTickets(store, &broker)
	natstest.Listen(t, ticketing.NewListener(&broker, "tickets-service", tickets.OrderCreated, nil))

	order := events.OrderCreated{ID: "o1", Ticket: events.OrderCreatedTicket{ID: ticket.ID}}
	if res := natstest.Deliver(t, &broker, order); !res.Acked() {
		t.Fatal(res) // says what became of it, and why
	}
	if e := natstest.RequireOnePublished[events.TicketUpdated](t, &broker); e.OrderID != "o1" || e.Version != 1 {
		t.Errorf("published %+v", e)
	}
}

// endregion

func TestAnOrderOfAnUnknownTicketComesAgain(t *testing.T) {
	var broker natstest.Recorder
	tickets := NewTickets(NewStore(), &broker)
	go func() {
		_ = ticketing.NewListener(&broker, "tickets-service", tickets.OrderCreated, quiet).Listen(t.Context())
	}()
	// region not-acked
	res := natstest.Deliver(t, &broker, events.OrderCreated{ID: "o1"})
	if !res.Retried() {
		t.Fatal(res)
	}
	// endregion
}

func ExamplePublisher_PublishAsync() {
	var broker natstest.Recorder
	tickets := NewTickets(NewStore(), &broker)
	ticket := tickets.store.Insert(Ticket{Title: "concert", Price: 20})
	ctx := context.Background()
	// region async
	receipt := tickets.created.PublishAsync(ctx, ticket.created())
	// … other work …
	err := receipt.Wait(ctx) // or never: a failure reaches OnError or the log
	// endregion
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(broker.Messages()), "published")
	// Output: 1 published
}
