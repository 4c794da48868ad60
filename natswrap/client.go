package natswrap

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
)

// Client is one connection to the configured broker. It is a
// [ticketing.Sender] and a [ticketing.Receiver], whichever the broker, and
// tells what is different through [Client.Capabilities]. Its methods may be
// called concurrently.
//
// A connection that is lost is made again without the service doing anything;
// meanwhile publishes fail at once with [ticketing.ErrNotConnected].
type Client struct {
	backend  backend
	kind     Backend
	subjects []ticketing.Subject
	closing  atomic.Bool // Close was called

	mu      sync.Mutex
	onClose []func(error)
	closed  bool // the callbacks were called
}

var (
	_ ticketing.Sender             = (*Client)(nil)
	_ ticketing.Receiver           = (*Client)(nil)
	_ ticketing.SubjectChecker     = (*Client)(nil)
	_ ticketing.CapabilityReporter = (*Client)(nil)
)

var errNilContext = errors.New("natswrap: the context is nil")

// Connect connects to the broker that cfg asks for, once: it does not try
// again when no server can be reached, so that a wrong address is seen at the
// start, unless cfg.WaitForConnection says so. It honours ctx also against a server that accepts the connection and
// then says nothing. On JetStream it provisions or verifies the stream.
//
// No error has a password in it.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	return connect(ctx, cfg, connectBackend)
}

func connect(ctx context.Context, cfg Config, dial connector) (*Client, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var b backend
	var err error
	if cfg.WaitForConnection {
		b, err = dialLate(ctx, cfg, dial)
	} else {
		b, err = dial(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{backend: b, kind: cfg.backend(), subjects: cfg.subjects()}
	go c.watch()
	return c, nil
}

// watch calls the close callbacks.
func (c *Client) watch() {
	<-c.backend.Closed()
	c.mu.Lock()
	c.closed = true
	callbacks := c.onClose
	c.onClose = nil
	c.mu.Unlock()
	for _, f := range callbacks {
		f(c.backend.Err())
	}
}

// Send implements [ticketing.Sender]. After Close it fails with
// [ticketing.ErrClosed].
func (c *Client) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	c.backend.Send(ctx, m, done)
}

// Receive implements [ticketing.Receiver].
func (c *Client) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	return c.backend.Receive(ctx, s, handle)
}

// CheckSubject implements [ticketing.SubjectChecker].
func (c *Client) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	return c.backend.CheckSubject(ctx, s)
}

// Capabilities implements [ticketing.CapabilityReporter].
func (c *Client) Capabilities() ticketing.Capabilities { return c.backend.Capabilities() }

// Backend returns which broker this is.
func (c *Client) Backend() Backend { return c.kind }

// DeadLetters returns the events that listeners could not handle, whichever
// the connection they were stored by. Where NATS Streaming has to be told which
// channels to look at, it looks at the configured subjects.
func (c *Client) DeadLetters() deadletter.Store {
	switch b := c.backend.(type) {
	case hasStream:
		return b.DeadLetters()
	case hasChannels:
		return b.DeadLetters(c.subjects)
	}
	return nil // a test's
}

// Close closes the connection in order: the intake stops, handlers finish and
// may still publish, outstanding publishes are awaited, acknowledgements are
// flushed. When ctx ends first, the rest is cut off and the error says so;
// what was not acknowledged comes again. Every Receive returns. Later calls
// wait for the first one within their own ctx; a handler that calls Close
// waits for itself, and gives it a ctx that ends.
func (c *Client) Close(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	c.closing.Store(true)
	return c.backend.Close(ctx)
}

// Healthy reports whether the connection is up, as far as is known, and not
// being closed. It does not use the network. It is for a readiness probe, and
// not for a liveness probe: a restart of the service does not bring a broker
// back.
func (c *Client) Healthy() bool { return !c.closing.Load() && c.backend.Healthy() }

// Err returns nil until the connection is closed for good, and then why: nil
// after [Client.Close].
func (c *Client) Err() error { return c.backend.Err() }

// Closed returns a channel that is closed when the connection is closed for
// good: by [Client.Close], or because it cannot be had again.
func (c *Client) Closed() <-chan struct{} { return c.backend.Closed() }

// OnClose has f called once the connection is closed for good, on a goroutine
// of its own, with [Client.Err]. If it is closed already, f is called at once,
// before OnClose returns. Callbacks are called in the order they were given.
func (c *Client) OnClose(f func(error)) {
	c.mu.Lock()
	if !c.closed {
		c.onClose = append(c.onClose, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f(c.backend.Err())
}

// Conn returns the NATS connection, for what this module does not do. It is not
// yours to close: on JetStream that closes the Client. On NATS Streaming it is
// of the current session, as [Client.Stan], and the Client makes another one.
func (c *Client) Conn() *nats.Conn { return c.backend.Conn() }

// JetStream returns the JetStream client behind c, and false on another
// backend.
func (c *Client) JetStream() (jetstream.JetStream, bool) {
	b, ok := c.backend.(hasJetStream)
	if !ok {
		return nil, false
	}
	return b.JetStream(), true
}

// Stan returns the NATS Streaming connection behind c, and false on another
// backend. It is of the current session: do not keep it.
func (c *Client) Stan() (stan.Conn, bool) {
	b, ok := c.backend.(hasStan)
	if !ok {
		return nil, false
	}
	return b.Stan(), true
}
