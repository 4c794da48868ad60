package stanwrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// Reading a channel without a durable. The server does not tell how many
// messages a channel has, nor that it has none.
const (
	// firstPatience is how long the first message may take to come; a channel
	// that keeps silent for so long counts as empty.
	firstPatience = 2 * time.Second
	// nextPatience is how long any other may take: that one is known to be
	// there.
	nextPatience = 15 * time.Second
	browseWindow = 256
)

var errStalled = fmt.Errorf("NATS Streaming has delivered nothing for %v", nextPatience)

// last returns the sequence of the channel's last message, and 0 where there
// is none.
func (c *Client) last(ctx context.Context, channel ticketing.Subject) (uint64, error) {
	b, err := c.browse(ctx, channel, stan.StartWithLastReceived())
	if err != nil {
		return 0, err
	}
	defer b.close()
	m, err := b.next(ctx, firstPatience)
	switch {
	case errors.Is(err, errStalled):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return m.Sequence, nil
}

// read yields the channel's messages from one sequence up to another, which
// the channel has, or had.
func (c *Client) read(ctx context.Context, channel ticketing.Subject, from, to uint64) iter.Seq2[*stan.Msg, error] {
	return func(yield func(*stan.Msg, error) bool) {
		if from > to {
			return
		}
		b, err := c.browse(ctx, channel, stan.StartAtSequence(from))
		if err != nil {
			yield(nil, err)
			return
		}
		defer b.close()
		for at := uint64(0); at < to; {
			m, err := b.next(ctx, nextPatience)
			if err != nil {
				yield(nil, fmt.Errorf("read channel %s: %w", channel, err))
				return
			}
			if m.Sequence <= at {
				continue // again, because the acknowledgement took long
			}
			at = m.Sequence
			if at <= to && !yield(m, nil) {
				return
			}
		}
	}
}

// browsing is a subscription that has no durable position. It ends with the
// connection: on the next one the server goes on behind what was under way on
// the last, and gives that again after the ack wait only.
type browsing struct {
	c    *Client
	link *natsconn.LinkState // that it was made on
	sess *session
	sub  stan.Subscription
	msgs chan *stan.Msg
	quit chan struct{}
}

// browse subscribes to a channel, from a position on, for its own eyes. stan.go
// knows no context, so it is asked on another goroutine.
func (c *Client) browse(ctx context.Context, channel ticketing.Subject, from stan.SubscriptionOption) (*browsing, error) {
	c.mu.Lock()
	if c.refused {
		c.mu.Unlock()
		return nil, ticketing.ErrClosed
	}
	c.receives.Add(1) // a shutdown waits for it
	c.mu.Unlock()
	// The link first: a session that follows has another one.
	b := &browsing{c: c, link: c.link.Load(), sess: c.session(), msgs: make(chan *stan.Msg), quit: make(chan struct{})}
	subscribed := make(chan error, 1)
	if !b.link.Up {
		c.receives.Done()
		return nil, c.unusable()
	}
	c.aside.Go(func() {
		var err error
		b.sub, err = b.sess.conn.Subscribe(string(channel), b.deliver, from, stan.SetManualAckMode(), stan.MaxInflight(browseWindow))
		subscribed <- err
	})
	err := b.await(ctx, subscribed)
	if err == nil {
		return b, nil
	}
	c.aside.Go(func() { // it may succeed later
		if err := <-subscribed; err == nil {
			c.leave(b.sess, b.sub, func() {})
		}
	})
	close(b.quit)
	c.receives.Done()
	return nil, fmt.Errorf("read channel %s: %w", channel, err)
}

func (b *browsing) await(ctx context.Context, subscribed chan error) error {
	select {
	case err := <-subscribed:
		cut := b.cut()
		if err == nil && cut == nil {
			return nil
		}
		subscribed <- err // for the one who waits for it later
		if err != nil {
			err = b.c.joinFailed(b.sess, err)
		}
		return cmp.Or(cut, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-b.c.stopping.Done():
	case <-b.link.Changed:
	}
	return b.cut()
}

// cut is why nothing more can be told of the channel, or nil.
func (b *browsing) cut() error {
	select {
	case <-b.link.Changed:
	default:
		if b.c.stopping.Err() == nil {
			return nil
		}
	}
	switch {
	case b.c.stopping.Err() != nil:
		return b.c.unusable()
	case !b.sess.alive():
		return errSessionLost
	}
	return errDisconnected
}

// deliver is stan.go's callback. The next message comes when this one was
// taken, so the window bounds what is in memory.
func (b *browsing) deliver(m *stan.Msg) {
	select {
	case b.msgs <- m:
		_ = m.Ack()
	case <-b.quit:
	}
}

// next waits for a message.
func (b *browsing) next(ctx context.Context, patience time.Duration) (*stan.Msg, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case m := <-b.msgs:
		return m, b.cut() // it may have come on the next connection
	case <-timer.C:
		return nil, cmp.Or(b.cut(), errStalled)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-b.c.stopping.Done():
	case <-b.link.Changed:
	}
	return nil, b.cut()
}

// close ends the subscription. It does not wait for the server: stan.go knows
// no context, and a shutdown that closes the session closes this with it.
func (b *browsing) close() {
	defer b.c.receives.Done()
	close(b.quit)
	b.c.aside.Go(func() { b.c.leave(b.sess, b.sub, func() {}) })
}
