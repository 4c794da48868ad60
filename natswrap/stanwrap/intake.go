package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

	turn    chan struct{} // taken while handle runs
	stopped atomic.Bool   // nothing more is handed over
	over    atomic.Bool   // what is held was given back
	held    held.Table[delivery]
	unsent  unsentAcks
}

func newIntake(ctx context.Context, c *Client, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) *intake {
	in := &intake{c: c, s: s, handle: handle, turn: make(chan struct{}, 1)}
	in.ctx, in.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return in
}

// delivery is a message that was handed over.
type delivery struct {
	ticketing.Inbound
	in  *intake
	msg *stan.Msg
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
	in.turn <- struct{}{}
	defer func() { <-in.turn }()
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
	if m.Redelivered && in.unsent.has(m.Sequence) {
		// It is done, and only the server does not know.
		if in.sendAck(m) == nil {
			in.unsent.remove(m.Sequence)
		}
		in.held.Take(m.Sequence)
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
	var err error
	if v.Kind == ticketing.Ack || v.Kind == ticketing.Drop {
		if err = in.sendAck(d.msg); errors.Is(err, stan.ErrBadSubscription) {
			err = ticketing.ErrSettled // the subscription was closed meanwhile
		} else if err != nil {
			in.unsent.add(d.msg)
			err = fmt.Errorf("acknowledgement of %s not sent: %w", d.ID, err)
		}
	}
	in.held.Take(d.Sequence) // not before the ack: a redelivery may be under way
	return err
}

// sendAck writes an acknowledgement, without waiting for the network.
func (in *intake) sendAck(m *stan.Msg) error {
	switch {
	case !in.sess.alive():
		return in.c.closedErr()
	case !in.c.link.load().up:
		return errDisconnected
	}
	return m.Ack()
}

// drain stops the intake and waits until all that is held is settled, for at
// most the drain timeout. What is left then is given back.
func (in *intake) drain() {
	in.stopped.Store(true)
	ctx, cancel := context.WithTimeout(in.c.hurry, in.s.DrainTimeout)
	defer cancel()
	select {
	case in.turn <- struct{}{}:
		<-in.turn
	case <-ctx.Done():
	}
	_ = in.held.WaitEmpty(ctx)
	in.cancel()
	in.over.Store(true)
	in.held.TakeAll()
	for _, m := range in.unsent.all() {
		_ = in.sendAck(m)
	}
}

// unsentAcks are messages that are done although the server could not be told.
// There are never more than the window: the server counts them as unsettled.
type unsentAcks struct {
	mu   sync.Mutex
	msgs map[uint64]*stan.Msg
}

func (u *unsentAcks) add(m *stan.Msg) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.msgs == nil {
		u.msgs = make(map[uint64]*stan.Msg)
	}
	u.msgs[m.Sequence] = m
}

func (u *unsentAcks) has(seq uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.msgs[seq] != nil
}

func (u *unsentAcks) remove(seq uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.msgs, seq)
}

func (u *unsentAcks) all() []*stan.Msg {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Values(u.msgs))
}
