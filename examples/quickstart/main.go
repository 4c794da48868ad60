// Quickstart starts a real NATS server inside the process, publishes three
// events, and listens to them as another service would:
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -backend=stan
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func main() {
	backend := flag.String("backend", string(natswrap.JetStream), "the broker: jetstream or stan")
	flag.Parse()
	if err := quickstart(context.Background(), os.Stdout, natswrap.Backend(*backend)); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func quickstart(ctx context.Context, out io.Writer, backend natswrap.Backend) error {
	server, err := startServer(backend)
	if err != nil {
		return err
	}
	defer server.stop()
	fmt.Fprintf(out, "broker:    %s on %s, in this process\n", backend, server.config.URLs[0])

	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return natswrap.Run(ctx, server.config, func(ctx context.Context, c *natswrap.Client) error {
		return tickets(ctx, out, c)
	})
}

// tickets is what a service does with a connection: publish its events, and
// listen to those of others.
func tickets(ctx context.Context, out io.Writer, c *natswrap.Client) error {
	published := []events.TicketCreated{
		{ID: "T-1", Title: "Concert", Price: 20, UserID: "U-1"},
		{ID: "T-2", Title: "Theatre", Price: 20.5, UserID: "U-1"},
		{ID: "T-3", Title: "Opera & Ballet", Price: 80, UserID: "U-2"},
	}

	// The handler's nil acknowledges the event. Its error means another
	// attempt, here after 100 ms instead of the default second.
	handled := make(chan string, len(published))
	handle := func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
		e := d.Event
		if e.ID == "T-2" && d.Attempt == 1 {
			fmt.Fprintf(out, "listener:  %s failed, it comes again\n", e.ID)
			return ticketing.RetryAfter(100*time.Millisecond, errors.New("the first attempt fails on purpose"))
		}
		fmt.Fprintf(out, "listener:  %s %q for %v, attempt %d, acknowledged\n", e.ID, e.Title, e.Price, d.Attempt)
		handled <- e.ID
		return nil
	}
	listener := ticketing.NewListener(c, "orders-service", handle, &ticketing.ListenerOptions{
		Logger: slog.New(slog.DiscardHandler), // the scripted failure is printed above
	})
	listening, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- listener.Listen(listening) }()

	publisher := ticketing.NewPublisher[events.TicketCreated](c, nil)
	for _, e := range published {
		if err := publisher.Publish(ctx, e); err != nil {
			return err
		}
		fmt.Fprintf(out, "publisher: %s stored on %s\n", e.ID, e.Subject())
	}

	seen := map[string]bool{}
	for len(seen) < len(published) {
		select {
		case id := <-handled:
			seen[id] = true
		case err := <-ended:
			return fmt.Errorf("the listener ended early: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	fmt.Fprintf(out, "done:      %d events published, %d handled\n", len(published), len(seen))
	return nil
}
