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
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// outbound is the way of messages to the server: a window, and one goroutine
// that talks to stan.go, whose calls know no context and block while the
// client reconnects or the server does not read.
type outbound struct {
	c          *Client
	window     *window
	current    atomic.Pointer[request] // the one that PublishAsync is called with
	maxPayload atomic.Int64
	quit       chan struct{}
	running    sync.WaitGroup
}

func newOutbound(c *Client) *outbound {
	return &outbound{c: c, window: newWindow(c.cfg.MaxPending), quit: make(chan struct{})}
}

func (o *outbound) start() {
	o.running.Go(o.write)
	o.running.Go(o.watch)
}

// Reasons of a publish that was not sent.
var (
	errNilContext = errors.New("the context is nil")
	errNotWritten = errors.New("the connection did not take it within the ack timeout")
)

// Send publishes m and reports through done when the server has stored it. It
// blocks for a place in the window alone ([Config].MaxPending), and fails with
// [ticketing.ErrBusy] when ctx ends before there is one. It fails at once with
// [ticketing.ErrNotConnected] while there is no connection or no session, unless
// [Config].WaitForConnection is set. The outcome comes within twice the
// AckTimeout.
//
// A dead letter is sent in an envelope with its id and its headers: see package
// deadletter.
func (c *Client) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	if err := m.Validate(); err != nil {
		done(ticketing.NewPublishError(ticketing.OutcomeRejected, m, err))
		return
	}
	wrapped, err := c.wrap(m)
	if err != nil {
		done(ticketing.NewPublishError(ticketing.OutcomeRejected, m, err))
		return
	}
	c.sendPlain(ctx, wrapped, done)
}

// wrap puts m into what carries its id and its headers, where there is such a
// thing. Its error matches [ticketing.ErrInvalidEvent].
func (c *Client) wrap(m *ticketing.Message) (*ticketing.Message, error) {
	if _, _, ok := deadletter.ParseChannel(m.Subject); ok {
		return wrapDead(m)
	}
	if c.envelope != nil {
		return c.envelope.JSON(m)
	}
	return m, nil
}

// sendPlain is Send of a valid message as it is.
func (c *Client) sendPlain(ctx context.Context, m *ticketing.Message, done func(error)) {
	if err := c.out.send(ctx, &request{o: c.out, m: m, done: done}); err != nil {
		done(err)
	}
}

// send lets r into the window; its outcome is then r.done's to tell.
func (o *outbound) send(ctx context.Context, r *request) error {
	m := r.m
	if err := o.checkSize(m); err != nil {
		return rejected(m, err)
	}
	if ctx == nil {
		return notSent(m, errNilContext)
	}
	if ctx.Err() != nil {
		return notSent(m, context.Cause(ctx))
	}
	link, err := o.awaitLink(ctx, nil)
	if err != nil {
		return notSent(m, err)
	}
	if !o.window.enter(r) {
		return notSent(m, o.c.unusable())
	}
	if r.admitted == nil {
		return nil
	}
	for err == nil {
		select {
		case <-r.admitted:
			return nil
		case <-link.Changed:
			link, err = o.awaitLink(ctx, r.admitted)
		case <-o.window.shut:
			err = o.c.unusable()
		case <-ctx.Done():
			if o.window.giveUp(r) {
				return busy(m, fmt.Errorf("waiting for a place among %d unacknowledged publishes: %w", o.window.size, context.Cause(ctx)))
			}
			return nil
		}
	}
	if o.window.giveUp(r) {
		return notSent(m, err)
	}
	return nil
}

// awaitLink returns the link once something can be sent over it, or why
// nothing can. It waits where the configuration says so, but not for what is
// admitted meanwhile: that waits in the queue.
func (o *outbound) awaitLink(ctx context.Context, admitted <-chan struct{}) (*natsconn.LinkState, error) {
	for {
		link := o.c.link.Load()
		err := o.obstacle(link)
		if err == nil || !o.c.cfg.WaitForConnection || errors.Is(err, ticketing.ErrClosed) {
			return link, err
		}
		select {
		case <-link.Changed:
		case <-admitted:
			return link, nil
		case <-o.c.stopping.Done(): // a client that closes waits for no connection
		case <-ctx.Done():
			return link, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// obstacle is why nothing can be handed to stan.go now, or nil.
func (o *outbound) obstacle(link *natsconn.LinkState) error {
	if link.Up {
		return nil
	}
	return o.c.unusable()
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
	what := ""
	if o.c.envelope != nil {
		what = ", the CloudEvents envelope included"
	}
	return fmt.Errorf("%w: %d bytes with NATS Streaming's framing (%d without)%s, the server's max_payload is %d",
		ticketing.ErrTooLarge, size, len(m.Data), what, limit)
}

// frameSize is the size of what stan.go sends for m.
func frameSize(clientID string, m *ticketing.Message) int {
	var id [guidLen]byte
	p := pb.PubMsg{ClientID: clientID, Guid: string(id[:]), Subject: string(m.Subject), Data: m.Data, ConnID: id[:]}
	return p.Size()
}

// request is a message on its way.
type request struct {
	o        *outbound
	m        *ticketing.Message
	done     func(error)
	admitted chan struct{}           // where it has to wait for a place
	since    time.Time               // when it got its place
	sess     atomic.Pointer[session] // once it is sending
	state    atomic.Uint32

	prev, next *request // in the window
}

// The states of a request.
const (
	queued   uint32 = iota // stan.go has not seen it
	sending                // stan.go has it
	finished               // its outcome was told
)

// finish tells the outcome and frees the place, the first time it is called:
// stan.go's completion, its error and our own timeout may come together.
func (r *request) finish(err error) {
	if r.state.Swap(finished) == finished {
		return
	}
	r.o.window.leave(r) // before done, which may send again
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

func (r *request) failed(err error, explain func(*ticketing.Message, error, error) (bool, error)) {
	gone := errSessionLost
	if r.o.c.stopping.Err() != nil {
		gone = ticketing.ErrClosed
	}
	lost, outcome := explain(r.m, err, gone)
	if lost { // before the outcome: who hears it and tries again is not to meet the same session
		r.o.c.lose(r.sess.Load(), err)
	}
	r.finish(outcome)
}
