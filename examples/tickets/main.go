// Tickets is the tutorial's tickets service: sellers make tickets over HTTP,
// other services hear of it, and orders reserve them.
//
//	go run ./examples/tickets                 with a JetStream server in process
//	go run ./examples/tickets -backend=stan   the same on NATS Streaming
//
// It prints the curl lines to try it with. With NATS_URL it connects to that
// broker instead; see config for all variables.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func main() {
	backend := flag.String("backend", "", "the `broker`: jetstream or stan; default jetstream, with NATS_URL as NATS_BACKEND says")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, os.Stderr, lookup(*backend)); err != nil {
		fmt.Fprintln(os.Stderr, "tickets:", err)
		os.Exit(1)
	}
}

// lookup is the environment, with the flag in NATS_BACKEND's place.
func lookup(backend string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if name == "NATS_BACKEND" && backend != "" {
			return backend, true
		}
		return os.LookupEnv(name)
	}
}

// run is the service from its configuration to its end. What it opens it
// closes in the opposite order.
func run(ctx context.Context, stdout, stderr io.Writer, lookup func(string) (string, bool)) (err error) {
	cfg, err := readConfig(lookup)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.logLevel}))
	cfg.broker.Logger = log
	if cfg.embedded {
		backend, _ := lookup("NATS_BACKEND")
		stop, err := startBroker(&cfg.broker, backend)
		if err != nil {
			return err
		}
		defer stop()
		fmt.Fprintf(stdout, "broker:  %s on %s, in this process, because NATS_URL is not set\n", cfg.broker.Backend, cfg.broker.URLs[0])
	}

	tickets, err := store.Open(ctx, cfg.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tickets.Close()) }()
	if cfg.db == store.Memory {
		fmt.Fprintln(stdout, "store:   in memory, gone at the end, because TICKETS_DB is not set")
	}

	var token string
	a := auth.New(cmp.Or(cfg.jwtKey, rand.Text()))
	if cfg.jwtKey == "" {
		if token, err = a.Sign(demoUser); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "auth:    a random key, because JWT_KEY is not set; a token to try: %s\n", token)
	}

	return natswrap.Run(ctx, cfg.broker, func(ctx context.Context, c *natswrap.Client) error {
		s := &service{config: cfg, client: c, store: tickets, auth: a, log: log, tell: teller(cfg, stdout, log)}
		return s.serve(ctx, func(url string) error {
			fmt.Fprintf(stdout, "tickets: %s\n", url)
			if !cfg.embedded {
				return nil
			}
			return s.printDemo(ctx, stdout, url, token)
		})
	})
}

// teller tells of events where somebody looks: on the standard output with the
// embedded broker, and in the log otherwise.
func teller(cfg config, stdout io.Writer, log *slog.Logger) func(*ticketing.Message) {
	switch {
	case cfg.logLevel > slog.LevelDebug:
		return nil
	case cfg.embedded:
		return func(m *ticketing.Message) { fmt.Fprintf(stdout, "event:   %s %s\n", m.Subject, m.Data) }
	default:
		return func(m *ticketing.Message) {
			log.Debug("event stored", "subject", m.Subject, "id", m.ID, "data", string(m.Data))
		}
	}
}
