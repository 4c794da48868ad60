package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// Client is one registration with a NATS Streaming server over one NATS
// connection: a [ticketing.Sender] and a [ticketing.Receiver]. Its methods may
// be called concurrently.
//
// When the server no longer knows the client, or has not answered its pings,
// the client is closed for good: [Client.Err] has the reason, outstanding
// publishes are of unknown outcome, later ones not sent, and every Receive
// returns an error.
type Client struct {
	cfg   Config
	log   *slog.Logger
	nc    *nats.Conn
	state *natsconn.State
	link  natsconn.Link
	sess  atomic.Pointer[session]
	out   *outbound

	stopping context.Context // ends when Receives are to stop
	stop     context.CancelCauseFunc
	hurry    context.Context // ends when nothing is waited for any more
	cut      context.CancelCauseFunc

	mu       sync.Mutex // guards refused against receives.Add
	refused  bool       // no new Receive
	receives sync.WaitGroup
	aside    sync.WaitGroup // goroutines that outlive the call that started them

	shutdownOnce sync.Once
	closeErr     error         // of the shutdown; to be read once finished is closed
	finished     chan struct{} // closed when the shutdown is complete
	endOnce      sync.Once
	ended        chan struct{} // see Closed
	err          error         // why it ended; to be read once ended is closed
}

var (
	_ ticketing.Sender             = (*Client)(nil)
	_ ticketing.Receiver           = (*Client)(nil)
	_ ticketing.SubjectChecker     = (*Client)(nil)
	_ ticketing.CapabilityReporter = (*Client)(nil)
)

// Connect connects and registers with the streaming server, once: it does not
// try again. It honours ctx in every state. Errors say which field of cfg to
// look at, and have no credentials in them.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("stanwrap: %w", err)
	}
	c := newClient(cfg)
	opts := append(c.state.Options(),
		// A write that is stuck holds the client's lock.
		nats.FlusherTimeout(cfg.AckTimeout), nats.ReconnectOnFlusherError())
	c.nc, err = natsconn.Dial(ctx, cfg.natsconn(), opts...)
	if err != nil {
		return nil, fmt.Errorf("stanwrap: %w", err)
	}
	s, limit, err := openSession(ctx, &cfg, c.nc, c.lose, func() { _ = c.state.Close(context.Background(), c.nc) })
	if err != nil {
		return nil, fmt.Errorf("stanwrap: connect to NATS Streaming: %w", err)
	}
	c.out.maxPayload.Store(limit)
	c.sess.Store(s)
	c.out.start()
	close(s.ready)
	if c.state.Closed() { // before there was a session to end
		c.natsClosed()
	}
	return c, nil
}

// newClient returns a client that is not connected yet.
func newClient(cfg Config) *Client {
	c := &Client{
		cfg:      cfg,
		log:      cfg.Logger,
		finished: make(chan struct{}),
		ended:    make(chan struct{}),
	}
	c.stopping, c.stop = context.WithCancelCause(context.Background())
	c.hurry, c.cut = context.WithCancelCause(context.Background())
	c.link.Set(true)
	c.out = newOutbound(c)
	c.state = &natsconn.State{
		OnDisconnect: c.disconnected,
		OnReconnect:  c.reconnected,
		OnClosed:     c.natsClosed,
		OnAsyncError: c.asyncError,
		Logger:       cfg.Logger,
	}
	return c
}

// session is the registration that counts now.
func (c *Client) session() *session { return c.sess.Load() }

// Capabilities declares what NATS Streaming can do: groups and durable
// positions. It deduplicates nothing, carries no headers, hands nothing back
// before the ack wait, and has no heartbeats for what is held. It counts
// deliveries, from anew when the server restarts.
func (c *Client) Capabilities() ticketing.Capabilities {
	return ticketing.Capabilities{Groups: true, Durable: true, Fetch: true, Attempts: true}
}

// CheckSubject returns nil for every valid subject: NATS Streaming makes a
// channel at its first use. The limit of channels is the server's to tell when
// something is sent.
func (c *Client) CheckSubject(_ context.Context, s ticketing.Subject) error { return s.Validate() }

// Conn returns the NATS connection. Closing it ends the client.
func (c *Client) Conn() *nats.Conn { return c.nc }

// Stan returns stan.go's connection of the current session.
func (c *Client) Stan() stan.Conn { return c.session().conn }

// Healthy reports whether the client is connected and has a session, as far as
// is known. It does not use the network.
func (c *Client) Healthy() bool {
	return c.link.Load().Up && c.session().alive() && c.stopping.Err() == nil
}

// Closed returns a channel that is closed when the client is closed for good,
// by [Client.Close] or because it lost its session.
func (c *Client) Closed() <-chan struct{} { return c.ended }

// Err returns nil until the client is closed for good, and then why: nil after
// [Client.Close], otherwise an error that matches [ticketing.ErrClosed].
func (c *Client) Err() error {
	select {
	case <-c.ended:
		return c.err
	default:
		return nil
	}
}

// closedErr is the error of what is asked of a client that is closed or about
// to be.
func (c *Client) closedErr() error {
	if err := c.Err(); err != nil {
		return err
	}
	if s := c.session(); !s.alive() && s.err != nil {
		return lostError(s.err)
	}
	return ticketing.ErrClosed
}

// lostError is the error of what ended with its session.
func lostError(reason error) error {
	return fmt.Errorf("%w: the NATS Streaming session was lost: %w", ticketing.ErrClosed, reason)
}

func (c *Client) disconnected(error) {
	c.link.Set(false)
	c.out.failQueued(errDisconnected)
}

func (c *Client) reconnected() {
	c.out.maxPayload.Store(c.nc.MaxPayload())
	c.link.Set(true)
}

// asyncError hears what the server says on the side.
func (c *Client) asyncError(_ *nats.Subscription, err error) {
	if channel, ok := deniedPublish(err, c.cfg.ClusterID); ok {
		c.out.denied(channel, err)
	}
}

// natsClosed is called when the connection is closed for good.
func (c *Client) natsClosed() {
	c.link.Set(false)
	if s := c.session(); s != nil {
		err := c.state.Err()
		if err == nil {
			err = errors.New("the NATS connection was closed")
		}
		c.lose(s, err)
	}
}

// lose ends the session s, and with it the client.
func (c *Client) lose(s *session, err error) {
	if !s.end(err) {
		return
	}
	if c.stopping.Err() == nil {
		c.log.Error("NATS Streaming session lost", "client_id", c.cfg.ClientID, "error", err)
	}
	c.end(lostError(err))
	c.startShutdown()
}

// end records why the client is closed, the first time.
func (c *Client) end(err error) {
	c.endOnce.Do(func() {
		c.err = err
		close(c.ended)
	})
}
