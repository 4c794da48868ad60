package jswrap

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
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
// [Config].MaxPending publishes, and is [ticketing.ErrBusy] when ctx ends before
// there is one; and it blocks at the first message of a subject that
// the configured stream does not store, to look for the stream that does.
//
// While the connection is lost it fails at once, with
// [ticketing.ErrNotConnected], or waits where [Config].WaitForConnection is
// set. A publish that was written before, and has no answer yet, is written
// again on the next connection, before anything new; so is one that gets no
// answer on a connection that lives. That is done with the same id, where the
// stream is known to tell duplicates for twice AckTimeout, and the outcome is
// [ticketing.ErrUnknown] only when it is not known after AckTimeout. Where the
// account may not ask for the stream's settings, or the window is shorter,
// what has no answer when the connection is lost is unknown at once.
//
// While nobody answers for a stream, as when a cluster elects its leader, a
// publish is tried again for AckTimeout, and is [ticketing.ErrNotSent] then;
// it is rejected with [ticketing.ErrNoStream] when the server says that there
// is no stream. Later ones to its subject wait behind it; those that were
// under way at that moment may overtake it.
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
		outcome := ticketing.OutcomeNotSent
		if errors.Is(err, errFull) {
			outcome = ticketing.OutcomeBusy
		}
		done(ticketing.NewPublishError(outcome, m, err))
		return
	}
	c.wire.push(frame{pub: p})
}

// prepare checks what can be known before m is sent.
func (c *Client) prepare(ctx context.Context, m *ticketing.Message, done func(error)) (*pending, error) {
	if err := c.usable(ctx); err != nil && !c.mayWait(err) {
		return nil, ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err)
	}
	if err := m.Validate(); err != nil {
		return nil, ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	}
	with := "its headers"
	if c.envelope != nil {
		enclosed, err := c.envelope.Header(m)
		if err != nil {
			return nil, ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
		}
		m, with = enclosed, "its headers and the CloudEvents envelope"
	}
	if size, limit := wireSize(m), c.maxPayload.Load(); int64(size) > limit {
		return nil, tooLarge(m, fmt.Errorf("it has %d bytes with %s, and the server takes %d (max_payload)", size, with, limit))
	}
	home, known := c.homes.get(m.Subject)
	if !known {
		var err error
		if home, err = c.findHome(ctx, m); err != nil {
			return nil, err
		}
	}
	return &pending{m: m, done: done, repeat: c.repeatable(home.window)}, nil
}

// findHome looks for the stream that stores m. Where the account may not ask,
// m is sent, and the answer tells.
func (c *Client) findHome(ctx context.Context, m *ticketing.Message) (home, error) {
	for {
		link, err := c.connected(ctx)
		if err != nil {
			return home{}, ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err)
		}
		bounded, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
		bounded, lost := untilLost(bounded, link)
		h, err := c.lookup(bounded, m.Subject)
		lost()
		cancel()
		switch {
		case err == nil:
			return h, nil
		case errors.Is(err, ticketing.ErrPermission):
			c.homes.set(home{}, m.Subject) // the next one need not ask
			return home{}, nil
		case errors.Is(err, ticketing.ErrNoStream):
			return home{}, ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case c.mayWait(err):
			continue
		}
		return home{}, ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err)
	}
}

// untilLost returns a ctx that ends with [ticketing.ErrNotConnected] when link
// is over: what was asked before gets no answer. The caller must call stop.
func untilLost(ctx context.Context, link *natsconn.LinkState) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-link.Changed:
			cancel(ticketing.ErrNotConnected)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
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
	case c.link.Load().Up:
		return nil
	case c.state.Closed():
		return ticketing.ErrClosed
	}
	return ticketing.ErrNotConnected
}

// mayWait reports whether a Send that met err waits for the connection.
func (c *Client) mayWait(err error) bool {
	return c.cfg.WaitForConnection && errors.Is(err, ticketing.ErrNotConnected)
}

// connected returns the link when it is up. Where the configuration says so it
// waits for that.
func (c *Client) connected(ctx context.Context) (*natsconn.LinkState, error) {
	for {
		link := c.link.Load()
		err := c.usable(ctx)
		if !c.mayWait(err) {
			return link, err
		}
		select {
		case <-link.Changed:
		case <-c.refused:
		case <-ctx.Done():
			return link, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// tokenBase keeps tokens short and without characters that mean something in
// a subject.
const tokenBase = 36

func (f *flights) replyTo(token uint64) string {
	buf := make([]byte, 0, 64)
	buf = append(buf, f.inbox...)
	return string(strconv.AppendUint(buf, token, tokenBase))
}

// onAck gets every answer to a publish, on the subscription's goroutine.
func (c *Client) onAck(msg *nats.Msg) {
	inbox := len(c.flights.inbox)
	if len(msg.Subject) <= inbox {
		return
	}
	token, err := strconv.ParseUint(msg.Subject[inbox:], tokenBase, 64)
	if err != nil {
		return
	}
	switch {
	case plainAck(msg.Data):
		c.flights.finish(token, nil)
	case len(msg.Data) == 0 && msg.Header.Get("Status") == "503":
		c.noResponders(token)
	default:
		c.answered(token, msg.Data)
	}
}

// answered handles an answer that is no plain acknowledgement.
func (c *Client) answered(token uint64, data []byte) {
	m, maybe := c.flights.message(token)
	if m == nil {
		return
	}
	err := decodeAck(m, data)
	switch {
	case errors.Is(err, errInProcess) && c.flights.postpone(token):
		return
	case err != nil && maybe:
		err = maybeStored(m, err)
	}
	c.flights.finish(token, err)
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

// onExpired forgets the publishes that ended before they were written. The
// writer would pass them over, but it may be stuck, and others have their places
// among MaxPending by now.
func (c *Client) onExpired() {
	c.wire.frames.drop(func(f frame) bool { return f.pub != nil && f.pub.state.Load() == stateSettled })
}

// onDenied fails the open publishes to a subject that may not be published to.
func (c *Client) onDenied(subject string) {
	c.flights.finishAll(
		func(p *pending) bool { return string(p.m.Subject) == subject },
		func(p *pending, _ bool) error {
			if p.maybe {
				return maybeStored(p.m, denied(subject))
			}
			return ticketing.NewPublishError(ticketing.OutcomeRejected, p.m, denied(subject))
		})
}
