package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// DefaultWindow is the least window of a subscription that leaves it to the
// client.
const DefaultWindow = 64

// Receive receives the messages of a channel as a member of a group: a durable
// queue subscription from the first message on, acknowledged by hand. See
// [ticketing.Receiver] for the contract. Particular to NATS Streaming:
//
// The window is the subscription's max in flight and cannot change while it
// runs. Where s leaves it to the client it is twice the Concurrency, at least
// [DefaultWindow]. A message that waits in the window for longer than the ack
// wait may be given to another member as well: with handlers that take
// seconds, set Window to little more than the Concurrency.
//
// AckWait is rounded up to whole seconds. A message that is handed back comes
// again after it.
//
// While the client is not connected Receive waits until it is. It returns an
// error that matches [ticketing.ErrClosed] when the client is closed, or loses
// its session, before ctx ends.
func (c *Client) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s = s.WithDefaults()
	if err := c.receive(ctx, s, handle); err != nil {
		return fmt.Errorf("receive %s as group %q from NATS Streaming: %w", s.Subject, s.Group, err)
	}
	return nil
}

func (c *Client) receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if ctx == nil {
		return errNilContext
	}
	if s.Window == 0 {
		s.Window = max(2*s.Concurrency, DefaultWindow)
	}
	s.Window = min(s.Window, math.MaxInt32) // as the protocol has it
	c.mu.Lock()
	if c.refused {
		c.mu.Unlock()
		return c.closedErr()
	}
	c.receives.Add(1)
	c.mu.Unlock()
	defer c.receives.Done()

	in := newIntake(ctx, c, s, handle)
	defer in.cancel()
	// Nothing is handed over before it is clear that this subscription is the
	// one: ctx may end while the server's answer is on its way.
	in.turn.Lock()
	sub, err := c.subscribe(ctx, in)
	in.stopped.Store(sub == nil)
	in.turn.Unlock()
	if sub == nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	c.aside.Go(func() { in.acks.run(in.ack, in.release) })
	defer in.acks.stop()
	select {
	case <-ctx.Done():
	case <-c.stopping.Done():
		err = c.closedErr()
	case <-in.sess.lost:
		err = c.closedErr()
	}
	if ctx.Err() != nil {
		err = nil
	}
	in.drain()
	c.closeSub(in.sess, sub)
	return err
}

// A streaming server that does not answer is asked again for as long as its
// pings take to tell whether it is gone.
const (
	subscribePatience = 15 * time.Second
	subscribePause    = 500 * time.Millisecond
)

// subscribe makes the subscription once there is a connection, and stays
// within ctx, of which stan.go knows nothing. There is no subscription when ctx
// ended first.
func (c *Client) subscribe(ctx context.Context, in *intake) (stan.Subscription, error) {
	var firstTry time.Time
	for ctx.Err() == nil {
		link := c.link.Load()
		in.sess = c.session()
		if !in.sess.alive() || c.stopping.Err() != nil {
			return nil, c.closedErr()
		}
		if !link.Up {
			firstTry = time.Time{}
			c.pause(ctx, in.sess, link, nil)
			continue
		}
		if firstTry.IsZero() {
			firstTry = time.Now()
		}
		sub, err := c.subscribeOnce(ctx, in)
		switch {
		case err == nil || !in.sess.alive():
			return sub, err
		case c.link.Load() != link:
			// The connection was lost meanwhile.
		case errors.Is(err, stan.ErrSubReqTimeout) && time.Since(firstTry) < subscribePatience:
			c.log.Warn("NATS Streaming does not answer a subscription; trying again",
				"subject", in.s.Subject, "group", in.s.Group, "error", err)
			c.pause(ctx, in.sess, link, time.After(subscribePause))
		default:
			return nil, err
		}
	}
	return nil, nil
}

// pause waits for whatever may make it worth trying again, or futile.
func (c *Client) pause(ctx context.Context, s *session, l *natsconn.LinkState, timeout <-chan time.Time) {
	select {
	case <-timeout:
	case <-l.Changed:
	case <-s.lost:
	case <-c.stopping.Done():
	case <-ctx.Done():
	}
}

func (c *Client) subscribeOnce(ctx context.Context, in *intake) (stan.Subscription, error) {
	type result struct {
		sub stan.Subscription
		err error
	}
	done := make(chan result)
	gone := make(chan struct{}) // closed when nobody waits for done any more
	defer close(gone)
	c.aside.Go(func() {
		sub, err := in.sess.conn.QueueSubscribe(string(in.s.Subject), in.s.Group, in.deliver,
			stan.DurableName(in.s.Group),
			stan.DeliverAllAvailable(),
			stan.SetManualAckMode(),
			stan.AckWait(wholeSeconds(in.s.AckWait)),
			stan.MaxInflight(in.s.Window))
		select {
		case done <- result{sub, err}:
		case <-gone:
			if err == nil {
				c.leave(in.sess, sub, func() {})
			}
		}
	})
	select {
	case r := <-done:
		if r.err != nil {
			return nil, c.subscribeFailed(in.sess, r.err)
		}
		return r.sub, nil
	case <-ctx.Done():
		return nil, nil
	case <-c.stopping.Done():
	case <-in.sess.lost:
	}
	return nil, c.closedErr()
}

// subscribeFailed explains err, and ends the session where it means that.
func (c *Client) subscribeFailed(s *session, err error) error {
	switch {
	case errors.Is(err, stan.ErrSubReqTimeout):
		return fmt.Errorf("the server does not answer: %w", err)
	case errors.Is(err, stan.ErrConnectionClosed):
		return c.closedErr()
	case err.Error() == srvUnknownClient:
		c.lose(s, err)
		return c.closedErr()
	case err.Error() == srvTooMany:
		return fmt.Errorf("the server's limit of channels is reached: %w", err)
	}
	return err
}

// closeSub leaves the group without giving up its position. It waits for the
// server, which has then read all acknowledgements and gives the rest to other
// members at once.
func (c *Client) closeSub(s *session, sub stan.Subscription) {
	tried := make(chan struct{})
	c.aside.Go(func() { c.leave(s, sub, func() { close(tried) }) })
	select {
	case <-tried:
	case <-c.hurry.Done():
	case <-s.lost:
	}
}

// leave closes sub, and goes on trying as long as the session lasts: the
// server would take a subscription that it still knows for a member of the
// group, and give it messages. tried is called after the first try.
func (c *Client) leave(s *session, sub stan.Subscription, tried func()) {
	for {
		link := c.link.Load()
		if link.Up {
			err := sub.Close()
			if err == nil || !s.alive() || errors.Is(err, stan.ErrBadSubscription) {
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
		case <-s.lost:
			return
		}
	}
}
