package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
)

// maxBody is more than a ticket needs, and far less than a broker's
// max_payload.
const maxBody = 64 << 10

// input is what a client sends to make or change a ticket.
type input struct {
	terms   tickets.Terms
	version int // the one that the client has seen, or tickets.AnyVersion
}

// readInput reads a request's body. The error is a *requestError that names
// every field that is wrong.
func readInput(w http.ResponseWriter, r *http.Request) (input, error) {
	// A form of another site can be sent with our cookie, but not as JSON.
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return input{}, badRequest(problem{Message: "Content-Type must be application/json"})
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return input{}, &requestError{http.StatusRequestEntityTooLarge, []problem{{Message: "The body is larger than 64 KiB"}}}
	case err != nil:
		return input{}, badRequest(problem{Message: "The body could not be read"})
	}
	// Field by field, so that one that is wrong does not hide the others.
	var fields struct {
		Title, Price, Version json.RawMessage
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return input{}, badRequest(problem{Message: "The body must be a JSON object"})
	}
	in := input{version: tickets.AnyVersion}
	var seen *int
	var problems []problem
	check := func(name string, raw json.RawMessage, into any, ok func() bool, rule string) {
		if raw != nil && json.Unmarshal(raw, into) != nil || !ok() {
			problems = append(problems, problem{Message: rule, Field: name})
		}
	}
	check("title", fields.Title, &in.terms.Title,
		func() bool { return strings.TrimSpace(in.terms.Title) != "" }, "Title must be a text that is not empty")
	check("price", fields.Price, &in.terms.Price,
		func() bool { return in.terms.Price > 0 }, "Price must be a number greater than 0")
	check("version", fields.Version, &seen,
		func() bool { return seen == nil || *seen >= 0 }, "Version must be the ticket's version, a whole number")
	if len(problems) > 0 {
		return input{}, badRequest(problems...)
	}
	if seen != nil {
		in.version = *seen
	}
	return in, nil
}
