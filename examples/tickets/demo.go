package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
)

// demoUser is whom the printed token is for.
var demoUser = auth.User{ID: "demo", Email: "demo@example.com"}

// printDemo makes a ticket, and prints lines to paste that show what the
// service does.
func (s *service) printDemo(ctx context.Context, out io.Writer, url, token string) error {
	t, err := s.tickets.Create(ctx, demoUser.ID, tickets.Terms{Title: "Concert", Price: 20})
	if err != nil {
		return err
	}
	fmt.Fprint(out, "\nPaste these into another terminal; the events show up here. Ctrl-C stops.\n")
	if token == "" {
		fmt.Fprint(out, "TOKEN is a token of yours, signed with JWT_KEY for the user \"demo\".\n")
	}
	for _, l := range demoLines(url, t.ID, token) {
		fmt.Fprintf(out, "\n# %s\ncurl -i %s\n", l.says, l.does)
	}
	fmt.Fprintln(out)
	return nil
}

// demoLine is a curl line, and what it is to show.
type demoLine struct{ says, does string }

// demoLines are those for a service at url that has the ticket. Without a token
// they use the shell's variable.
func demoLines(url, ticketID, token string) []demoLine {
	const asJSON = "-H 'Content-Type: application/json' "
	tickets := url + "/api/tickets"
	ticket := tickets + "/" + ticketID
	order := url + "/demo/tickets/" + ticketID + "/order"
	as := "-H 'Authorization: Bearer " + token + "' "
	if token == "" {
		as = `-H "Authorization: Bearer $TOKEN" `
	}
	lines := []demoLine{
		{"make a ticket: 201, and ticket:created", as + asJSON + `-d '{"title":"Opera","price":80.5}' ` + tickets},
		{"the same with the cookie of the tutorial's auth service: 201", "-H 'Cookie: " + auth.Cookie(token) + "' " + asJSON + `-d '{"title":"Theatre","price":35}' ` + tickets},
		{"not without a user: 401", asJSON + `-d '{"title":"Opera","price":80.5}' ` + tickets},
		{"nor without a title and a price: 400, with both", as + asJSON + `-d '{"title":" ","price":-1}' ` + tickets},
		{"the tickets for sale: 200", tickets},
		{"one of them: 200", ticket},
		{"change it: 200, the next version, and ticket:updated", "-X PUT " + as + asJSON + `-d '{"title":"Concert","price":25}' ` + ticket},
		{"order it, as the orders service does: 200, the ticket is reserved", "-X POST " + order},
		{"a reserved ticket cannot be changed: 409", "-X PUT " + as + asJSON + `-d '{"title":"Concert","price":30}' ` + ticket},
		{"cancel the order: 200, the ticket is free again", "-X DELETE " + order},
		{"the process is alive: 200", url + "/healthz"},
		{"it can answer requests, and how its broker is: 200", url + "/readyz"},
	}
	if token == "" { // nobody can make a cookie by hand
		lines = slices.DeleteFunc(lines, func(l demoLine) bool { return strings.Contains(l.does, "Cookie:") })
	}
	return lines
}

// withDemo adds two routes that play the orders service, which is not here.
func (s *service) withDemo(service http.Handler) http.Handler {
	created := ticketing.NewPublisher[events.OrderCreated](s.sender(), nil)
	cancelled := ticketing.NewPublisher[events.OrderCancelled](s.sender(), nil)

	mux := http.NewServeMux()
	mux.Handle("/", service)
	mux.HandleFunc("POST /demo/tickets/{id}/order", func(w http.ResponseWriter, r *http.Request) {
		s.order(w, r, func(ctx context.Context, t store.Ticket) (string, error) {
			if t.OrderID != "" {
				return t.OrderID, nil
			}
			id := uuid.NewString()
			return id, created.Publish(ctx, events.OrderCreated{
				ID:        id,
				Status:    events.OrderStatusCreated,
				UserID:    demoUser.ID,
				ExpiresAt: events.NewTimestamp(time.Now().Add(15 * time.Minute)),
				Ticket:    events.OrderCreatedTicket{ID: t.ID, Price: t.Price, Version: t.Version},
			})
		})
	})
	mux.HandleFunc("DELETE /demo/tickets/{id}/order", func(w http.ResponseWriter, r *http.Request) {
		s.order(w, r, func(ctx context.Context, t store.Ticket) (string, error) {
			if t.OrderID == "" {
				return "", nil
			}
			return "", cancelled.Publish(ctx, events.OrderCancelled{
				ID:     t.OrderID,
				Ticket: events.OrderCancelledTicket{ID: t.ID, Version: t.Version},
			})
		})
	})
	return mux
}

// order lets publish say what happened to a ticket's order, and answers with
// the ticket once the listeners have heard of it.
func (s *service) order(w http.ResponseWriter, r *http.Request, publish func(context.Context, store.Ticket) (orderID string, err error)) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	t, err := s.store.Ticket(ctx, r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	want, err := publish(ctx, t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for err == nil && t.OrderID != want {
		select {
		case <-tick.C:
			t, err = s.store.Ticket(ctx, t.ID)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(t)
}
