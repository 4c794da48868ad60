package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/api"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/auth"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/orders"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/tickets"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// service is the running service: its connections, and what is wired to them.
type service struct {
	config config
	client *natswrap.Client
	store  *store.Store
	auth   *auth.Auth
	log    *slog.Logger
	tell   func(*ticketing.Message) // may be nil

	tickets *tickets.Service
}

// serve starts the relay, which brings the service's events to the broker, then
// listens to orders, then for HTTP, and calls started with its URL. When ctx
// ends it stops in the opposite order: first no new requests, and the running
// ones are answered; then the handlers of orders finish; then the relay notes
// down what it has sent. What it has not sent is in the database for the next
// start. The connection is closed by [natswrap.Run] behind it, and the store at
// last. When one of the three ends by itself serve stops the rest and returns
// why.
//
// Of the shutdown's time requests get a half, handlers and the relay an eighth
// each; the rest is natswrap's, to flush what is on its way.
func (s *service) serve(ctx context.Context, started func(url string) error) (err error) {
	s.tickets = tickets.New(s.store, s.client)

	relay := begin(ctx, "the outbox relay", outbox.NewRelay(s.store.Outbox, s.sender(),
		&outbox.RelayOptions{DrainTimeout: s.config.shutdown / 8, Logger: s.log}).Run)
	defer func() { err = errors.Join(err, relay.end()) }()

	listeners := begin(ctx, "listening to orders", orders.New(s.client, s.tickets,
		&orders.Options{ShutdownTimeout: s.config.shutdown / 8, Logger: s.log}).Listen)
	defer func() { err = errors.Join(err, listeners.end()) }()

	listener, err := net.Listen("tcp", s.address())
	if err != nil {
		return fmt.Errorf("%w; PORT chooses another port", err)
	}
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { err = errors.Join(err, s.stopHTTP(ctx, server)) }()

	if err := started(baseURL(listener)); err != nil && ctx.Err() == nil {
		return err
	}
	select {
	case <-ctx.Done(): // natswrap.Run knows why
	case <-relay.done: // they tell why when they are ended
	case <-listeners.done:
	case err := <-served:
		return fmt.Errorf("HTTP ended: %w", err)
	}
	return nil
}

// part is a part of the service that runs in the background.
type part struct {
	name string
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
	err  error
}

// begin runs f until end is called: longer than ctx, whose values it has.
func begin(ctx context.Context, name string, f func(context.Context) error) *part {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = f(ctx)
	}()
	return p
}

// end stops the part and waits for it. The error is the one that it ended with.
func (p *part) end() error {
	p.stop()
	<-p.done
	if p.err != nil {
		return fmt.Errorf("%s ended: %w", p.name, p.err)
	}
	return nil
}

func (s *service) stopHTTP(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.shutdown/2)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests cut off: %w", err), server.Close())
	}
	return nil
}

func (s *service) handler() http.Handler {
	handler := api.New(s.tickets, s.auth, &api.Options{
		Ready: []api.Check{
			{Name: "store", Check: s.store.Ping},
			{Name: "broker", Check: s.connected, Optional: true}, // events wait for it
		},
		Logger: s.log,
	})
	if s.config.embedded {
		return s.withDemo(handler)
	}
	return handler
}

func (s *service) connected(context.Context) error {
	if !s.client.Healthy() {
		return ticketing.ErrNotConnected
	}
	return nil
}

// address is where HTTP is served: to everybody, except with a broker that is
// there to try it and a token that everybody can read.
func (s *service) address() string {
	host := ""
	if s.config.embedded {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(s.config.port))
}

func baseURL(l net.Listener) string {
	return "http://127.0.0.1:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// sender is the connection, and tell hears of what it has stored.
func (s *service) sender() ticketing.Sender {
	if s.tell == nil {
		return s.client
	}
	return watched{s.client, s.tell}
}

// watched is a Sender that tells of every event that the broker has stored.
type watched struct {
	ticketing.Sender
	tell func(*ticketing.Message)
}

func (w watched) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	w.Sender.Send(ctx, m, func(err error) {
		if err == nil {
			w.tell(m)
		}
		done(err)
	})
}
