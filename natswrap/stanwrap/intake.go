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
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
	"github.com/ducnguyen96/ticketing-common/internal/held"
)

// intake is one Receive: what it holds, and how that is settled.
type intake struct {
	c       *Client
	s       ticketing.Subscription
	durable string
	handle  func(context.Context, *ticketing.Inbound)
	ctx     context.Context // what handle gets
	cancel  context.CancelFunc

	joined  atomic.Pointer[membership] // the one that counts
	turn    sync.Mutex                 // held while handle runs
	stopped atomic.Bool                // nothing more is handed over
	over    atomic.Bool                // what is held was given back
	held    held.Table[identity, delivery]
	acks    *acks
}

func newIntake(ctx context.Context, c *Client, s ticketing.Subscription, durable string, handle func(context.Context, *ticketing.Inbound)) *intake {
	in := &intake{c: c, s: s, durable: durable, handle: handle, acks: newAcks(s.Window)}
	in.ctx, in.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return in
}

// delivery is a message that was handed over.
type delivery struct {
	ticketing.Inbound
	in    *intake
	key   identity
	msg   atomic.Pointer[stan.Msg] // as it came last: in which session it can be acknowledged
	acked bool                     // for the goroutine that writes acknowledgements
}

func (in *intake) newDelivery(m *stan.Msg) *delivery {
	d := &delivery{in: in, key: identityOf(m)}
	d.msg.Store(m)
	d.Subject = in.s.Subject
	d.Time = timeOf(m)
	d.Data = m.Data // stan.go has copied it out of the network's buffer
	if !cloudevent.ReadJSON(&d.Message) {
		d.ID = messageID(m)
	}
	d.Sequence = m.Sequence
	d.Attempt = attempt(m)
	d.Bind(d)
	return d
}

func timeOf(m *stan.Msg) time.Time { return time.Unix(0, m.Timestamp) }

// messageID stands for the event's id, where no envelope carries one. The
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

// deliver takes in what comes to a membership, one message at a time.
func (in *intake) deliver(mem *membership, m *stan.Msg) {
	in.turn.Lock()
	defer in.turn.Unlock()
	// The server gives what is not handed over to others when the membership
	// ends, or here to the next one.
	if in.stopped.Load() || in.joined.Load() != mem {
		return
	}
	// A server that crashed may not know that it had delivered a message.
	if m.Redelivered || mem.again {
		switch {
		case in.absorb(m):
			return
		case in.acks.done(m):
			d := in.newDelivery(m)
			in.held.Add(d.key, d)
			in.acks.add(d)
			return
		case in.held.Len() >= in.s.Window:
			// It gives the unsettled messages of a member that left to the
			// others, beyond their max in flight.
			return
		}
	}
	d := in.newDelivery(m)
	if !in.held.Add(d.key, d) {
		in.absorb(m)
		return
	}
	in.handle(in.ctx, &d.Inbound)
}

// absorb reports whether m is still held. Then it is to be acknowledged where
// it came last.
func (in *intake) absorb(m *stan.Msg) bool {
	return in.held.Update(identityOf(m), func(d *delivery) { d.msg.Store(m) })
}

// SettleInbound implements [ticketing.Settler].
func (d *delivery) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error {
	in := d.in
	if in.over.Load() {
		return ticketing.ErrSettled
	}
	if v.Kind != ticketing.Ack && v.Kind != ticketing.Drop {
		in.held.Take(d.key)
		return nil
	}
	if err := in.obstacle(); err != nil {
		in.acks.keep(d.msg.Load())
		in.held.Take(d.key)
		return fmt.Errorf("acknowledgement of %s not sent: %w", d.ID, err)
	}
	in.acks.add(d)
	return nil
}

// obstacle is why no acknowledgement can be written now, or nil.
func (in *intake) obstacle() error {
	if in.c.link.Load().Up {
		return nil
	}
	return in.c.unusable()
}

// ack tells the server that m is done, and reports whether that could be
// written. Nothing goes out for a message of a session that is lost.
func (in *intake) ack(m *stan.Msg) bool { return in.obstacle() == nil && m.Ack() == nil }

// release lets go of a message that is done. That comes after its ack was
// written: until then a redelivery finds it held, and later it finds it done.
func (in *intake) release(d *delivery) { in.held.Take(d.key) }

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
