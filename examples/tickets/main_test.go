package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const jwtKey = "asdf" // the tutorial's

// patience is more than anything here takes.
const patience = 30 * time.Second

// broker is a broker of the test's own, and the environment that leads there.
type broker struct {
	env     map[string]string
	stop    func()
	restart func() error
}

// brokers are both, with their files.
var brokers = map[string]func(t *testing.T) *broker{
	"jetstream": func(t *testing.T) *broker {
		s := natsserver.Run(t)
		return &broker{map[string]string{"NATS_URL": s.URL()}, s.Shutdown, s.Restart}
	},
	"stan": func(t *testing.T) *broker {
		s := stanserver.Run(t, stanserver.FileStore())
		return &broker{map[string]string{"NATS_URL": s.URL(), "NATS_CLUSTER_ID": s.ClusterID()}, s.Shutdown, s.Restart}
	},
}

func onBothBrokers(t *testing.T, test func(t *testing.T, b *broker)) {
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

// environment is the service's, whatever that of the test is.
func (b *broker) environment(db string) map[string]string {
	env := map[string]string{
		"NATS_URL": "", "NATS_CLUSTER_ID": "", "NATS_BACKEND": "",
		"NATS_CLIENT_ID":   "tickets-1",
		"JWT_KEY":          jwtKey,
		"PORT":             "0",
		"TICKETS_DB":       db,
		"SHUTDOWN_TIMEOUT": "20s",
		"LOG_LEVEL":        "warn",
	}
	for name, value := range b.env {
		env[name] = value
	}
	return env
}

// connect connects the test itself, as the other services do.
func (b *broker) connect(t *testing.T, id string) *natswrap.Client {
	t.Helper()
	env := b.environment("")
	env["NATS_CLIENT_ID"] = id
	cfg, err := natswrap.FromLookup(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// versions are those that the stream has of each ticket, in the stream's order.
type versions map[string][]int

func (v versions) has(t store.Ticket) bool {
	for _, version := range v[t.ID] {
		if version == t.Version {
			return true
		}
	}
	return false
}

// readStream reads all events of tickets from the first to a last one that it
// publishes itself. Every call has a group of its own.
func readStream(t *testing.T, c *natswrap.Client, group string) versions {
	t.Helper()
	const marker = "end of the stream for "
	end := marker + group
	found := versions{}
	read(t, c, group, events.TicketCreated{ID: end}, func(e events.TicketCreated) bool {
		if !strings.HasPrefix(e.ID, marker) {
			found[e.ID] = append(found[e.ID], e.Version)
		}
		return e.ID == end
	})
	read(t, c, group, events.TicketUpdated{ID: end}, func(e events.TicketUpdated) bool {
		if !strings.HasPrefix(e.ID, marker) {
			found[e.ID] = append(found[e.ID], e.Version)
		}
		return e.ID == end
	})
	return found
}

func read[E ticketing.Event](t *testing.T, c *natswrap.Client, group string, last E, each func(E) (done bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := ticketing.NewPublisher[E](c, nil).Publish(ctx, last); err != nil {
		t.Fatal(err)
	}
	done := false
	err := c.Receive(ctx, ticketing.Subscription{Subject: last.Subject(), Group: group, Window: 1024}, func(_ context.Context, in *ticketing.Inbound) {
		var e E
		if err := json.Unmarshal(in.Data, &e); err != nil {
			t.Error(err)
		}
		_ = in.Settle(ticketing.Verdict{Kind: ticketing.Ack}) // a group of this test's alone
		if !done && each(e) {
			done = true
			cancel()
		}
	})
	if err != nil || !done {
		t.Fatalf("%s was not read to its end: %v", last.Subject(), err)
	}
}

// requireVersions fails the test unless the stream has each ticket's versions
// from 0 to the stored one, each once.
func requireVersions(t *testing.T, found versions, tickets []store.Ticket) {
	t.Helper()
	for _, ticket := range tickets {
		seen := map[int]bool{}
		for _, v := range found[ticket.ID] {
			if seen[v] || v < 0 || v > ticket.Version {
				t.Errorf("ticket %s of version %d: the stream has %v", ticket.ID, ticket.Version, found[ticket.ID])
			}
			seen[v] = true
		}
		if len(seen) != ticket.Version+1 {
			t.Errorf("ticket %s of version %d: the stream has %v, which is not all", ticket.ID, ticket.Version, found[ticket.ID])
		}
	}
}

// client sends requests to the service as ann.
type client struct {
	url   string
	token string
	http  *http.Client
}

func newClient(t testing.TB, url string) *client {
	t.Helper()
	token, err := auth.New(jwtKey).Sign(auth.User{ID: "ann", Email: "ann@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{url: url, token: token, http: &http.Client{Transport: transport, Timeout: patience}}
}

// do sends a request and returns the whole answer. An error means that there
// was none.
func (c *client) do(method, path, body string) (status int, answer []byte, err error) {
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// ticket sends a request that is answered with a ticket.
func (c *client) ticket(method, path, body string) (status int, ticket store.Ticket, err error) {
	status, answer, err := c.do(method, path, body)
	if err == nil && status < 300 {
		err = json.Unmarshal(answer, &ticket)
	}
	return status, ticket, err
}

func (c *client) create(title string) (int, store.Ticket, error) {
	return c.ticket(http.MethodPost, "/api/tickets", fmt.Sprintf(`{"title":%q,"price":20}`, title))
}

func (c *client) update(id string, price int) (int, store.Ticket, error) {
	return c.ticket(http.MethodPut, "/api/tickets/"+id, fmt.Sprintf(`{"title":"changed","price":%d}`, price))
}

func (c *client) show(id string) (int, store.Ticket, error) {
	return c.ticket(http.MethodGet, "/api/tickets/"+id, "")
}

// within waits until ok, and reports whether it came to that.
func within(d time.Duration, ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// eventually waits until ok. It is for the test's own goroutine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !within(patience, ok) {
		t.Fatalf("not after %v: %s", patience, what)
	}
}

func (c *client) ready() bool {
	status, _, err := c.do(http.MethodGet, "/readyz", "")
	return err == nil && status == http.StatusOK
}

// storedTickets are all tickets of a database that no service uses any more.
func storedTickets(t *testing.T, db string, ids []string) []store.Ticket {
	t.Helper()
	s, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all []store.Ticket
	for _, id := range ids {
		ticket, err := s.Ticket(t.Context(), id)
		if err != nil {
			t.Fatalf("ticket %s: %v", id, err)
		}
		all = append(all, ticket)
	}
	return all
}

// output collects what the service prints, from any goroutine.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// url is the service's, once it was printed.
func (o *output) url() string {
	for line := range strings.Lines(o.String()) {
		if url, ok := strings.CutPrefix(line, "tickets: "); ok && strings.HasSuffix(url, "\n") {
			return strings.TrimSpace(url)
		}
	}
	return ""
}

// inProcess runs the service in this process, and returns its output and how
// to stop it.
func inProcess(t *testing.T, env map[string]string) (out *output, stop func() error) {
	t.Helper()
	out = new(output)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, out, out, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	}()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-ended
		})
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the service ended with %v\n%s", err, out)
		}
	})
	eventually(t, "the service prints its URL", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the service ended with %v\n%s", err, out)
		default:
		}
		return out.url() != ""
	})
	return out, stop
}
