package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/process"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/internal/race"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

func TestEndToEnd(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent SIGTERM there")
	}
	var flags []string
	if race.Enabled {
		flags = append(flags, "-race") // what the test was compiled with is compiled already
	}
	bin, err := process.Build(t.Context(), t.TempDir(), flags...)
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range brokers {
		t.Run("the service outlives its broker's restart and stops in order on "+name, func(t *testing.T) {
			t.Parallel()
			testRestartAndStop(t, bin, start(t))
		})
	}
	t.Run("the service outlives its session", func(t *testing.T) {
		t.Parallel()
		testLostSession(t, bin)
	})
	t.Run("the service starts with nothing configured", func(t *testing.T) {
		t.Parallel()
		b := &broker{env: map[string]string{"NATS_CLIENT_ID": "", "JWT_KEY": "", "LOG_LEVEL": ""}}
		p := start(t, bin, b.environment(""), "-backend=stan")
		if !strings.Contains(p.Log(), "broker:  stan on ") {
			t.Errorf("printed\n%s", p.Log())
		}
		sendSignal(t, p, syscall.SIGINT)
		requireExit(t, p, 0)
	})
}

func start(t *testing.T, bin string, env map[string]string, args ...string) *process.Process {
	t.Helper()
	p, err := process.Start(bin, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func sendSignal(t *testing.T, p *process.Process, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// requireExit waits for the process's end, no longer than its own bound and a
// little for the rest.
func requireExit(t *testing.T, p *process.Process, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	status, err := p.Wait(ctx)
	if err != nil || status != want {
		t.Fatalf("exit status %d, error %v, want %d\n%s", status, err, want, p.Log())
	}
}

func testRestartAndStop(t *testing.T, bin string, b *broker) {
	db := filepath.Join(t.TempDir(), "tickets.db")
	p := start(t, bin, b.environment(db))
	c := newClient(t, p.URL)
	eventually(t, "the service is ready", c.ready)
	others := b.connect(t, "others")
	o := newOrders(t, b)

	var made idList
	var mu sync.Mutex
	var acknowledged []store.Ticket // what a client was told, by an answer it got whole
	create := func() (int, store.Ticket, error) {
		status, ticket, err := c.create("end to end")
		if err == nil && status == http.StatusCreated {
			made.add(ticket.ID)
			mu.Lock()
			defer mu.Unlock()
			acknowledged = append(acknowledged, ticket)
		}
		return status, ticket, err
	}
	update := func(id string, price int) (int, store.Ticket, error) {
		status, ticket, err := c.update(id, price)
		if err == nil && status == http.StatusOK {
			mu.Lock()
			defer mu.Unlock()
			acknowledged = append(acknowledged, ticket)
		}
		return status, ticket, err
	}
	require := func(what string, status, want int, err error) {
		t.Helper()
		if err != nil || status != want {
			t.Fatalf("%s: status %d, error %v, want %d\n%s", what, status, err, want, p.Log())
		}
	}
	hasOrder := func(id, order string) func() bool {
		return func() bool {
			_, ticket, err := c.show(id)
			return err == nil && ticket.OrderID == order
		}
	}

	status, ticket, err := create()
	require("create", status, http.StatusCreated, err)
	status, _, err = update(ticket.ID, 30)
	require("update", status, http.StatusOK, err)
	o.create(t, "order-1", ticket)
	eventually(t, "the order has its ticket", hasOrder(ticket.ID, "order-1"))
	// The row is there before its event is: an event that the outage catches is
	// published with the next attempt, which may be another process's.
	reads := 0
	hasEvents := func(n int) func() bool {
		return func() bool {
			reads++
			return len(readStream(t, others, fmt.Sprintf("check-%d", reads))[ticket.ID]) == n
		}
	}
	eventually(t, "the reservation is published", hasEvents(3))
	status, _, err = update(ticket.ID, 40)
	require("update of a reserved ticket", status, http.StatusConflict, err)

	// Without its broker the service lives and says that it is not ready. A
	// ticket that is made all the same has no event, and its maker is told.
	b.stop()
	eventually(t, "the service is not ready without its broker", func() bool { return !c.ready() })
	status, _, err = c.do(http.MethodGet, "/healthz", "")
	require("healthz", status, http.StatusOK, err)
	status, answer, err := c.do(http.MethodPost, "/api/tickets", `{"title":"lost","price":20}`)
	require("create without a broker", status, http.StatusServiceUnavailable, err)
	var lost struct {
		Ticket store.Ticket
		Event  struct{ ID, Stored string }
	}
	if err := json.Unmarshal(answer, &lost); err != nil || lost.Event.Stored != "no" {
		t.Errorf("answer %s, error %v", answer, err)
	}
	if err := b.restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service is ready again", c.ready)
	eventually(t, "the other services are connected again", others.Healthy)
	eventually(t, "the orders service is connected again", o.client.Healthy)

	// Everything goes on, the listeners too.
	o.cancel(t, "order-1", ticket)
	eventually(t, "the ticket is free again", hasOrder(ticket.ID, ""))
	status, _, err = update(ticket.ID, 50)
	require("update after the restart", status, http.StatusOK, err)
	eventually(t, "the cancellation is published", hasEvents(5))

	// SIGTERM among requests that run.
	var answers atomic.Int32
	enough := make(chan struct{})
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for { // until the service is gone
				status, mine, err := create()
				if err == nil && status == http.StatusCreated {
					status, _, err = update(mine.ID, 2)
				}
				if err != nil {
					return
				}
				if status >= 300 {
					t.Errorf("status %d before the end", status)
				}
				if answers.Add(1) == 100 {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(patience):
		t.Errorf("%d answers in %v", answers.Load(), patience)
	}
	sendSignal(t, p, syscall.SIGTERM)
	requireExit(t, p, 0)
	clients.Wait()

	found := readStream(t, others, "check")
	for _, ticket := range acknowledged {
		if !found.has(ticket) {
			t.Errorf("version %d of ticket %s was acknowledged and is not in the stream", ticket.Version, ticket.ID)
		}
	}
	requireVersions(t, found, storedTickets(t, db, made.ids))
	if len(found[lost.Ticket.ID]) > 0 {
		t.Errorf("the event that was surely not sent is in the stream: %v", found[lost.Ticket.ID])
	}
	if stored := storedTickets(t, db, []string{lost.Ticket.ID}); stored[0] != lost.Ticket {
		t.Errorf("stored %+v, the client was told %+v", stored[0], lost.Ticket)
	}
	t.Logf("%d acknowledged changes of %d tickets", len(acknowledged), len(made.ids))
}

// testLostSession loses a session with the memory of its server, of which the
// service takes no notice but in its log.
func testLostSession(t *testing.T, bin string) {
	s := stanserver.Run(t)
	b := &broker{env: map[string]string{"NATS_URL": s.URL(), "NATS_CLUSTER_ID": s.ClusterID()}}
	p := start(t, bin, b.environment(""))
	c := newClient(t, p.URL)
	eventually(t, "the service is ready", c.ready)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session is lost", func() bool { return strings.Contains(p.Log(), "session lost") })
	eventually(t, "the service is ready again", c.ready)
	o := newOrders(t, b)
	status, ticket, err := c.create("after the loss")
	if err != nil || status != http.StatusCreated {
		t.Fatalf("status %d, error %v\n%s", status, err, p.Log())
	}
	o.create(t, "order", ticket) // its listeners are back, too
	eventually(t, "the order has its ticket", func() bool {
		_, now, err := c.show(ticket.ID)
		return err == nil && now.OrderID == "order"
	})
	sendSignal(t, p, syscall.SIGTERM)
	requireExit(t, p, 0)
}
