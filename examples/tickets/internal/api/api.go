// Package api is the service's HTTP: the tutorial's routes and JSON, and two
// endpoints for probes.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
)

// Tickets is what the routes need; package tickets has it.
type Tickets interface {
	Ticket(ctx context.Context, id string) (store.Ticket, error)
	ForSale(ctx context.Context, after string, limit int) ([]store.Ticket, error)
	Create(ctx context.Context, userID string, terms tickets.Terms) (store.Ticket, error)
	Update(ctx context.Context, userID, id string, version int, terms tickets.Terms) (store.Ticket, error)
}

// Check is a part that is looked at by /readyz.
type Check struct {
	Name  string
	Check func(ctx context.Context) error
	// Optional: requests can be answered without it. What is wrong with it is
	// told, and the service is ready.
	Optional bool
}

// Options configures the handler. Nil and the zero value are good.
type Options struct {
	// Ready are the checks of /readyz. They get at most two seconds together.
	Ready []Check
	// Logger hears of requests that failed by our fault. Default
	// [slog.Default].
	Logger *slog.Logger
}

// New returns the service's handler:
//
//	POST /api/tickets        make a ticket
//	PUT  /api/tickets/{id}   change one's own
//	GET  /api/tickets/{id}   read one
//	GET  /api/tickets        read those that are for sale, ?limit=, ?after=id
//	GET  /healthz            200 while the process runs
//	GET  /readyz             200 while requests can be answered
func New(t Tickets, a *auth.Auth, opts *Options) http.Handler {
	s := &server{tickets: t, auth: a}
	if opts != nil {
		s.Options = *opts
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/tickets", s.create)
	mux.HandleFunc("PUT /api/tickets/{id}", s.update)
	mux.HandleFunc("GET /api/tickets/{id}", s.show)
	mux.HandleFunc("GET /api/tickets", s.list)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, failure("Not found"))
	})
	return mux
}

type server struct {
	tickets Tickets
	auth    *auth.Auth
	Options
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	user, err := s.auth.User(r)
	if err != nil {
		s.fail(w, r, errNotAuthorized)
		return
	}
	in, err := readInput(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	t, err := s.tickets.Create(r.Context(), user.ID, in.terms)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusCreated, t)
}

func (s *server) update(w http.ResponseWriter, r *http.Request) {
	user, err := s.auth.User(r)
	if err != nil {
		s.fail(w, r, errNotAuthorized)
		return
	}
	in, err := readInput(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	t, err := s.tickets.Update(r.Context(), user.ID, r.PathValue("id"), in.version, in.terms)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, t)
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	t, err := s.tickets.Ticket(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, t)
}

// How many tickets are listed at once.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

var errLimit = &requestError{http.StatusBadRequest, []problem{{
	Message: "Limit must be a number from 1 to " + strconv.Itoa(maxLimit), Field: "limit",
}}}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := defaultLimit
	if v := query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxLimit {
			s.fail(w, r, errLimit)
			return
		}
		limit = n
	}
	list, err := s.tickets.ForSale(r.Context(), query.Get("after"), limit)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, list)
}

// healthz is for a liveness probe. It does not look at the broker: starting
// this process again would not bring that back.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"process": "ok"})
}

// readyTimeout bounds the checks of /readyz.
const readyTimeout = 2 * time.Second

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	status, found := http.StatusOK, make(map[string]string, len(s.Ready))
	for _, c := range s.Ready {
		found[c.Name] = "ok"
		if err := c.Check(ctx); err != nil {
			found[c.Name] = err.Error()
			if !c.Optional {
				status = http.StatusServiceUnavailable
			}
		}
	}
	answer(w, status, found)
}

// fail answers a request that changed nothing.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var bad *requestError
	switch {
	case errors.As(err, &bad):
		answer(w, bad.status, errorBody{Errors: bad.problems})
	case errors.Is(err, store.ErrNotFound):
		answer(w, http.StatusNotFound, failure("There is no ticket with this id"))
	case errors.Is(err, tickets.ErrForbidden):
		answer(w, http.StatusForbidden, failure("The ticket is somebody else's"))
	case errors.Is(err, tickets.ErrReserved):
		answer(w, http.StatusConflict, failure("The ticket is reserved and cannot be changed"))
	case errors.Is(err, store.ErrConflict):
		answer(w, http.StatusConflict, failure("The ticket was changed meanwhile: read it and try again"))
	case r.Context().Err() != nil:
		// The client has gone.
	default:
		s.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		answer(w, http.StatusInternalServerError, failure("Something went wrong"))
	}
}
