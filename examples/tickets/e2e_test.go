package main

import (
	"context"
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
		t.Run("the service is killed and loses nothing on "+name, func(t *testing.T) {
			t.Parallel()
			testKill(t, bin, start(t))
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
	l := &load{client: newClient(t, p.URL)}
	c := l.client
	eventually(t, "the service is ready", c.connected)
	others := b.connect(t, "others")
	o := newOrders(t, b)

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
	hasEvents := func(id string, n int) func() bool {
		return func() bool { return len(b.readStream(t, others)[id]) >= n }
	}

	status, ticket, err := l.create()
	require("create", status, http.StatusCreated, err)
	status, _, err = l.update(ticket.ID, 30)
	require("update", status, http.StatusOK, err)
	o.create(t, "order-1", ticket)
	eventually(t, "the order has its ticket", hasOrder(ticket.ID, "order-1"))
	eventually(t, "the reservation is published", hasEvents(ticket.ID, 3))
	status, _, err = l.update(ticket.ID, 40)
	require("update of a reserved ticket", status, http.StatusConflict, err)

	// Without its broker the service says so, and is ready all the same: a
	// ticket is made and changed, and its events wait.
	b.stop()
	eventually(t, "the service says that its broker is away", func() bool { return !c.connected() })
	if ready, _ := c.ready(); !ready {
		t.Errorf("the service is not ready without its broker\n%s", p.Log())
	}
	status, waiting, err := l.create()
	require("create without a broker", status, http.StatusCreated, err)
	status, _, err = l.update(waiting.ID, 30)
	require("update without a broker", status, http.StatusOK, err)
	if outboxIsEmpty(t, db)() {
		t.Error("no event waits in the outbox")
	}
	if err := b.restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service is connected again", c.connected)
	eventually(t, "the other services are connected again", others.Healthy)
	eventually(t, "the orders service is connected again", o.client.Healthy)
	eventually(t, "what waited is published", hasEvents(waiting.ID, 2))

	// Everything goes on, the listeners too.
	o.cancel(t, "order-1", ticket)
	eventually(t, "the ticket is free again", hasOrder(ticket.ID, ""))
	status, _, err = l.update(ticket.ID, 50)
	require("update after the restart", status, http.StatusOK, err)
	eventually(t, "the cancellation is published", hasEvents(ticket.ID, 5))

	// SIGTERM among requests that run. What the relay did not come to is the
	// next start's.
	running := l.start(t)
	running.wait(t, 100)
	sendSignal(t, p, syscall.SIGTERM)
	requireExit(t, p, 0)
	running.clients.Wait()
	p = start(t, bin, b.environment(db))
	eventually(t, "the outbox is empty", outboxIsEmpty(t, db))
	sendSignal(t, p, syscall.SIGTERM)
	requireExit(t, p, 0)

	l.requireAcknowledged(t, b.requireEvents(t, others, db))
}

// testKill kills the service among requests that run: at any moment, and with
// its broker away, so that what it has committed is surely not published.
func testKill(t *testing.T, bin string, b *broker) {
	db := filepath.Join(t.TempDir(), "tickets.db")
	l := new(load)
	killed := func(before func(running *requests)) {
		p := start(t, bin, b.environment(db))
		l.client = newClient(t, p.URL)
		running := l.start(t)
		running.wait(t, 100)
		before(running)
		p.Kill()
		running.clients.Wait()
	}
	killed(func(*requests) {})
	killed(func(running *requests) {
		b.stop()
		eventually(t, "the service says that its broker is away", func() bool { return !l.client.connected() })
		running.wait(t, 100)
	})
	if outboxIsEmpty(t, db)() {
		t.Error("no event waits in the outbox")
	}
	if err := b.restart(); err != nil {
		t.Fatal(err)
	}

	p := start(t, bin, b.environment(db))
	eventually(t, "the outbox is empty", outboxIsEmpty(t, db))
	sendSignal(t, p, syscall.SIGTERM)
	requireExit(t, p, 0)
	l.requireAcknowledged(t, b.requireEvents(t, b.connect(t, "check"), db))
}

// load is what clients ask for, and what they were told.
type load struct {
	client *client

	mu           sync.Mutex
	acknowledged map[string]int // the latest version of each ticket, by an answer that a client got whole
}

func (l *load) create() (int, store.Ticket, error) {
	status, ticket, err := l.client.create("end to end")
	l.note(status, ticket, err)
	return status, ticket, err
}

func (l *load) update(id string, price int) (int, store.Ticket, error) {
	status, ticket, err := l.client.update(id, price)
	l.note(status, ticket, err)
	return status, ticket, err
}

func (l *load) note(status int, ticket store.Ticket, err error) {
	if err != nil || status >= 300 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acknowledged == nil {
		l.acknowledged = make(map[string]int)
	}
	l.acknowledged[ticket.ID] = max(l.acknowledged[ticket.ID], ticket.Version)
}

// requireAcknowledged fails the test unless everything that a client was told
// is in the database.
func (l *load) requireAcknowledged(t *testing.T, stored map[string]store.Ticket) {
	t.Helper()
	for id, version := range l.acknowledged {
		if ticket, ok := stored[id]; !ok || ticket.Version < version {
			t.Errorf("version %d of ticket %s was acknowledged; stored is %+v", version, id, ticket)
		}
	}
	t.Logf("%d tickets, of which %d were acknowledged", len(stored), len(l.acknowledged))
}

// requests are clients that make and change tickets until the service is gone.
type requests struct {
	clients sync.WaitGroup
	answers atomic.Int32
}

func (l *load) start(t *testing.T) *requests {
	r := new(requests)
	for range 16 {
		r.clients.Go(func() {
			for {
				status, mine, err := l.create()
				if err == nil && status == http.StatusCreated {
					status, _, err = l.update(mine.ID, 2)
				}
				if err != nil {
					return
				}
				if status >= 300 {
					t.Errorf("status %d before the end", status)
				}
				r.answers.Add(1)
			}
		})
	}
	return r
}

// wait waits for n answers more.
func (r *requests) wait(t *testing.T, n int32) {
	t.Helper()
	n += r.answers.Load()
	eventually(t, "requests are answered", func() bool { return r.answers.Load() >= n })
}

// testLostSession loses a session with the memory of its server, of which the
// service takes no notice but in its log.
func testLostSession(t *testing.T, bin string) {
	s := stanserver.Run(t)
	b := &broker{env: map[string]string{"NATS_URL": s.URL(), "NATS_CLUSTER_ID": s.ClusterID()}}
	p := start(t, bin, b.environment(""))
	c := newClient(t, p.URL)
	eventually(t, "the service is ready", c.connected)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session is lost", func() bool { return strings.Contains(p.Log(), "session lost") })
	eventually(t, "the service is connected again", c.connected)
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
