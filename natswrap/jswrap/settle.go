package jswrap

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
)

// The words of the acknowledgement protocol.
var (
	bodyAck      = []byte("+ACK")
	bodyNak      = []byte("-NAK")
	bodyProgress = []byte("+WPI")
	bodyTerm     = []byte("+TERM")
)

// item is a message that is held.
type item struct {
	in     ticketing.Inbound
	r      *receiver
	reply  string // where verdicts go; a redelivery replaces it under the table's lock
	stored int64  // when the message was stored; in.Time is the publisher's where an envelope has it
	parked bool   // guarded by r.mu
}

// newItem makes the message that is handed over. m is its from now on.
func newItem(r *receiver, m *nats.Msg, d delivery) *item {
	it := &item{r: r, reply: m.Reply, stored: d.time}
	it.in.ID, it.in.Header = splitHeader(m.Header)
	it.in.Time = time.Unix(0, d.time)
	cloudevent.ReadHeader(&it.in.Message)
	if it.in.ID == "" {
		it.in.ID = positionID(r.stream, d)
	}
	it.in.Subject = r.sub.Subject
	it.in.Data = m.Data
	it.in.Sequence = d.sequence
	it.in.Attempt = int(d.delivered)
	it.in.Bind(it)
	return it
}

// positionID stands for the id of an event whose publisher set none. The time
// tells it from one of a stream that was deleted and made again, whose
// sequences begin at one.
func positionID(stream string, d delivery) string {
	return fmt.Sprintf("%s/%d/%d", stream, d.sequence, d.time)
}

// SettleInbound implements [ticketing.Settler].
func (it *item) SettleInbound(in *ticketing.Inbound, v ticketing.Verdict) error {
	r := it.r
	if v.Kind < ticketing.Ack || v.Kind > ticketing.Abandon {
		v.Kind = ticketing.Abandon // it comes again, and nothing is lost
	}
	switch v.Kind {
	case ticketing.Ack:
		return r.finish(it, bodyAck)
	case ticketing.Drop:
		return r.finish(it, bodyTerm)
	case ticketing.Retry:
		r.returning.RLock()
		defer r.returning.RUnlock()
	}
	if r.held.Take(in.Sequence) == nil {
		return ticketing.ErrSettled
	}
	var err error
	switch {
	case v.Kind != ticketing.Retry:
	case !r.c.state.Connected():
		err = fmt.Errorf("the message comes again after the ack wait: %w", ticketing.ErrNotConnected)
	case v.After > 0:
		r.giveBack(it.reply, v.After)
	default:
		r.giveBackLater(in.Sequence, it.reply)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.handedBack(in.Sequence, time.Now().Add(2*v.After+2*r.ackWait))
	r.release(it)
	return err
}

// finish settles a message for good. It is held until it is remembered as
// settled: what is neither would be handed over when it comes again.
func (r *receiver) finish(it *item, verdict []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.Take(it.in.Sequence) == nil {
		return ticketing.ErrSettled
	}
	r.c.wire.push(frame{subject: it.reply, data: verdict, unsent: r, seq: it.in.Sequence})
	r.at.settled.add(it.in.Sequence, it.stored)
	r.release(it)
	return nil
}

// RetainInbound implements [ticketing.Retainer]: the message keeps its slot,
// and does not count as work while it waits for its next attempt.
func (it *item) RetainInbound(*ticketing.Inbound, ticketing.Verdict) bool {
	r := it.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !it.parked {
		it.parked = true
		r.parked++
		r.ask()
	}
	return true
}

// release frees the slot of a message that was held. The lock is held.
func (r *receiver) release(it *item) {
	r.count--
	if it.parked {
		it.parked = false
		r.parked--
	}
	r.window.done()
	r.ask()
}

// returned is a message that is handed back.
type returned struct {
	sequence uint64
	reply    string
}

// giveBack gives a message to whoever asks, after a delay.
func (r *receiver) giveBack(reply string, after time.Duration) {
	r.c.wire.push(frame{subject: reply, data: nak(after)})
}

// giveBackLater gives a message to whoever asks next. While the receiver stops
// it waits with that: its own requests may still be open, and the server would
// send the message here again, and again.
func (r *receiver) giveBackLater(seq uint64, reply string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil && !r.stopped {
		r.late = append(r.late, &returned{seq, reply})
		return
	}
	r.giveBack(reply, 0)
}

// stopWaiting returns what has waited to be handed back; from now on it is
// handed back at once. What is held no more, and about to wait, is waited for.
func (r *receiver) stopWaiting() []*returned {
	r.returning.Lock()
	defer r.returning.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.late
	r.late, r.stopped = nil, true
	return list
}

// giveBackInOrder hands messages back so that they come again in their order,
// and waits until the server has done so: who asks next would otherwise get
// what is behind them.
func (r *receiver) giveBackInOrder(ctx context.Context, list []*returned) {
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b *returned) int { return cmp.Compare(a.sequence, b.sequence) })
	last := len(list) - 1
	for _, m := range list[:last] {
		r.giveBack(m.reply, 0)
	}
	if r.c.wire.sync(ctx) != nil {
		r.giveBack(list[last].reply, 0)
		return
	}
	// It is sent in any case; without an answer it only was not waited for.
	_, _ = await(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return r.c.nc.RequestWithContext(ctx, list[last].reply, bodyNak)
	})
}

// nak is a negative acknowledgement with a delay, and up to a fifth more, so
// that what failed together does not come back together.
func nak(after time.Duration) []byte {
	if after <= 0 {
		return bodyNak
	}
	after += rand.N(after/5 + 1)
	buf := make([]byte, 0, 48)
	buf = append(buf, `-NAK {"delay":`...)
	buf = strconv.AppendInt(buf, int64(after), 10)
	return append(buf, '}')
}

// owedAck is an acknowledgement that could not be sent.
type owedAck struct {
	reply string
	age   int // how often keepAlive has seen it
}

const (
	maxOwed    = 8192 // twice the largest window
	maxOwedAge = 9    // three times the ack wait
)

// owe remembers an acknowledgement that could not be sent. The lock is held.
func (r *receiver) owe(seq uint64, reply string) {
	if seq == 0 || len(r.owed) >= maxOwed {
		return // the message comes again, as after a crash
	}
	if r.owed == nil {
		r.owed = make(map[uint64]owedAck)
	}
	r.owed[seq] = owedAck{reply: reply}
}

// payAll sends what is owed, once there is a connection. It stays remembered:
// the server may have sent a message again before it hears.
func (r *receiver) payAll() {
	if !r.c.state.Connected() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for seq, o := range r.owed {
		r.c.wire.push(frame{subject: o.reply, data: bodyAck, unsent: r, seq: seq})
	}
}

// forgetOwed drops what was owed so long ago that it would have come again.
// The lock is held.
func (r *receiver) forgetOwed() {
	if !r.c.state.Connected() {
		return
	}
	for seq, o := range r.owed {
		if o.age++; o.age > maxOwedAge {
			delete(r.owed, seq)
		} else {
			r.owed[seq] = o
		}
	}
}
