package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/api"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store/storetest"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fixture is the service without a broker: its handler, its database, and the
// recorder that has what it publishes.
type fixture struct {
	http.Handler
	broker  natstest.Recorder
	store   *store.Store
	service *tickets.Service
	ann     string // tokens
	bob     string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	s, err := store.Open(context.Background(), store.Memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	a := auth.New("key")
	f := &fixture{store: s}
	f.service = tickets.New(s, &f.broker)
	f.Handler = api.New(f.service, a, &api.Options{Logger: slog.New(slog.DiscardHandler)})
	for token, user := range map[*string]string{&f.ann: "ann", &f.bob: "bob"} {
		if *token, err = a.Sign(auth.User{ID: user}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// do sends a request; body is sent as JSON, and token is sent where there is
// one.
func (f *fixture) do(method, path, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

// published is the recorder, with what all requests so far have published.
func (f *fixture) published(t *testing.T) *natstest.Recorder {
	t.Helper()
	storetest.Relay(t, f.store, &f.broker)
	return &f.broker
}

// create makes a ticket of ann's, and forgets its event.
func (f *fixture) create(t *testing.T) store.Ticket {
	t.Helper()
	w := f.do(http.MethodPost, "/api/tickets", f.ann, `{"title":"Opera","price":20}`)
	f.published(t).Reset()
	return decode[store.Ticket](t, w, http.StatusCreated)
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

// problems is an error's answer.
type problems struct {
	Errors []struct{ Message, Field string }
}

func TestATicketThatIsMadeIsAnsweredAndPublishedOnce(t *testing.T) {
	f := newFixture(t)
	w := f.do(http.MethodPost, "/api/tickets", f.ann, `{"title":"Opera & Ballet","price":20.5}`)
	got := decode[store.Ticket](t, w, http.StatusCreated)
	want := store.Ticket{ID: got.ID, Title: "Opera & Ballet", Price: 20.5, UserID: "ann"}
	if got != want || got.ID == "" {
		t.Errorf("answer %+v, want %+v", got, want)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}

	// Exactly one event, with exactly these fields.
	event := natstest.RequireOnePublished[events.TicketCreated](t, f.published(t))
	if diff := cmp.Diff(events.TicketCreated{ID: got.ID, Title: "Opera & Ballet", Price: 20.5, UserID: "ann"}, event); diff != "" {
		t.Error(diff)
	}
	natstest.RequireNonePublished[events.TicketUpdated](t, f.published(t))
}

func TestATicketThatIsChangedIsAnsweredAndPublishedOnce(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	got := decode[store.Ticket](t, f.do(http.MethodPut, "/api/tickets/"+ticket.ID, f.ann, `{"title":"Ballet","price":30}`), http.StatusOK)
	want := store.Ticket{ID: ticket.ID, Title: "Ballet", Price: 30, UserID: "ann", Version: 1}
	if got != want {
		t.Errorf("answer %+v, want %+v", got, want)
	}
	natstest.RequireSequence(t, f.published(t),
		events.TicketUpdated{ID: ticket.ID, Title: "Ballet", Price: 30, UserID: "ann", Version: 1})
	if got := decode[store.Ticket](t, f.do(http.MethodGet, "/api/tickets/"+ticket.ID, "", ""), http.StatusOK); got != want {
		t.Errorf("it reads %+v, want %+v", got, want)
	}
}

func TestAUserMayBeInTheTutorialsCookie(t *testing.T) {
	f := newFixture(t)
	r := httptest.NewRequest(http.MethodPost, "/api/tickets", strings.NewReader(`{"title":"Opera","price":20}`))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Cookie", auth.Cookie(f.bob))
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	decode[store.Ticket](t, w, http.StatusCreated)
	natstest.RequirePublished(t, f.published(t), events.TicketCreated{UserID: "bob"},
		cmpopts.IgnoreFields(events.TicketCreated{}, "ID", "Title", "Price"))
}

func TestInputThatIsWrongIsRefusedByFieldAndNotPublished(t *testing.T) {
	f := newFixture(t)
	ticket := f.create(t)
	for name, test := range map[string]struct {
		body   string
		status int
		fields []string
	}{
		"no title":                 {`{"price":20}`, 400, []string{"title"}},
		"an empty title":           {`{"title":"","price":20}`, 400, []string{"title"}},
		"a title of spaces":        {`{"title":" \n","price":20}`, 400, []string{"title"}},
		"a title that is null":     {`{"title":null,"price":20}`, 400, []string{"title"}},
		"a title that is a number": {`{"title":7,"price":20}`, 400, []string{"title"}},
		"no price":                 {`{"title":"Opera"}`, 400, []string{"price"}},
		"a price of 0":             {`{"title":"Opera","price":0}`, 400, []string{"price"}},
		"a negative price":         {`{"title":"Opera","price":-10}`, 400, []string{"price"}},
		"a price that is a text":   {`{"title":"Opera","price":"20"}`, 400, []string{"price"}},
		"a price beyond numbers":   {`{"title":"Opera","price":1e999}`, 400, []string{"price"}},
		"a negative version":       {`{"title":"Opera","price":20,"version":-1}`, 400, []string{"version"}},
		"half a version":           {`{"title":"Opera","price":20,"version":0.5}`, 400, []string{"version"}},
		"everything":               {`{"title":[],"price":{},"version":"x"}`, 400, []string{"title", "price", "version"}},
		"an empty object":          {`{}`, 400, []string{"title", "price"}},
		"null":                     {`null`, 400, []string{"title", "price"}},
		"a list":                   {`[]`, 400, []string{""}},
		"nothing":                  {``, 400, []string{""}},
		"no JSON":                  {`title=Opera&price=20`, 400, []string{""}},
		"half of it":               {`{"title":"Opera","price":2`, 400, []string{""}},
		"more behind it":           {`{"title":"Opera","price":20}{}`, 400, []string{""}},
		"too much":                 {`{"title":"` + strings.Repeat("x", 64<<10) + `","price":20}`, 413, []string{""}},
		"too deep":                 {strings.Repeat("[", 20_000), 400, []string{""}},
	} {
		for _, request := range []struct{ method, path string }{
			{http.MethodPost, "/api/tickets"},
			{http.MethodPut, "/api/tickets/" + ticket.ID},
		} {
			t.Run(request.method+" with "+name, func(t *testing.T) {
				var fields []string
				for _, e := range decode[problems](t, f.do(request.method, request.path, f.ann, test.body), test.status).Errors {
					fields = append(fields, e.Field)
					if e.Message == "" {
						t.Errorf("no message for %q", e.Field)
					}
				}
				if diff := cmp.Diff(test.fields, fields); diff != "" {
					t.Errorf("fields named (-want +got):\n%s", diff)
				}
				natstest.RequireSequence(t, f.published(t)) // nothing was published
			})
		}
	}
}

func TestOnlyJSONIsTakenForJSON(t *testing.T) {
	f := newFixture(t)
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; ;"} {
		r := httptest.NewRequest(http.MethodPost, "/api/tickets", strings.NewReader(`{"title":"Opera","price":20}`))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", "Bearer "+f.ann)
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		decode[problems](t, w, http.StatusBadRequest)
	}
	natstest.RequireSequence(t, f.published(t))
}

func TestARequestThatIsRefusedIsNotPublished(t *testing.T) {
	f := newFixture(t)
	ticket, reserved := f.create(t), f.create(t)
	if err := f.service.Reserve(t.Context(), reserved.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	f.published(t).Reset()
	const body = `{"title":"Opera","price":20}`
	for name, test := range map[string]struct {
		method, path, token, body string
		status                    int
	}{
		"make without a user":        {http.MethodPost, "/api/tickets", "", body, 401},
		"make with a bad token":      {http.MethodPost, "/api/tickets", "bad", body, 401},
		"change without a user":      {http.MethodPut, "/api/tickets/" + ticket.ID, "", body, 401},
		"change somebody else's":     {http.MethodPut, "/api/tickets/" + ticket.ID, f.bob, body, 403},
		"change an unknown one":      {http.MethodPut, "/api/tickets/T0", f.ann, body, 404},
		"change a reserved one":      {http.MethodPut, "/api/tickets/" + reserved.ID, f.ann, body, 409},
		"change an old version":      {http.MethodPut, "/api/tickets/" + ticket.ID, f.ann, `{"title":"Opera","price":20,"version":7}`, 409},
		"read an unknown one":        {http.MethodGet, "/api/tickets/T0", "", "", 404},
		"list too many":              {http.MethodGet, "/api/tickets?limit=1001", "", "", 400},
		"list what is no number":     {http.MethodGet, "/api/tickets?limit=x", "", "", 400},
		"an unknown path":            {http.MethodGet, "/api/ticket", "", "", 404},
		"a method that is not there": {http.MethodDelete, "/api/tickets/" + ticket.ID, f.ann, "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			got := decode[problems](t, f.do(test.method, test.path, test.token, test.body), test.status)
			if len(got.Errors) != 1 || got.Errors[0].Message == "" {
				t.Errorf("answer %+v", got)
			}
			natstest.RequireSequence(t, f.published(t))
		})
	}
}

func TestTheListHasWhatIsForSaleInPages(t *testing.T) {
	f := newFixture(t)
	if got := strings.TrimSpace(f.do(http.MethodGet, "/api/tickets", "", "").Body.String()); got != "[]" {
		t.Errorf("the list without tickets is %s", got)
	}
	reserved, first, second := f.create(t), f.create(t), f.create(t)
	if err := f.service.Reserve(t.Context(), reserved.ID, "O1"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]store.Ticket{
		"/api/tickets":                           {first, second},
		"/api/tickets?limit=1":                   {first},
		"/api/tickets?limit=1&after=" + first.ID: {second},
		"/api/tickets?after=" + second.ID:        {},
	} {
		if diff := cmp.Diff(want, decode[[]store.Ticket](t, f.do(http.MethodGet, path, "", ""), http.StatusOK)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	broker, store := errors.New("not connected"), errors.New("disk full")
	h := api.New(nil, auth.New("key"), &api.Options{Ready: []api.Check{
		{Name: "broker", Check: func(context.Context) error { return broker }, Optional: true},
		{Name: "store", Check: func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				return errors.New("no deadline")
			}
			return store
		}},
	}})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	found := decode[map[string]string](t, get("/readyz"), http.StatusServiceUnavailable)
	if diff := cmp.Diff(map[string]string{"broker": "not connected", "store": "disk full"}, found); diff != "" {
		t.Error(diff)
	}
	if w := get("/healthz"); w.Code != http.StatusOK {
		t.Errorf("the process is not alive without its store: %d", w.Code)
	}
	store = nil
	found = decode[map[string]string](t, get("/readyz"), http.StatusOK)
	if diff := cmp.Diff(map[string]string{"broker": "not connected", "store": "ok"}, found); diff != "" {
		t.Errorf("without what is optional (-want +got):\n%s", diff)
	}
}

// broken is a service whose database has failed.
type broken struct{ api.Tickets }

func (broken) Ticket(ctx context.Context, _ string) (store.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return store.Ticket{}, err
	}
	return store.Ticket{}, errors.New("disk full at /secret/path")
}

func TestAFaultOfOursIsLoggedAndNotTold(t *testing.T) {
	var log bytes.Buffer
	h := api.New(broken{}, auth.New("key"), &api.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/tickets/T1", nil))
	decode[problems](t, w, http.StatusInternalServerError)
	if strings.Contains(w.Body.String(), "disk") || !strings.Contains(log.String(), "disk full") {
		t.Errorf("answer %s\nlog %s", w.Body, &log)
	}

	log.Reset()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/tickets/T1", nil).WithContext(gone))
	if log.Len() > 0 {
		t.Errorf("a client that has gone is logged as a fault: %s", &log)
	}
}

func TestABodyThatBreaksOffIsRefused(t *testing.T) {
	f := newFixture(t)
	r := httptest.NewRequest(http.MethodPost, "/api/tickets", io.MultiReader(strings.NewReader(`{"title":`), brokenBody{}))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+f.ann)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	decode[problems](t, w, http.StatusBadRequest)
	natstest.RequireSequence(t, f.published(t))
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
