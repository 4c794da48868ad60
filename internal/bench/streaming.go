package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/stan.go"

	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

// streamingMatch is both sides at a NATS Streaming server, each on a
// connection of its own.
type streamingMatch struct {
	server *server[*stanserver.Process]
	client *stanwrap.Client
	raw    stan.Conn
	groups int
}

func openStreaming(ctx context.Context) (*match, error) {
	srv, err := startStreaming()
	if err != nil {
		return nil, err
	}
	s := &streamingMatch{server: srv}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	listener := func(b connection) func(way) side {
		return func(w way) side {
			return func(ctx context.Context, t *turn) error {
				// The stop waits until the server has read all
				// acknowledgements, as the raw side's does.
				return listen(ctx, b, s.group(), w, t, func() error { return nil })
			}
		}
	}
	return &match{
		ours: ours(s.client, listener),
		raw: contender{
			publish:      s.publishRaw,
			publishAsync: s.publishRawAsync,
			consume:      func(way) side { return s.consumeRaw },
		},
		observed: func(t *otelwrap.Telemetry) contender { return observed(t, s.client, listener) },
		store:    s.store,
		close:    s.close,
	}, nil
}

func (s *streamingMatch) connect(ctx context.Context) error {
	var err error
	s.client, err = stanwrap.Connect(ctx, stanwrap.Config{
		URLs:      []string{s.server.child.URL()},
		ClusterID: stanserver.DefaultClusterID,
		ClientID:  "ours",
		Logger:    warnings,
	})
	if err != nil {
		return err
	}
	s.raw, err = stan.Connect(stanserver.DefaultClusterID, "raw",
		stan.NatsURL(s.server.child.URL()), stan.MaxPubAcksInflight(stanwrap.DefaultMaxPending))
	return err
}

func (s *streamingMatch) close() error {
	var errs []error
	if s.client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		errs = append(errs, s.client.Close(ctx))
	}
	if s.raw != nil {
		errs = append(errs, s.raw.Close())
	}
	return errors.Join(append(errs, s.server.stop())...)
}

// publishRaw is the synchronous publish as one writes it by hand. It cannot
// honour a ctx.
func (s *streamingMatch) publishRaw(_ context.Context, e *events.TicketCreated) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.raw.Publish(subject, data)
}

func (s *streamingMatch) publishRawAsync(e *events.TicketCreated) side {
	return func(_ context.Context, t *turn) error {
		var (
			open   sync.WaitGroup
			failed atomic.Pointer[error]
		)
		acked := func(_ string, err error) {
			if err != nil {
				failed.Store(&err)
			}
			open.Done()
		}
		for range t.n {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			open.Add(1)
			if _, err := s.raw.PublishAsync(subject, data, acked); err != nil {
				return err
			}
		}
		open.Wait() // stan.go bounds it
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}
}

func (s *streamingMatch) store(ctx context.Context, n int, event func(i int) events.TicketCreated) error {
	return publishEach(ctx, s.client, n, event)
}

// group returns the name of a new group. Those of earlier turns stay at the
// server, where they cost nothing until something is published.
func (s *streamingMatch) group() string {
	s.groups++
	return fmt.Sprintf("group-%d", s.groups)
}

// consumeRaw is a durable queue subscription as one writes it by hand.
func (s *streamingMatch) consumeRaw(ctx context.Context, t *turn) error {
	group := s.group()
	handled := make(chan error, 1)
	left := t.n
	sub, err := s.raw.QueueSubscribe(subject, group, func(m *stan.Msg) {
		if left == 0 {
			return
		}
		left--
		var e events.TicketCreated
		err := json.Unmarshal(m.Data, &e)
		if err == nil {
			err = m.Ack()
		}
		if err != nil {
			left = 0
		}
		if left == 0 {
			handled <- err
		}
	}, stan.DurableName(group), stan.DeliverAllAvailable(), stan.SetManualAckMode())
	if err != nil {
		return err
	}
	select {
	case err = <-handled:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	// The server answers when it has read all acknowledgements.
	if closeErr := sub.Close(); err == nil {
		err = closeErr
	}
	return err
}
