package fromnode

import (
	"context"
	"log"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// What a test puts its own in place of.
var (
	addr      = ":3000"
	openStore = NewStore
)

// region main

func main() {
	cfg, err := natswrap.FromEnv()
	if err != nil {
		log.Fatal(err) // names every variable that is missing or malformed
	}
	cfg.Subjects = append(ticketing.Subjects(), SubjectRefundIssued) // for JetStream's stream
	if err := natswrap.Run(context.Background(), cfg, serve); err != nil {
		log.Fatal(err)
	}
}

// serve is called once the connection stands.
func serve(ctx context.Context, client *natswrap.Client) error {
	tickets := NewTickets(openStore(), client)
	orders := ticketing.NewListener(client, "tickets-service", tickets.OrderCreated, nil)
	server := &http.Server{Addr: addr, Handler: tickets.Routes()}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	running.Go(func() { stop(orders.Listen(ctx)) })
	running.Go(func() { stop(server.ListenAndServe()) })

	<-ctx.Done() // a signal, or one of the two has failed
	if err := server.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	running.Wait() // requests and handlers have finished; they could still publish
	return context.Cause(ctx)
}

// endregion

func TestTheServiceRunsUntilASignalOnBothBrokers(t *testing.T) {
	defer func(a string) { addr, openStore = a, NewStore }(addr)
	addr = "127.0.0.1:0"

	t.Run("jetstream", func(t *testing.T) {
		t.Setenv("NATS_URL", natsserver.Run(t).URL())
		testMain(t)
	})
	t.Run("stan", func(t *testing.T) {
		s := stanserver.Run(t)
		t.Setenv("NATS_URL", s.URL())
		t.Setenv("NATS_CLUSTER_ID", s.ClusterID())
		testMain(t)
	})
}

// testMain orders a ticket of a service that main runs, and stops it once it
// has announced the reservation.
func testMain(t *testing.T) {
	store := NewStore()
	store.Insert(Ticket{Title: "concert", Price: 20})
	openStore = func() *Store { return store }

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	t.Setenv("NATS_CLIENT_ID", "orders-1")
	cfg, err := natswrap.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	others, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	order := events.OrderCreated{ID: "o1", Ticket: events.OrderCreatedTicket{ID: "t1"}}
	if err := ticketing.NewPublisher[events.OrderCreated](others, nil).Publish(ctx, order); err != nil {
		t.Fatal(err)
	}

	t.Setenv("NATS_CLIENT_ID", "tickets-1")
	var running sync.WaitGroup
	running.Go(main)
	defer running.Wait()

	listening, stop := context.WithCancel(ctx)
	var got events.TicketUpdated
	err = ticketing.NewListener(others, "orders-service", func(_ context.Context, d *ticketing.Delivery[events.TicketUpdated]) error {
		got = d.Event
		stop()
		return nil
	}, nil).Listen(listening)
	if want := (events.TicketUpdated{ID: "t1", Title: "concert", Price: 20, Version: 1, OrderID: "o1"}); err != nil || got != want {
		t.Errorf("received %+v, error %v; want %+v", got, err, want)
	}
	if err := others.Close(ctx); err != nil {
		t.Error(err)
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
}
