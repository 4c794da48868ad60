package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// requestTimeout bounds stan.go's requests to the server: connect, subscribe,
// close.
const requestTimeout = 5 * time.Second

// lateClose bounds how long the server may take to close a session that nobody
// wants any more.
const lateClose = time.Second

// session is one registration with the streaming server. Whoever uses one
// takes it from [Client.session] and looks at lost: subscriptions and
// outstanding publishes end with their session.
type session struct {
	conn  stan.Conn
	ready chan struct{} // closed once the client uses the session
	lost  chan struct{} // closed by end

	once sync.Once
	err  error // why it ended; to be read once lost is closed
}

func newSession() *session {
	return &session{ready: make(chan struct{}), lost: make(chan struct{})}
}

// end marks the session as lost and reports whether this call did it.
func (s *session) end(err error) (first bool) {
	s.once.Do(func() {
		s.err = err
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

// openSession registers with the streaming server over nc, and returns the NATS
// server's limit of size along with the session. stan.go knows no context: when
// ctx ends first, openSession returns, and a registration that succeeds
// afterwards is closed before cleanup is called, perhaps twice.
func openSession(ctx context.Context, cfg *Config, nc *nats.Conn, lost func(*session, error), cleanup func()) (*session, int64, error) {
	s := newSession()
	type result struct {
		conn  stan.Conn
		limit int64
		err   error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := stan.Connect(cfg.ClusterID, cfg.ClientID,
			stan.NatsConn(nc),
			stan.ConnectWait(requestTimeout),
			stan.PubAckWait(cfg.AckTimeout),
			// Our own window is the one that counts; this one must never
			// block, because it knows no context.
			stan.MaxPubAcksInflight(2*cfg.MaxPending),
			stan.Pings(int(wholeSeconds(cfg.PingInterval)/time.Second), cfg.PingMaxOut),
			stan.SetConnectionLostHandler(func(_ stan.Conn, err error) {
				select { // on a goroutine of its own, perhaps before Connect is done
				case <-s.ready:
					lost(s, err)
				case <-s.lost:
				}
			}),
		)
		done <- result{conn, nc.MaxPayload(), err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			cleanup()
			return nil, 0, explainConnect(cfg, r.err)
		}
		s.conn = r.conn
		return s, r.limit, nil
	case <-ctx.Done():
		s.end(context.Cause(ctx))
		go func() {
			r := <-done
			if r.err == nil {
				defer time.AfterFunc(lateClose, cleanup).Stop()
				r.conn.Close()
			}
			cleanup()
		}()
		return nil, 0, context.Cause(ctx)
	}
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

// explainConnect says what to do about an error of stan.Connect.
func explainConnect(cfg *Config, err error) error {
	switch {
	case errors.Is(err, stan.ErrConnectReqTimeout):
		return fmt.Errorf("no NATS Streaming server answers for cluster id %q: "+
			"ClusterID has to be the server's own cluster id (its -cid), the server has to run NATS Streaming, "+
			"and the account needs _STAN.> and _INBOX.>: %w", cfg.ClusterID, err)
	case err.Error() == srvClientIDInUse:
		return fmt.Errorf("client id %q is in use by another client that runs: "+
			"ClientID has to be unique per instance, such as the pod's name: %w", cfg.ClientID, err)
	case errors.Is(err, stan.ErrBadConnection):
		return fmt.Errorf("%w: the connection was lost before NATS Streaming was reached", ticketing.ErrNotConnected)
	}
	return err
}
