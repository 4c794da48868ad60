package stanwrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
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
// Dead letters of the group that are replayed come in between, one at a time,
// beyond the window: they are in the channel dead.<group>, to which there is a
// second subscription.
//
// While the client has no connection or no session Receive waits until it has,
// and makes the subscription again with every new session: it goes on where the
// durable position is. What is held then stays held, and is absorbed when the
// new subscription delivers it again; an acknowledgement that the lost session
// could not take is sent at that redelivery. Receive returns an error that
// matches [ticketing.ErrClosed] when the client is closed before ctx ends.
func (c *Client) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s = s.WithDefaults()
	if ctx == nil {
		return failedReceive(s, errNilContext)
	}
	if err := c.receiveAll(ctx, s, handle); err != nil {
		return failedReceive(s, err)
	}
	return nil
}

func failedReceive(s ticketing.Subscription, err error) error {
	return fmt.Errorf("receive %s as group %q from NATS Streaming: %w", s.Subject, s.Group, err)
}

// receive receives one channel, under a durable name that its group has there.
func (c *Client) receive(ctx context.Context, s ticketing.Subscription, durable string, handle func(context.Context, *ticketing.Inbound)) error {
	if s.Window == 0 {
		s.Window = max(2*s.Concurrency, DefaultWindow)
	}
	s.Window = min(s.Window, math.MaxInt32) // as the protocol has it
	c.mu.Lock()
	if c.refused {
		c.mu.Unlock()
		return cmp.Or(c.Err(), ticketing.ErrClosed)
	}
	c.receives.Add(1)
	c.mu.Unlock()
	defer c.receives.Done()

	in := newIntake(ctx, c, s, durable, handle)
	defer in.cancel()
	c.aside.Go(func() { in.acks.run(c.link.Load, in.ack, in.release) })
	defer in.acks.stop()
	for {
		mem, err := c.subscribe(ctx, in)
		if mem != nil {
			select {
			case <-mem.sess.lost:
				continue
			case <-ctx.Done():
			case <-c.stopping.Done():
				err = c.unusable()
			}
		}
		if ctx.Err() != nil {
			err = nil
		}
		in.drain()
		if mem != nil {
			mem.close()
		}
		return err
	}
}

// The least time for which a streaming server that does not answer is asked
// again, and the pause between two tries.
const (
	minSubscribePatience = 15 * time.Second
	subscribePause       = 500 * time.Millisecond
)

// subscribePatience is for how long a streaming server that does not answer is
// asked again: at least as long as the pings take to tell whether it is gone.
// One that cannot make a subscription that it had made before gets the same
// time.
func (c Config) subscribePatience() time.Duration {
	return max(minSubscribePatience, wholeSeconds(c.PingInterval)*time.Duration(c.PingMaxOut+1))
}

// subscribe joins the group once there is a session, and stays within ctx, of
// which stan.go knows nothing. There is no membership when ctx ended first.
func (c *Client) subscribe(ctx context.Context, in *intake) (*membership, error) {
	var firstTry time.Time
	for ctx.Err() == nil {
		if c.stopping.Err() != nil {
			return nil, c.unusable()
		}
		link, sess := c.link.Load(), c.session()
		if !link.Up {
			firstTry = time.Time{}
			c.pause(ctx, link, nil)
			continue
		}
		if firstTry.IsZero() {
			firstTry = time.Now()
		}
		again := in.joined.Load() != nil
		mem, err := c.join(ctx, in, sess)
		switch {
		case err == nil:
			return mem, nil
		case !sess.alive() || c.link.Load() != link:
			// The session or the connection was lost meanwhile.
		case errors.Is(err, nats.ErrReconnectBufExceeded):
			// The connection is lost, and the link is about to tell.
			c.pause(ctx, link, time.After(subscribePause))
		case (again || errors.Is(err, stan.ErrSubReqTimeout)) && time.Since(firstTry) < c.cfg.subscribePatience():
			c.log.Warn("NATS Streaming makes no subscription; trying again",
				"subject", in.s.Subject, "group", in.s.Group, "error", err)
			c.pause(ctx, link, time.After(subscribePause))
		default:
			return nil, err
		}
	}
	return nil, nil
}

// pause waits for whatever may make it worth trying again, or futile.
func (c *Client) pause(ctx context.Context, l *natsconn.LinkState, timeout <-chan time.Time) {
	select {
	case <-timeout:
	case <-l.Changed:
	case <-c.stopping.Done():
	case <-ctx.Done():
	}
}
