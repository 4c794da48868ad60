package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// requestTimeout bounds stan.go's requests to the server: connect, subscribe,
// close.
const requestTimeout = 5 * time.Second

// lateClose bounds how long the server may take to close a session that nobody
// wants any more.
const lateClose = time.Second

// session is one registration with the streaming server, over a NATS
// connection of its own: with that closed nothing of the session is left that
// could answer the server in the name of the next one. Whoever uses a session
// takes it from [Client.session] and looks at lost: subscriptions and
// outstanding publishes end with it.
type session struct {
	nc    *nats.Conn
	state *natsconn.State
	conn  stan.Conn

	adopted chan struct{} // closed once the client uses the session
	lost    chan struct{} // closed by end
	endOnce sync.Once

	retireOnce sync.Once
}

func newSession() *session {
	return &session{state: new(natsconn.State), adopted: make(chan struct{}), lost: make(chan struct{})}
}

// end marks the session as lost and reports whether this call did it.
func (s *session) end() (first bool) {
	s.endOnce.Do(func() {
		close(s.lost)
		first = true
	})
	return first
}

func (s *session) alive() bool {
	select {
	case <-s.lost:
		return false
	default:
		return true
	}
}

// usable reports whether the session lives and is connected.
func (s *session) usable() bool { return s.alive() && s.state.Connected() }

// retire closes what the session has, within ctx. The server is not told: a
// session that was lost may be another client's by now, and stan.go closes
// sessions by the client's id, so the connection goes first. What is
// outstanding fails. Several calls wait for the first.
func (s *session) retire(ctx context.Context) {
	s.retireOnce.Do(func() {
		_ = s.state.Close(ctx, s.nc)
		_ = s.conn.Close()
	})
}

// leave tells the server that the client leaves, and closes what the session
// has, within ctx.
func (s *session) leave(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.conn.Close() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	s.retire(ctx)
	return err
}

// openSession connects and registers. Once adopted the session tells c what
// becomes of it. stan.go knows no context: when ctx ends first, openSession
// returns all the same; leave says whether a registration that succeeds
// afterwards is given back to the server.
func (c *Client) openSession(ctx context.Context, leave bool) (*session, error) {
	s := newSession()
	s.state = &natsconn.State{
		OnDisconnect: func(error) {
			c.relink(s)
			if s.alive() { // otherwise lose sees to it
				c.out.interrupted(errDisconnected)
				c.out.failSent(s, errConnectionLost)
			}
		},
		OnReconnect: func() {
			if s == c.session() {
				c.out.maxPayload.Store(s.nc.MaxPayload())
			}
			c.relink(s)
		},
		OnClosed: func() {
			if s == c.session() {
				c.lose(s, s.closedErr())
			}
		},
		OnAsyncError: c.asyncError,
		Logger:       c.log,
	}
	nc, err := natsconn.Dial(ctx, c.cfg.natsconn(), append(s.state.Options(),
		// A write that is stuck holds the client's lock.
		nats.FlusherTimeout(c.cfg.AckTimeout), nats.ReconnectOnFlusherError())...)
	if err != nil {
		return nil, err
	}
	s.nc = nc
	done := make(chan error, 1)
	go func() {
		var err error
		s.conn, err = c.stanConnect(s)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			_ = s.state.Close(ended, nc)
			return nil, c.explainConnect(err)
		}
		return s, nil
	case <-ctx.Done():
		s.end()
		if !leave {
			_ = s.state.Close(ended, nc)
		}
		go func() {
			if err := <-done; err == nil && leave {
				defer time.AfterFunc(lateClose, func() { _ = s.state.Close(ended, nc) }).Stop()
				_ = s.conn.Close()
			}
			_ = s.state.Close(ended, nc)
		}()
		return nil, context.Cause(ctx)
	}
}

func (c *Client) stanConnect(s *session) (stan.Conn, error) {
	return stan.Connect(c.cfg.ClusterID, c.cfg.ClientID,
		stan.NatsConn(s.nc),
		stan.ConnectWait(requestTimeout),
		stan.PubAckWait(c.cfg.AckTimeout),
		// Our own window is the one that counts; this one must never block,
		// because it knows no context. It is emptied by acknowledgements and
		// by its own timeouts alone, while ours lets go of what is denied or
		// lost at once: no multiple of ours is enough. It is the capacity of a
		// channel of empty structs, which takes no memory.
		stan.MaxPubAcksInflight(math.MaxInt32),
		stan.Pings(int(wholeSeconds(c.cfg.PingInterval)/time.Second), c.cfg.PingMaxOut),
		stan.SetConnectionLostHandler(func(_ stan.Conn, err error) {
			select { // on a goroutine of its own, perhaps before Connect is done
			case <-s.adopted:
				c.lose(s, err)
			case <-s.lost:
			}
		}),
	)
}

// closedErr is why the NATS connection was closed for good.
func (s *session) closedErr() error {
	if err := s.state.Err(); err != nil {
		return err
	}
	return errors.New("the NATS connection was closed")
}

// The server's errors, which it sends as texts.
const (
	srvClientIDInUse  = "stan: clientID already registered"
	srvInvalidPublish = "stan: invalid publish request"
	srvUnknownClient  = "stan: unknown clientID"
	srvChannelDeleted = "stan: channel is being deleted"
	srvNoChannel      = "stan: no configured channel"
	srvTooMany        = "too many channels"
	srvOtherCase      = "different cases not allowed"
)

// ErrClientIDInUse is what [Connect] fails with when another client that runs
// has the client id.
var ErrClientIDInUse = errors.New("it is in use by another client that runs")

// explainConnect says what to do about an error of stan.Connect.
func (c *Client) explainConnect(err error) error {
	switch {
	case errors.Is(err, stan.ErrConnectReqTimeout):
		return fmt.Errorf("connect to NATS Streaming: no server answers for cluster id %q: "+
			"ClusterID has to be the server's own cluster id (its -cid), the server has to run NATS Streaming, "+
			"and the account needs _STAN.> and _INBOX.>: %w", c.cfg.ClusterID, err)
	case err.Error() == srvClientIDInUse:
		return fmt.Errorf("connect to NATS Streaming as client id %q: %w: "+
			"ClientID has to be unique per instance, such as the pod's name: %w", c.cfg.ClientID, ErrClientIDInUse, err)
	case errors.Is(err, stan.ErrBadConnection):
		return fmt.Errorf("%w: the connection was lost before NATS Streaming was reached", ticketing.ErrNotConnected)
	}
	return fmt.Errorf("connect to NATS Streaming: %w", err)
}
