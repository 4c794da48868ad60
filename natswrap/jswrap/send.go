package jswrap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Why a publish failed, for the text.
var (
	errNoAck      = errors.New("the stream did not acknowledge it in time")
	errNotWritten = errors.New("the connection did not take it in time")
	errLost       = errors.New("the connection was lost before the acknowledgement")
	errCut        = fmt.Errorf("%w before the acknowledgement", ticketing.ErrClosed)
	errNoLeader   = errors.New("nobody answers for its stream, which may be electing a leader")
	errNilContext = errors.New("the context is nil")
)

// Send implements [ticketing.Sender]. It blocks for a place among
// [Config].MaxPending publishes, and at the first message of a subject that
// the configured stream does not store, to look for the stream that does.
//
// A header value loses white space at its ends. Names that begin with Nats-
// are reserved, and so is Ticketing-Id.
func (c *Client) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	p, err := c.prepare(ctx, m, done)
	if err != nil {
		done(err)
		return
	}
	if err := c.flights.admit(ctx, p); err != nil {
		done(ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err))
		return
	}
	p.reply = c.replyTo(p.token)
	c.wire.push(frame{pub: p})
}

// prepare checks what can be known before m is sent.
func (c *Client) prepare(ctx context.Context, m *ticketing.Message, done func(error)) (*pending, error) {
	if err := c.usable(ctx); err != nil {
		return nil, ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err)
	}
	if err := m.Validate(); err != nil {
		return nil, ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	}
	if size, limit := wireSize(m), c.maxPayload.Load(); int64(size) > limit {
		return nil, tooLarge(m, fmt.Errorf("it has %d bytes with its headers, and the server takes %d (max_payload)", size, limit))
	}
	if _, known := c.homes.get(m.Subject); !known {
		if err := c.findHome(ctx, m); err != nil {
			return nil, err
		}
	}
	return &pending{m: m, done: done}, nil
}

// findHome looks for the stream that stores m. Where the account may not ask,
// m is sent, and the answer tells.
func (c *Client) findHome(ctx context.Context, m *ticketing.Message) error {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	_, err := c.lookup(bounded, m.Subject)
	switch {
	case err == nil, errors.Is(err, ticketing.ErrPermission):
		return nil
	case errors.Is(err, ticketing.ErrNoStream):
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err)
}

// usable reports why nothing can be sent now, or nil.
func (c *Client) usable(ctx context.Context) error {
	switch {
	case ctx == nil:
		return errNilContext
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.refusing.Load():
		return ticketing.ErrClosed
	case c.state.Connected():
		return nil
	case c.state.Closed():
		return ticketing.ErrClosed
	}
	return ticketing.ErrNotConnected
}

// tokenBase keeps tokens short and without characters that mean something in
// a subject.
const tokenBase = 36

func (c *Client) replyTo(token uint64) string {
	buf := make([]byte, 0, 64)
	buf = append(buf, c.ackInbox...)
	return string(strconv.AppendUint(buf, token, tokenBase))
}

// onAck gets every answer to a publish, on the subscription's goroutine.
func (c *Client) onAck(msg *nats.Msg) {
	if len(msg.Subject) <= len(c.ackInbox) {
		return
	}
	token, err := strconv.ParseUint(msg.Subject[len(c.ackInbox):], tokenBase, 64)
	if err != nil {
		return
	}
	switch {
	case plainAck(msg.Data):
		c.flights.finish(token, nil)
	case len(msg.Data) == 0 && msg.Header.Get("Status") == "503":
		c.noResponders(token)
	default:
		if m := c.flights.message(token); m != nil {
			c.flights.finish(token, decodeAck(m, msg.Data))
		}
	}
}

// A publish that nobody listened to is sent again after resendWait, resendMax
// times: a stream that changes its leader is away for a moment. What was
// published behind it may overtake it there.
const (
	resendWait = 250 * time.Millisecond
	resendMax  = 2
)

// resends are publishes that wait to be sent again.
type resends struct {
	mu   sync.Mutex
	list []*pending
}

// noResponders handles the server's word that nobody listens on the subject:
// the message is surely not stored. It asks the server whether there is a
// stream, and meanwhile sends again.
func (c *Client) noResponders(token uint64) {
	p, first := c.flights.again(token)
	if p == nil {
		return
	}
	if first {
		c.recheck(p.m.Subject)
	}
	c.resends.mu.Lock()
	defer c.resends.mu.Unlock()
	c.resends.list = append(c.resends.list, p)
	if len(c.resends.list) == 1 {
		time.AfterFunc(resendWait, c.resend)
	}
}

func (c *Client) resend() {
	c.resends.mu.Lock()
	list := c.resends.list
	c.resends.list = nil
	c.resends.mu.Unlock()
	for _, p := range list {
		c.wire.push(frame{pub: p})
	}
}

// onOverdue looks up the streams of publishes whose answer is late.
func (c *Client) onOverdue(late []*pending) {
	seen := make(map[ticketing.Subject]bool)
	for _, p := range late {
		if s := p.m.Subject; !seen[s] {
			seen[s] = true
			c.recheck(s)
		}
	}
}

// onDenied fails the open publishes to a subject that may not be published to.
func (c *Client) onDenied(subject string) {
	fail := func(m *ticketing.Message) error {
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, denied(subject))
	}
	c.flights.finishAll(func(p *pending) bool { return string(p.m.Subject) == subject }, fail, fail)
}

// onLost fails the open publishes when the connection is gone, or closed.
func (c *Client) onLost() {
	written, queued := errLost, ticketing.ErrNotConnected
	if c.refusing.Load() || c.state.Closed() {
		written, queued = errCut, ticketing.ErrClosed
	}
	c.flights.finishAll(nil,
		func(m *ticketing.Message) error {
			return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, written)
		},
		func(m *ticketing.Message) error {
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, queued)
		})
}
