package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

// membership is a subscription in one session: a member of the durable queue
// group. An intake has one after the other.
type membership struct {
	in   *intake
	sess *session
	sub  stan.Subscription
	// again says that the intake had another one before.
	again bool

	// decided is closed when it is clear whether this is the intake's
	// membership. Nothing is handed over before: ctx may end while the
	// server's answer is on its way.
	decided chan struct{}
}

// join makes a membership in sess, or returns nil when ctx ended first.
func (c *Client) join(ctx context.Context, in *intake, sess *session) (*membership, error) {
	type result struct {
		sub stan.Subscription
		err error
	}
	mem := &membership{in: in, sess: sess, again: in.joined.Load() != nil, decided: make(chan struct{})}
	done := make(chan result)
	gone := make(chan struct{}) // closed when nobody waits for done any more
	defer close(gone)
	defer close(mem.decided)
	c.aside.Go(func() {
		sub, err := sess.conn.QueueSubscribe(string(in.s.Subject), in.s.Group, mem.deliver,
			stan.DurableName(in.durable),
			stan.DeliverAllAvailable(),
			stan.SetManualAckMode(),
			stan.AckWait(wholeSeconds(in.s.AckWait)),
			stan.MaxInflight(in.s.Window))
		select {
		case done <- result{sub, err}:
		case <-gone:
			if err == nil {
				c.leave(sess, sub, func() {})
			}
		}
	})
	select {
	case r := <-done:
		if r.err != nil {
			return nil, c.joinFailed(sess, r.err)
		}
		mem.sub = r.sub
		in.joined.Store(mem)
		return mem, nil
	case <-ctx.Done():
		return nil, nil
	case <-c.stopping.Done():
	case <-sess.lost:
	}
	return nil, c.unusable()
}

// joinFailed explains err, and ends the session where it means that.
func (c *Client) joinFailed(s *session, err error) error {
	switch {
	case errors.Is(err, stan.ErrSubReqTimeout):
		return fmt.Errorf("the server does not answer: %w", err)
	case errors.Is(err, stan.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionClosed), err.Error() == srvUnknownClient:
		c.lose(s, err)
		return errSessionLost
	case err.Error() == srvTooMany:
		return fmt.Errorf("the server's limit of channels is reached: %w", err)
	}
	return err
}

// deliver is stan.go's callback, on the subscription's own goroutine.
func (mem *membership) deliver(m *stan.Msg) {
	<-mem.decided
	mem.in.deliver(mem, m)
}

// close leaves the group without giving up its position. It waits for the
// server, which has then read all acknowledgements and gives the rest to other
// members at once.
func (mem *membership) close() {
	c := mem.in.c
	tried := make(chan struct{})
	c.aside.Go(func() { c.leave(mem.sess, mem.sub, func() { close(tried) }) })
	select {
	case <-tried:
	case <-c.hurry.Done():
	case <-mem.sess.lost:
	}
}

// leave closes a subscription, and goes on trying as long as its session
// lasts: the server would take a subscription that it still knows for a member
// of the group, and give it messages. tried is called after the first try.
func (c *Client) leave(sess *session, sub stan.Subscription, tried func()) {
	for {
		link := c.link.Load()
		if link.Up {
			err := sub.Close()
			if err == nil || !sess.alive() || errors.Is(err, stan.ErrBadSubscription) {
				tried()
				return
			}
			c.log.Warn("NATS Streaming subscription not closed; trying again", "client_id", c.cfg.ClientID, "error", err)
		}
		tried()
		tried = func() {}
		select {
		case <-link.Changed:
		case <-time.After(requestTimeout):
		case <-sess.lost:
			return
		}
	}
}
