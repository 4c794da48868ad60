package api

import (
	"encoding/json"
	"net/http"
)

// problem is one thing that is wrong, with the field that it is about.
type problem struct {
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

// errorBody is the JSON of every error, as the tutorial has it.
type errorBody struct {
	Errors []problem `json:"errors"`
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
