package fromnode

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

// region service

type Tickets struct {
	store   *Store
	created *events.TicketCreatedPublisher
	updated *events.TicketUpdatedPublisher
}

func NewTickets(store *Store, broker ticketing.Sender) *Tickets {
	return &Tickets{
		store:   store,
		created: ticketing.NewPublisher[events.TicketCreated](broker, nil),
		updated: ticketing.NewPublisher[events.TicketUpdated](broker, nil),
	}
}

// endregion

func (t *Tickets) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/tickets", t.create)
	return mux
}

// region awaited

func (t *Tickets) create(w http.ResponseWriter, r *http.Request) {
	var ticket Ticket
	if err := json.NewDecoder(r.Body).Decode(&ticket); err != nil || ticket.Price <= 0 {
		http.Error(w, "a ticket has a title and a price", http.StatusBadRequest)
		return
	}
	ticket = t.store.Insert(ticket)
	switch err := t.created.Publish(r.Context(), ticket.created()); {
	case errors.Is(err, ticketing.ErrUnknown):
		http.Error(w, "saved; whether it was announced is not known", http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, "saved, but not announced", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

// endregion

// region listener

func (t *Tickets) OrderCreated(ctx context.Context, d *ticketing.Delivery[events.OrderCreated]) error {
	ticket, err := t.store.Reserve(d.Event.Ticket.ID, d.Event.ID)
	if err != nil {
		return err // not acknowledged: comes again after a backoff
	}
	return t.updated.Publish(ctx, ticket.updated()) // nil acknowledges
}

// endregion
