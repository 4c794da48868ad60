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

// serve listens to orders, then for HTTP, and calls started with its URL. When
// ctx ends it stops in the opposite order: first no new requests, and the
// running ones are answered; then the handlers of orders finish. The
// connection is closed by [natswrap.Run] behind it, and the store at last. When
// the orders or HTTP end by themselves serve stops the rest and returns why.
//
// Of the shutdown's time requests get a half and handlers a quarter; the rest
// is natswrap's, to flush what is on its way.
func (s *service) serve(ctx context.Context, started func(url string) error) (err error) {
	s.tickets = tickets.New(s.store, s.sender())
	listeners := orders.New(s.client, s.tickets, &orders.Options{ShutdownTimeout: s.config.shutdown / 4, Logger: s.log})

	// Not under ctx: orders are handled until the last request is answered.
	listening, stopListening := context.WithCancel(context.WithoutCancel(ctx))
	listened := make(chan error, 1)
	go func() { listened <- listeners.Listen(listening) }()
	defer func() {
		stopListening()
		err = errors.Join(err, <-listened)
	}()

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

	if err := started(baseURL(listener)); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil // natswrap.Run knows why
	case err := <-served:
		return fmt.Errorf("HTTP ended: %w", err)
	case err := <-listened:
		listened <- nil
		return fmt.Errorf("listening to orders ended: %w", err)
	}
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
			{Name: "broker", Check: s.brokerReady},
			{Name: "store", Check: s.store.Ping},
		},
		Logger: s.log,
	})
	if s.config.embedded {
		return s.withDemo(handler)
	}
	return handler
}

func (s *service) brokerReady(context.Context) error {
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
