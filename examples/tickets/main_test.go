package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
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
const patience = 60 * time.Second

// broker is a broker of the test's own, and the environment that leads there.
type broker struct {
	env     map[string]string
	stop    func()
	restart func() error
	// oneOfEach: it deduplicates, and numbers the events of all subjects in one
	// sequence. NATS Streaming does neither.
	oneOfEach bool
}

// brokers are both, with their files.
var brokers = map[string]func(t *testing.T) *broker{
	"jetstream": func(t *testing.T) *broker {
		s := natsserver.Run(t)
		return &broker{map[string]string{"NATS_URL": s.URL()}, s.Shutdown, s.Restart, true}
	},
	"stan": func(t *testing.T) *broker {
		s := stanserver.Run(t, stanserver.FileStore())
		return &broker{map[string]string{"NATS_URL": s.URL(), "NATS_CLUSTER_ID": s.ClusterID()}, s.Shutdown, s.Restart, false}
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

// announced is an event of a ticket in the stream.
type announced struct {
	version  int
	sequence uint64
}

// history is every ticket's events, in the stream's order: on NATS Streaming
// that is the order of each subject, and what was created comes first.
type history map[string][]announced

// readStream reads all events of tickets from the first to a last one that it
// publishes itself. Every call has a group of its own.
func (b *broker) readStream(t *testing.T, c *natswrap.Client) history {
	t.Helper()
	const marker = "end of the stream for "
	group := "reader-" + rand.Text()
	end := marker + group
	found := history{}
	add := func(id string, version int, sequence uint64) (done bool) {
		if !strings.HasPrefix(id, marker) {
			found[id] = append(found[id], announced{version, sequence})
		}
		return id == end
	}
	read(t, c, group, events.TicketCreated{ID: end}, func(e events.TicketCreated, sequence uint64) bool {
		return add(e.ID, e.Version, sequence)
	})
	read(t, c, group, events.TicketUpdated{ID: end}, func(e events.TicketUpdated, sequence uint64) bool {
		return add(e.ID, e.Version, sequence)
	})
	if b.oneOfEach {
		for _, all := range found {
			slices.SortFunc(all, func(a, b announced) int { return cmp.Compare(a.sequence, b.sequence) })
		}
	}
	return found
}

func read[E ticketing.Event](t *testing.T, c *natswrap.Client, group string, last E, each func(e E, sequence uint64) (done bool)) {
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
		if !done && each(e, in.Sequence) {
			done = true
			cancel()
		}
	})
	if err != nil || !done {
		t.Fatalf("%s was not read to its end: %v", last.Subject(), err)
	}
}

// outboxIsEmpty asks a database whether all its events are at the broker.
func outboxIsEmpty(t *testing.T, db string) func() bool {
	return func() bool {
		s := openStore(t, db)
		defer s.Close()
		stats, err := s.Outbox.Stats(t.Context())
		return err == nil && stats.Pending == 0
	}
}

func openStore(t *testing.T, db string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// requireEvents fails the test unless the stream has the events of all tickets
// of a database that no service uses any more: the versions from 0 to the
// stored one, each once and in their order. A broker that does not deduplicate
// may have some again, but none for the first time behind its successor. It
// returns the tickets.
func (b *broker) requireEvents(t *testing.T, c *natswrap.Client, db string) map[string]store.Ticket {
	t.Helper()
	tickets := storedTickets(t, db)
	found := b.readStream(t, c)
	for id, ticket := range tickets {
		next := 0
		for _, event := range found[id] {
			switch {
			case event.version == next:
				next++
			case event.version > next, b.oneOfEach:
				t.Errorf("ticket %s of version %d: the stream has %v", id, ticket.Version, found[id])
			}
		}
		if next != ticket.Version+1 {
			t.Errorf("ticket %s of version %d: the stream has %v, which is not all", id, ticket.Version, found[id])
		}
	}
	return tickets
}

// storedTickets are all tickets of a database.
func storedTickets(t *testing.T, path string) map[string]store.Ticket {
	t.Helper()
	s := openStore(t, path)
	defer s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT id FROM tickets`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := make(map[string]store.Ticket)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		if all[id], err = s.Ticket(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
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

// ready asks whether the service is ready, and what it says of its broker.
func (c *client) ready() (ready bool, broker string) {
	status, answer, err := c.do(http.MethodGet, "/readyz", "")
	var found struct{ Broker string }
	if err != nil || json.Unmarshal(answer, &found) != nil {
		return false, ""
	}
	return status == http.StatusOK, found.Broker
}

func (c *client) connected() bool {
	ready, broker := c.ready()
	return ready && broker == "ok"
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
