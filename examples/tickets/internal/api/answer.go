package api

import (
	"encoding/json"
	"errors"
	"net/http"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
)

// problem is one thing that is wrong, with the field that it is about.
type problem struct {
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

// errorBody is the JSON of every error, as the tutorial has it.
type errorBody struct {
	Errors []problem `json:"errors"`
	// Ticket and Event are there when the ticket was stored and its event was
	// not, or perhaps not.
	Ticket *store.Ticket `json:"ticket,omitempty"`
	Event  *lostEvent    `json:"event,omitempty"`
}

// lostEvent is an event that the broker did not acknowledge.
type lostEvent struct {
	ID     string `json:"id"`
	Stored string `json:"stored"` // "no" or "unknown"
}

func failure(message string) errorBody { return errorBody{Errors: []problem{{Message: message}}} }

// requestError is an answer to a request that cannot be served as it is.
type requestError struct {
	status   int
	problems []problem
}

func (e *requestError) Error() string { return e.problems[0].Message }

func badRequest(problems ...problem) *requestError {
	return &requestError{http.StatusBadRequest, problems}
}

var errNotAuthorized = &requestError{http.StatusUnauthorized, []problem{{Message: "Not authorized"}}}

// failed answers a request whose change failed, or whose change is made and
// whose event was not acknowledged.
func (s *server) failed(w http.ResponseWriter, r *http.Request, t store.Ticket, err error) {
	var unacknowledged *ticketing.PublishError
	if !errors.As(err, &unacknowledged) {
		s.fail(w, r, err)
		return
	}
	s.Logger.Error("ticket saved without its event", "ticket", t.ID, "version", t.Version, "error", err)
	body := failure("The ticket is saved, but its event was not sent: other services do not know of it")
	body.Ticket, body.Event = &t, &lostEvent{ID: unacknowledged.ID, Stored: "no"}
	if errors.Is(err, ticketing.ErrUnknown) {
		body.Errors[0].Message = "The ticket is saved, but the broker did not confirm its event: it may have been sent or not"
		body.Event.Stored = "unknown"
	}
	answer(w, http.StatusServiceUnavailable, body)
}

// answer writes v as JSON. Whether it arrives is the client's business.
func answer(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
