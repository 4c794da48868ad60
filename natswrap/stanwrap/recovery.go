package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// The life of a client's sessions. It registers, and adopts the session; the
// session is up until it is lost, once; then it is retired, and the client
// registers anew, until it is closed.

// adopt makes s the client's session. A client that closes meanwhile does
// without.
func (c *Client) adopt(s *session) {
	c.mu.Lock()
	if c.refused {
		c.mu.Unlock()
		s.end()
		_ = s.leave(c.hurry)
		return
	}
	c.out.maxPayload.Store(s.nc.MaxPayload())
	c.sess.Store(s)
	c.link.Set(s.usable())
	c.mu.Unlock()
	close(s.adopted)
	if s.state.Closed() { // before it was the client's
		c.lose(s, s.closedErr())
	}
}

// lose ends the session s because of err, the first time it is called for s,
// and sees to it that there is a new one. After every call nothing more is sent
// in that session. It does not block.
func (c *Client) lose(s *session, err error) {
	first := s.end()
	c.relink(s) // also where another call has ended it, and has not come to this yet
	if !first {
		return
	}
	c.out.interrupted(errSessionLost)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused {
		go s.retire(ended) // the shutdown waits for it
		return
	}
	c.aside.Go(func() {
		c.log.Warn("NATS Streaming session lost; making it anew", "client_id", c.cfg.ClientID, "error", err)
		begin := time.Now()
		s.retire(ended)
		next, err := c.register(c.stopping, forEver)
		switch {
		case err == nil:
			c.log.Info("NATS Streaming session made anew", "client_id", c.cfg.ClientID, "after", time.Since(begin))
			c.adopt(next)
		case c.stopping.Err() == nil:
			c.log.Error("NATS Streaming session cannot be made anew", "client_id", c.cfg.ClientID, "error", err)
			c.end(fmt.Errorf("%w: the NATS Streaming session was lost and cannot be made anew: %w", ticketing.ErrClosed, err))
			c.startShutdown()
		}
	})
}

// persistence says how long register goes on.
type persistence bool

const (
	once    persistence = false // at the start, so that a wrong address is seen
	forEver persistence = true
)

// The pauses between attempts to register.
const (
	retryMinPause = 50 * time.Millisecond
	retryMaxPause = 2 * time.Second
)

// register opens a session, and tries again where that may help, until ctx
// ends.
func (c *Client) register(ctx context.Context, p persistence) (*session, error) {
	var inUse time.Time // since when
	refusals := 0       // of our credentials, in a row
	var last error
	for attempt := 0; ; attempt++ {
		s, err := c.openSession(ctx, p == once)
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil && last != nil:
			return nil, fmt.Errorf("%w, after: %w", err, last)
		case ctx.Err() != nil:
			return nil, err
		}
		last = err
		switch {
		case errors.Is(err, ErrClientIDInUse):
			refusals = 0
			if inUse.IsZero() {
				inUse = time.Now()
			}
			if time.Since(inUse) >= c.cfg.ClientIDWait {
				return nil, err
			}
		case p == once:
			return nil, err
		case credentialsRefused(err):
			if refusals++; refusals == 2 { // as nats.go does when it reconnects
				return nil, err
			}
		default:
			refusals, inUse = 0, time.Time{}
		}
		if attempt == 0 {
			c.log.Warn("NATS Streaming session not made; trying again", "client_id", c.cfg.ClientID, "error", err)
		} else {
			c.log.Debug("NATS Streaming session not made; trying again", "client_id", c.cfg.ClientID, "attempt", attempt+1, "error", err)
		}
		pause := min(retryMinPause<<min(attempt, 10), retryMaxPause)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w, after: %w", context.Cause(ctx), last)
		}
	}
}

func credentialsRefused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}
