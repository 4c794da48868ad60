package stanwrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// Client is one client of a NATS Streaming server: a [ticketing.Sender] and a
// [ticketing.Receiver]. Its methods may be called concurrently.
//
// A client has one session at a time, which is a registration with the
// streaming server over a NATS connection of its own. The NATS connection is
// made again when it is lost, and the session goes on. When the session itself
// is lost, because the server forgot it or does not answer its pings, what is
// in flight is of unknown outcome, and the client registers anew with the same
// id, for as long as it takes; subscriptions are made again with it, and go on
// where they were. Meanwhile publishes fail at once with
// [ticketing.ErrNotConnected].
//
// Two things end a client for good, and [Client.Err] tells which: another
// client that runs with its id, and credentials that the server refuses.
type Client struct {
	cfg  Config
	log  *slog.Logger
	sess atomic.Pointer[session] // the last one, which may be lost
	link natsconn.Link           // up while the session can be used
	out  *outbound

	envelope *cloudevent.Writer // nil: messages are sent as they are

	stopping context.Context // ends when Receives are to stop
	stop     context.CancelCauseFunc
	hurry    context.Context // ends when nothing is waited for any more
	cut      context.CancelCauseFunc

	mu       sync.Mutex // guards link.Set, and refused against what is begun
	refused  bool       // no new Receive and no new session
	receives sync.WaitGroup
	aside    sync.WaitGroup // goroutines that outlive the call that started them

	bounded      atomic.Bool // by the ctx of the first Close
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

// Connect connects and registers with the streaming server. It does not try
// again, except where the client id is still in use: the process that had it
// may be about to end ([Config].ClientIDWait). It honours ctx in every state.
// Errors say which field of cfg to look at, and have no credentials in them.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("stanwrap: %w", err)
	}
	c := newClient(cfg)
	s, err := c.register(ctx, once)
	if err != nil {
		return nil, fmt.Errorf("stanwrap: %w", err)
	}
	c.out.start()
	c.adopt(s)
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
	c.out = newOutbound(c)
	if cfg.CloudEvents {
		c.envelope = cloudevent.NewWriter(cfg.Source)
	}
	return c
}

// session is the last session, which may be lost.
func (c *Client) session() *session { return c.sess.Load() }

// Capabilities declares what NATS Streaming can do: groups and durable
// positions. It deduplicates nothing, carries no headers, hands nothing back
// before the ack wait, and has no heartbeats for what is held. It counts
// deliveries, from anew when the server restarts. With [Config].CloudEvents
// the envelope carries ids and headers.
func (c *Client) Capabilities() ticketing.Capabilities {
	return ticketing.Capabilities{Groups: true, Durable: true, Fetch: true, Attempts: true, Headers: c.envelope != nil}
}

// CheckSubject returns nil for every valid subject: NATS Streaming makes a
// channel at its first use. The limit of channels is the server's to tell when
// something is sent.
func (c *Client) CheckSubject(_ context.Context, s ticketing.Subject) error { return s.Validate() }

// Conn returns the NATS connection of the current session. The next session
// has another one: do not keep it.
func (c *Client) Conn() *nats.Conn { return c.session().nc }

// Stan returns stan.go's connection of the current session. Do not keep it.
func (c *Client) Stan() stan.Conn { return c.session().conn }

// Healthy reports whether the client is connected and has a session, as far as
// is known. It does not use the network.
func (c *Client) Healthy() bool { return c.link.Load().Up && c.stopping.Err() == nil }

// Closed returns a channel that is closed when the client is closed for good,
// by [Client.Close] or because it cannot have a session any more.
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

// unusable is why the client cannot be used while its link is down.
func (c *Client) unusable() error {
	switch {
	case c.stopping.Err() != nil:
		return cmp.Or(c.Err(), ticketing.ErrClosed)
	case !c.session().alive():
		return errSessionLost
	}
	return errDisconnected
}

// Why nothing can be sent for the moment, and what was is unknown.
var (
	errConnectionLost = errors.New("the connection was lost before the acknowledgement")

	errDisconnected = fmt.Errorf("%w to NATS; the client is reconnecting", ticketing.ErrNotConnected)
	errSessionLost  = fmt.Errorf("%w: the NATS Streaming session was lost, and the client is making it anew", ticketing.ErrNotConnected)
)

// relink brings the link in line with what the session s has heard.
func (c *Client) relink(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if up := s.usable(); s == c.session() && up != c.link.Load().Up {
		c.link.Set(up)
	}
}

// asyncError hears what the server says on the side.
func (c *Client) asyncError(_ *nats.Subscription, err error) {
	if channel, ok := deniedPublish(err, c.cfg.ClusterID); ok {
		c.out.denied(channel, err)
	}
}

// end records why the client is closed, the first time.
func (c *Client) end(err error) {
	c.endOnce.Do(func() {
		c.err = err
		close(c.ended)
	})
}
