package jswrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// Client is one connection to JetStream. It is a [ticketing.Sender] and
// [ticketing.Receiver]; its methods may be called concurrently. Make one with
// [Connect].
type Client struct {
	cfg   Config
	state natsconn.State
	nc    *nats.Conn
	js    jetstream.JetStream

	// Sending.
	maxPayload atomic.Int64
	wire       *wire
	flights    *flights
	homes      homes
	rechecks   rechecks
	denials    denials
	envelope   *cloudevent.Writer // nil: messages are sent as they are

	// link is up when publishes may be written: after the connection is, and
	// what was open on the last one was written again.
	link        natsconn.Link
	linkMu      sync.Mutex
	connections uint64 // that were lost

	// Receiving.
	receivers receivers

	// Closing.
	life     context.Context // ends when the connection is closed
	endLife  context.CancelFunc
	refusing atomic.Bool   // Send takes nothing more
	refused  chan struct{} // closed with that
	closing  sync.Once
	closed   chan struct{}
	err      error // why, once closed is closed
	closeErr error
}

var (
	_ ticketing.Sender             = (*Client)(nil)
	_ ticketing.Receiver           = (*Client)(nil)
	_ ticketing.SubjectChecker     = (*Client)(nil)
	_ ticketing.CapabilityReporter = (*Client)(nil)
)

// Connect connects, makes sure of the streams that cfg asks for, and returns
// when the client can send and receive. It honours ctx throughout. Once
// connected, the client survives the loss of its connection: it reconnects by
// itself, for ever, and subscriptions go on. A cluster that has no leader, or
// lacks servers for the replicas, is waited for, about half a minute for each of
// the two streams: then the error matches [ErrNotReady], and where only the stream
// for dead letters is missing there is a warning.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if ctx == nil {
		return nil, fmt.Errorf("connect to JetStream: %w", errNilContext)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("connect to JetStream: %w", err)
	}
	c := &Client{cfg: cfg, refused: make(chan struct{}), closed: make(chan struct{})}
	c.life, c.endLife = context.WithCancel(context.Background())
	c.receivers.init()
	if cfg.CloudEvents {
		c.envelope = cloudevent.NewWriter(cfg.Source)
	}
	c.flights = newFlights(cfg.MaxPending, cfg.AckTimeout)
	c.flights.wait, c.flights.overdue, c.flights.resend, c.flights.expired = cfg.WaitForConnection, c.onOverdue, c.resend, c.onExpired
	c.link.Set(true)
	c.wire = newWire(c.flights, &c.link)
	ready := make(chan struct{})
	defer close(ready)
	c.state = natsconn.State{
		Logger:       cfg.Logger,
		OnDisconnect: func(error) { c.onLost() },
		OnReconnect:  c.onReconnect,
		OnClosed: func() {
			c.onLost()
			c.abandon()
			go c.afterClose(ready)
		},
		OnAsyncError: func(_ *nats.Subscription, err error) {
			if subject, ok := deniedPublish(err); ok {
				c.onDenied(subject)
				c.denials.tell(subject)
			}
		},
	}
	c.nc, err = natsconn.Dial(ctx, natsconn.Config{
		URLs:      cfg.URLs,
		Name:      cfg.Name,
		CredsFile: cfg.CredsFile,
		NKeyFile:  cfg.NKeyFile,
		TLSCA:     cfg.TLSCA,
		TLSCert:   cfg.TLSCert,
		TLSKey:    cfg.TLSKey,
		Logger:    cfg.Logger,
	}, append(c.state.Options(),
		// A write that is stuck holds the client's lock.
		nats.FlusherTimeout(cfg.AckTimeout), nats.ReconnectOnFlusherError())...)
	if err != nil {
		c.endLife()
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = c.Close(ended) // there is nothing to wait for
		return nil, fmt.Errorf("connect to JetStream: %w", err)
	}
	return c, nil
}

// afterClose ends the client whose connection was closed by others, once Connect
// is ready. Where that has failed there is nothing to end: ctx may end as the
// connection is made, which is closed then.
func (c *Client) afterClose(ready <-chan struct{}) {
	<-ready
	if c.nc != nil {
		c.shutdown(c.life)
	}
}

// start makes the connection a client.
func (c *Client) start(ctx context.Context) error {
	c.wire.start(c.nc)
	c.maxPayload.Store(c.nc.MaxPayload())
	var err error
	if c.js, err = jetstream.New(c.nc); err != nil {
		return err
	}
	if err := awaitErr(ctx, c.subscribeAcks); err != nil {
		return fmt.Errorf("subscribe to the acknowledgements: %w", err)
	}
	if c.cfg.ConnectOnly {
		return nil
	}
	return c.provision(ctx)
}

// subscribeAcks subscribes to the answers to publishes.
func (c *Client) subscribeAcks(ctx context.Context) error {
	c.flights.inbox = c.nc.NewInbox() + "."
	sub, err := c.nc.Subscribe(c.flights.inbox+"*", c.onAck)
	if err != nil {
		return err
	}
	// What limits them is MaxPending.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	// A missing permission would otherwise show as acknowledgements that
	// never come.
	ctx, cancel := context.WithTimeoutCause(ctx, apiTimeout, errAPITimeout)
	defer cancel()
	if err := awaitErr(ctx, c.nc.FlushWithContext); err != nil {
		return err
	}
	if err := c.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: %w", ticketing.ErrPermission, err)
	}
	return nil
}

// Conn returns the connection, for what this package does not offer. Closing
// it, or draining it, is for [Client.Close].
func (c *Client) Conn() *nats.Conn { return c.nc }

// JetStream returns the JetStream API over the client's connection.
func (c *Client) JetStream() jetstream.JetStream { return c.js }

// Capabilities implements [ticketing.CapabilityReporter]: JetStream has them
// all.
func (c *Client) Capabilities() ticketing.Capabilities {
	return ticketing.Capabilities{
		Groups:    true,
		Durable:   true,
		Fetch:     true,
		Dedupe:    true,
		Headers:   true,
		HandBack:  true,
		KeepAlive: true,
		Attempts:  true,
	}
}

// Healthy reports whether the client is connected and not closing, without
// asking the network.
func (c *Client) Healthy() bool { return c.link.Load().Up && !c.refusing.Load() }

// Closed is closed when the client is closed for good: by Close, or because
// the server refuses its credentials.
func (c *Client) Closed() <-chan struct{} { return c.closed }

// Err returns why the client is closed for good, and nil before, or where
// Close did it.
func (c *Client) Err() error {
	select {
	case <-c.closed:
		return c.err
	default:
		return nil
	}
}

// Close closes the client for good. Receives stop as if their ctx had ended,
// and return an error that matches [ticketing.ErrClosed]; handlers finish and
// may still publish; publishes are awaited and acknowledgements flushed; then
// the connection is closed. When ctx ends before, the rest is cut short: what
// is held is handed back, open publishes are [ticketing.ErrUnknown]; Close
// returns ctx's error.
//
// It may be called several times and concurrently: all calls wait for the
// first, each within its own ctx.
func (c *Client) Close(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	go c.shutdown(ctx)
	select {
	case <-c.closed:
		return c.closeErr
	case <-ctx.Done():
	}
	// Cut short, it ends in a moment.
	select {
	case <-c.closed:
		return c.closeErr
	case <-time.After(cutGrace):
		return context.Cause(ctx)
	}
}

// cutGrace bounds what Close does after its ctx has ended.
const cutGrace = time.Second

// shutdown closes the client within ctx, the first time it is called.
func (c *Client) shutdown(ctx context.Context) {
	c.closing.Do(func() {
		why := ticketing.ErrClosed
		if err := c.state.Err(); err != nil && c.state.Closed() {
			why = fmt.Errorf("%w: %w", ticketing.ErrClosed, err)
		}
		c.receivers.stop(ctx, why)
		c.refusing.Store(true)
		close(c.refused)
		c.flights.refuse()
		err := c.flights.drain(ctx)

		// The last words get a moment of their own when ctx has ended.
		last, cancel := context.WithCancel(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
			last, cancel = context.WithTimeout(context.WithoutCancel(ctx), cutGrace/4)
		}
		defer cancel()
		if c.state.Connected() {
			err = cmp.Or(err, c.flush(last))
		}
		c.abandon()
		err = cmp.Or(err, c.state.Close(last, c.nc))
		c.err = c.state.Err()
		c.endLife()
		c.wire.stop()
		c.onLost() // also where the client's callback does not come
		c.flights.stop()
		c.closeErr = err
		close(c.closed)
	})
}

// flushTimeout bounds the last words to the server.
const flushTimeout = 2 * time.Second

// flush waits until the server has read what was pushed to the wire before.
func (c *Client) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return c.wire.sync(ctx)
}
