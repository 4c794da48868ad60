package fromnode

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// region wrapper

// NATS is this service's one connection.
var NATS natswrap.Wrapper

var ticketCreated = ticketing.NewPublisher[events.TicketCreated](&NATS, nil)

// endregion

func ExampleWrapper() {
	defer NATS.Use(nil, nil)() // as it is before Connect
	ctx := context.Background()
	// region early
	err := ticketCreated.Publish(ctx, events.TicketCreated{ID: "t1"}, ticketing.WithID("e1"))
	fmt.Println(errors.Is(err, ticketing.ErrNotConnected))
	fmt.Println(err)
	// endregion

	// Output:
	// true
	// ticketing: publish ticket:created (id e1): not sent: not connected: natswrap.Wrapper accessed before Connect
}

func listenAndServe(ctx context.Context) error {
	if err := ticketCreated.Publish(ctx, events.TicketCreated{ID: "t1"}); err != nil {
		return err
	}
	if p, err := os.FindProcess(os.Getpid()); err != nil || p.Signal(syscall.SIGTERM) != nil {
		return errors.New("cannot send a signal")
	}
	<-ctx.Done()
	return nil
}

// region wrapper-main

func start() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	cfg, err := natswrap.FromEnv()
	if err != nil {
		return err
	}
	if err := NATS.Connect(ctx, cfg); err != nil {
		return err
	}
	err = listenAndServe(ctx) // returns once ctx has ended

	closing, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	return errors.Join(err, NATS.Close(closing))
}

// endregion

func TestTheWrappersServiceStopsAtASignal(t *testing.T) {
	t.Setenv("NATS_URL", natsserver.Run(t).URL())
	t.Setenv("NATS_CLIENT_ID", "tickets-1")
	if err := start(); err != nil {
		t.Fatal(err)
	}
	if NATS.Healthy() {
		t.Error("healthy after Close")
	}
}

// region use

func TestATicketIsAnnounced(t *testing.T) {
	var broker natstest.Recorder
	t.Cleanup(NATS.Use(&broker, &broker))

	if err := ticketCreated.Publish(t.Context(), events.TicketCreated{ID: "t1"}); err != nil {
		t.Fatal(err)
	}
	natstest.RequirePublished(t, &broker, events.TicketCreated{ID: "t1"})
}

// endregion

func ExampleClient_OnClose() {
	server, err := natsserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown()
	ctx := context.Background()
	client, err := natswrap.Connect(ctx, natswrap.Config{URLs: []string{server.URL()}, ClientID: "tickets-1"})
	if err != nil {
		log.Fatal(err)
	}
	called := make(chan struct{})
	defer func() { <-called }()
	client.OnClose(func(error) { close(called) })
	// region on-close
	client.OnClose(func(err error) {
		log.Println("NATS connection closed for good:", err) // nil: by Close
	})
	// endregion
	if err := client.Close(ctx); err != nil {
		log.Fatal(err)
	}
}
