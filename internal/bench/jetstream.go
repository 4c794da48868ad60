package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
)

// jetStreamMatch is both sides at a JetStream server, each on a connection of
// its own, and a third that looks after them.
type jetStreamMatch struct {
	server *server[*natsserver.Process]
	client *jswrap.Client
	raw    jetstream.JetStream
	rawErr atomic.Pointer[error] // of an asynchronous publish
	stream jetstream.Stream      // the third's
	last   uint64                // the stream's last sequence
	groups int
	conns  []*nats.Conn
}

func openJetStream(ctx context.Context) (*match, error) {
	srv, err := startJetStream()
	if err != nil {
		return nil, err
	}
	j := &jetStreamMatch{server: srv}
	if err := j.connect(ctx); err != nil {
		return nil, errors.Join(err, j.close())
	}
	listener := func(b connection) func(way) side {
		return func(w way) side {
			return func(ctx context.Context, t *turn) error { return j.listen(ctx, b, w, t) }
		}
	}
	return &match{
		ours: ours(j.client, listener),
		raw: contender{
			publish:      j.publishRaw,
			publishAsync: j.publishRawAsync,
			consume:      func(way) side { return j.consumeRaw },
		},
		observed: func(t *otelwrap.Telemetry) contender { return observed(t, j.client, listener) },
		store:    j.store,
		stored:   j.stored,
		consumed: j.consumed,
		close:    j.close,
	}, nil
}

func (j *jetStreamMatch) connect(ctx context.Context) error {
	var err error
	j.client, err = jswrap.Connect(ctx, jswrap.Config{URLs: []string{j.server.child.URL()}, Logger: warnings})
	if err != nil {
		return err
	}
	j.raw, err = j.dial(
		jetstream.WithPublishAsyncMaxPending(jswrap.DefaultMaxPending),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { j.rawErr.Store(&err) }),
	)
	if err != nil {
		return err
	}
	third, err := j.dial()
	if err != nil {
		return err
	}
	j.stream, err = third.Stream(ctx, jswrap.DefaultStream)
	return err
}

func (j *jetStreamMatch) dial(opts ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	nc, err := nats.Connect(j.server.child.URL())
	if err != nil {
		return nil, err
	}
	j.conns = append(j.conns, nc)
	return jetstream.New(nc, opts...)
}

func (j *jetStreamMatch) close() error {
	var errs []error
	if j.client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		errs = append(errs, j.client.Close(ctx))
	}
	for _, nc := range j.conns {
		nc.Close()
	}
	return errors.Join(append(errs, j.server.stop())...)
}

// closeTimeout bounds the end of a client that has nothing under way.
const closeTimeout = 10 * time.Second

// publishRaw is the synchronous publish as one writes it by hand.
func (j *jetStreamMatch) publishRaw(ctx context.Context, e *events.TicketCreated) error {
	m, err := rawMsg(e)
	if err != nil {
		return err
	}
	_, err = j.raw.PublishMsg(ctx, m)
	return err
}

func rawMsg(e *events.TicketCreated) (*nats.Msg, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return &nats.Msg{Subject: subject, Data: data, Header: nats.Header{jetstream.MsgIDHeader: {nuid.Next()}}}, nil
}

func (j *jetStreamMatch) publishRawAsync(e *events.TicketCreated) side {
	return func(ctx context.Context, t *turn) error {
		for range t.n {
			m, err := rawMsg(e)
			if err != nil {
				return err
			}
			if _, err := j.raw.PublishMsgAsync(m); err != nil {
				return err
			}
		}
		return j.rawComplete(ctx)
	}
}

// rawComplete waits for the acknowledgements of the raw client.
func (j *jetStreamMatch) rawComplete(ctx context.Context) error {
	select {
	case <-j.raw.PublishAsyncComplete():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := j.rawErr.Load(); err != nil {
		return *err
	}
	return nil
}

func (j *jetStreamMatch) stored(ctx context.Context, t *turn) error {
	info, err := j.stream.Info(ctx)
	if err != nil {
		return err
	}
	got := info.State.LastSeq - j.last
	j.last = info.State.LastSeq
	if got != uint64(t.n) {
		return fmt.Errorf("%d events published and %d stored", t.n, got)
	}
	return nil
}

// store stores events as this module publishes them, with its headers.
func (j *jetStreamMatch) store(ctx context.Context, n int, event func(i int) events.TicketCreated) error {
	err := publishEach(ctx, j.client, n, event)
	if err != nil {
		return err
	}
	return j.stored(ctx, &turn{n: n})
}

// group returns the name of a new group.
func (j *jetStreamMatch) group() string {
	j.groups++
	return fmt.Sprintf("group-%d", j.groups)
}

func (j *jetStreamMatch) listen(ctx context.Context, b connection, w way, t *turn) error {
	group := j.group()
	return listen(ctx, b, group, w, t, func() error {
		return j.acked(ctx, jswrap.ConsumerName(group, subject), t)
	})
}

// consumeRaw is a durable consumer as one writes it by hand.
func (j *jetStreamMatch) consumeRaw(ctx context.Context, t *turn) error {
	name := j.group()
	consumer, err := j.raw.CreateConsumer(ctx, jswrap.DefaultStream, jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return err
	}
	handled := make(chan error, 1)
	left := t.n
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if left == 0 {
			return
		}
		left--
		var e events.TicketCreated
		err := json.Unmarshal(m.Data(), &e)
		if err == nil {
			err = m.Ack()
		}
		if err != nil {
			left = 0
		}
		if left == 0 {
			handled <- err
		}
	})
	if err != nil {
		return err
	}
	defer consuming.Stop()
	select {
	case err := <-handled:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return j.acked(ctx, name, t)
}

// acked waits until the server knows that t.n events are done, and stops the
// measurement. It asks on the third connection, so that both sides have to get
// their acknowledgements there by themselves.
func (j *jetStreamMatch) acked(ctx context.Context, consumer string, t *turn) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c, err := j.stream.Consumer(ctx, consumer)
		if err != nil {
			return err
		}
		if c.CachedInfo().AckFloor.Stream >= uint64(t.n) {
			t.stop()
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// consumed removes the consumers, which would cost the next ones time.
func (j *jetStreamMatch) consumed(ctx context.Context, _ *turn) error {
	names := j.stream.ConsumerNames(ctx)
	for name := range names.Name() {
		if err := j.stream.DeleteConsumer(ctx, name); err != nil {
			return err
		}
	}
	return names.Err()
}
