package stanwrap

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/held"
)

// intake is one Receive: what it holds, and how that is settled.
type intake struct {
	c      *Client
	sess   *session
	s      ticketing.Subscription
	handle func(context.Context, *ticketing.Inbound)
	ctx    context.Context // what handle gets
	cancel context.CancelFunc

	turn    sync.Mutex  // held while handle runs
	stopped atomic.Bool // nothing more is handed over
	over    atomic.Bool // what is held was given back
	held    held.Table[uint64, delivery]
	acks    *acks
}

func newIntake(ctx context.Context, c *Client, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) *intake {
	in := &intake{c: c, s: s, handle: handle, acks: newAcks(s.Window)}
	in.ctx, in.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return in
}

// delivery is a message that was handed over.
type delivery struct {
	ticketing.Inbound
	in    *intake
	msg   *stan.Msg
	acked bool // for the goroutine that writes acknowledgements
}

func (in *intake) newDelivery(m *stan.Msg) *delivery {
	d := &delivery{in: in, msg: m}
	d.ID = messageID(m)
	d.Subject = in.s.Subject
	d.Time = time.Unix(0, m.Timestamp)
	d.Data = m.Data // stan.go has copied it out of the network's buffer
	d.Sequence = m.Sequence
	d.Attempt = attempt(m)
	d.Bind(d)
	return d
}

// messageID stands for the event's id, which the wire does not carry. The
// timestamp tells messages of the same sequence apart: a memory store begins
// again at 1 when the server restarts.
func messageID(m *stan.Msg) string {
	b := make([]byte, 0, 128)
	b = append(b, m.Subject...)
	b = append(b, '/')
	b = strconv.AppendUint(b, m.Sequence, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, m.Timestamp, 10)
	return string(b)
}

// attempt counts from 1. Servers before 0.17 flag a redelivery without
// counting it.
func attempt(m *stan.Msg) int {
	switch {
	case m.RedeliveryCount > 0:
		return 1 + int(m.RedeliveryCount)
	case m.Redelivered:
		return 2
	default:
		return 1
	}
}

// deliver is stan.go's callback, on the subscription's own goroutine.
func (in *intake) deliver(m *stan.Msg) {
	in.turn.Lock()
	defer in.turn.Unlock()
	if in.stopped.Load() {
		return // the server gives it to others when the subscription is closed
	}
	// The server gives the unsettled messages of a member that left to the
	// others, beyond their max in flight.
	if m.Redelivered && in.held.Len() >= in.s.Window {
		return
	}
	d := in.newDelivery(m)
	if !in.held.Add(m.Sequence, d) {
		return // still held
	}
	if m.Redelivered && in.acks.done(m) {
		in.acks.add(d)
		return
	}
	in.handle(in.ctx, &d.Inbound)
}

// SettleInbound implements [ticketing.Settler].
func (d *delivery) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error {
	in := d.in
	if in.over.Load() {
		return ticketing.ErrSettled
	}
	if v.Kind != ticketing.Ack && v.Kind != ticketing.Drop {
		in.held.Take(d.Sequence)
		return nil
	}
	if err := in.obstacle(); err != nil {
		in.acks.keep(d.msg)
		in.held.Take(d.Sequence)
		return fmt.Errorf("acknowledgement of %s not sent: %w", d.ID, err)
	}
	in.acks.add(d)
	return nil
}

// obstacle is why no acknowledgement can be written now, or nil.
func (in *intake) obstacle() error {
	switch {
	case !in.sess.alive():
		return in.c.closedErr()
	case !in.c.link.Load().Up:
		return errDisconnected
	}
	return nil
}

// ack tells the server that m is done, and reports whether that could be
// written.
func (in *intake) ack(m *stan.Msg) bool { return in.obstacle() == nil && m.Ack() == nil }

// release lets go of a message that is done. That comes after its ack was
// written: until then a redelivery finds it held, and later it finds it done.
func (in *intake) release(d *delivery) { in.held.Take(d.Sequence) }

// drain stops the intake and waits until all that is held is settled and the
// acknowledgements are written, for at most the drain timeout. What is left
// then is given back.
func (in *intake) drain() {
	in.stopped.Store(true)
	ctx, cancel := context.WithTimeout(in.c.hurry, in.s.DrainTimeout)
	defer cancel()
	idle := make(chan struct{})
	go func() { // for as long as handle runs
		in.turn.Lock()
		defer in.turn.Unlock()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	_ = in.held.WaitEmpty(ctx)
	in.cancel()
	in.over.Store(true)
	in.held.TakeAll()
	for _, m := range in.acks.allUnsent() {
		in.ack(m)
	}
}
