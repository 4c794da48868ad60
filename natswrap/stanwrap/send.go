package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/stan.go/pb"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// outbound is the way of messages to the server: a window, and one goroutine
// that talks to stan.go, whose calls know no context and block while the
// client reconnects or the server does not read.
type outbound struct {
	c          *Client
	slots      chan struct{} // one for each message in the window
	queue      chan *request // as long as the window: never blocks who has a slot
	sealed     chan struct{} // closed when nothing more is accepted
	current    atomic.Pointer[request]
	maxPayload atomic.Int64
	running    sync.WaitGroup
	quit       chan struct{}
}

func newOutbound(c *Client) *outbound {
	return &outbound{
		c:      c,
		slots:  make(chan struct{}, c.cfg.MaxPending),
		queue:  make(chan *request, c.cfg.MaxPending),
		sealed: make(chan struct{}),
		quit:   make(chan struct{}),
	}
}

func (o *outbound) start() {
	o.running.Go(o.write)
	o.running.Go(o.watch)
}

// Reasons of a publish that was not sent.
var (
	errDisconnected = fmt.Errorf("%w to NATS; the client is reconnecting", ticketing.ErrNotConnected)
	errNilContext   = errors.New("the context is nil")
	errNotWritten   = errors.New("the connection did not take it within the ack timeout")
)

// Send publishes m and reports through done when the server has stored it. It
// blocks for a place in the window alone (Config.MaxPending), and fails at
// once with [ticketing.ErrNotConnected] while there is no connection. The
// outcome comes within twice the AckTimeout.
func (c *Client) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	o := c.out
	if err := o.admit(ctx, m); err != nil {
		done(err)
		return
	}
	r := &request{o: o, m: m, done: done}
	o.queue <- r
}

// admit checks m and takes a place in the window for it.
func (o *outbound) admit(ctx context.Context, m *ticketing.Message) error {
	if err := m.Subject.Validate(); err != nil {
		return rejected(m, err)
	}
	if err := o.checkSize(m); err != nil {
		return rejected(m, err)
	}
	if ctx == nil {
		return notSent(m, errNilContext)
	}
	if ctx.Err() != nil {
		return notSent(m, context.Cause(ctx))
	}
	for {
		link := o.c.link.load()
		select {
		case <-o.sealed:
			return notSent(m, o.c.closedErr())
		default:
		}
		if err := o.obstacle(link); err != nil {
			return notSent(m, err)
		}
		select {
		case o.slots <- struct{}{}:
			return nil
		default:
		}
		select {
		case o.slots <- struct{}{}:
			return nil
		case <-link.changed:
		case <-o.sealed:
		case <-ctx.Done():
			return notSent(m, fmt.Errorf("waiting for a place among %d unacknowledged publishes: %w", cap(o.slots), context.Cause(ctx)))
		}
	}
}

// obstacle is why nothing can be handed to stan.go now, or nil.
func (o *outbound) obstacle(link *linkState) error {
	if s := o.c.session(); !s.alive() {
		return o.c.closedErr()
	}
	if !link.up {
		return errDisconnected
	}
	return nil
}

// guidLen is the length of the ids that stan.go makes for a message and for a
// connection.
const guidLen = 22

// framing is more than what stan.go adds to any payload, its subject and
// client id apart.
const framing = 128

// checkSize refuses what the NATS server would: it closes the connection of a
// client that sends more than its max_payload. A stored message is smaller
// when it is delivered, so what passes here comes through.
func (o *outbound) checkSize(m *ticketing.Message) error {
	limit := o.maxPayload.Load()
	if int64(len(m.Data)+len(m.Subject)+len(o.c.cfg.ClientID)+framing) <= limit {
		return nil
	}
	size := int64(frameSize(o.c.cfg.ClientID, m))
	if size <= limit {
		return nil
	}
	return fmt.Errorf("%w: %d bytes with NATS Streaming's framing (%d without), the server's max_payload is %d",
		ticketing.ErrTooLarge, size, len(m.Data), limit)
}

// frameSize is the size of what stan.go sends for m.
func frameSize(clientID string, m *ticketing.Message) int {
	var id [guidLen]byte
	p := pb.PubMsg{ClientID: clientID, Guid: string(id[:]), Subject: string(m.Subject), Data: m.Data, ConnID: id[:]}
	return p.Size()
}

// request is a message in the window.
type request struct {
	o        *outbound
	m        *ticketing.Message
	done     func(error)
	sess     *session
	finished atomic.Bool
}

// finish gives the outcome and frees the place, the first time it is called:
// stan.go's completion, its error and our own timeout may come together.
func (r *request) finish(err error) {
	if !r.finished.CompareAndSwap(false, true) {
		return
	}
	<-r.o.slots // before done, which may send again
	r.done(err)
}

// acked is stan.go's completion.
func (r *request) acked(_ string, err error) {
	if err == nil {
		r.finish(nil)
		return
	}
	r.failed(err, explainAck)
}

func (r *request) failed(err error, explain func(*ticketing.Message, error) (error, bool)) {
	outcome, lost := explain(r.m, err)
	r.finish(outcome)
	if lost {
		r.o.c.lose(r.sess, err)
	}
}

// write hands the queue to stan.go, in order.
func (o *outbound) write() {
	for r := range o.queue {
		if err := o.obstacle(o.c.link.load()); err != nil {
			r.finish(notSent(r.m, err))
			continue
		}
		r.sess = o.c.session()
		o.current.Store(r)
		_, err := r.sess.conn.PublishAsync(string(r.m.Subject), r.m.Data, r.acked)
		o.current.Store(nil)
		if err != nil {
			r.failed(err, explainPublish)
		}
	}
}

// failQueued fails what stan.go has not seen yet.
func (o *outbound) failQueued(err error) {
	for {
		select {
		case r, ok := <-o.queue:
			if !ok {
				return
			}
			r.finish(notSent(r.m, err))
		default:
			return
		}
	}
}

// watch bounds the outcome where the connection takes nothing: the call that
// is stuck has been so for half the ack timeout or more when it is seen twice.
func (o *outbound) watch() {
	tick := time.NewTicker(max(o.c.cfg.AckTimeout/2, time.Millisecond))
	defer tick.Stop()
	var seen *request
	for {
		select {
		case <-tick.C:
		case <-o.quit:
			return
		}
		r := o.current.Load()
		if r != nil && r == seen {
			r.finish(unknown(r.m, errNotWritten))
			o.failQueued(errNotWritten)
		}
		seen = r
	}
}

// drain refuses further messages and waits for the outcome of those in the
// window, until ctx ends. It returns how many places of the window it could
// not get hold of.
func (o *outbound) drain(ctx context.Context) (left int) {
	close(o.sealed)
	for left = cap(o.slots); left > 0; left-- {
		select {
		case o.slots <- struct{}{}:
		case <-ctx.Done():
			return left
		}
	}
	return 0
}

// stop ends the goroutines. The session and the connection are closed by now,
// so that everything in the window gets its outcome.
func (o *outbound) stop(left int) {
	for range left {
		o.slots <- struct{}{}
	}
	close(o.queue) // who puts something there has a slot, and all are ours
	close(o.quit)
	o.running.Wait()
}
