package jswrap

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// How long the server keeps a request for messages, and how often it gives a
// sign meanwhile. Two signs missed, and the request counts as lost.
const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 2 * time.Second
)

// openIntake subscribes to an inbox of its own and asks for messages.
func (r *receiver) openIntake(ctx context.Context) error {
	r.intake.Lock()
	defer r.intake.Unlock()
	return awaitErr(ctx, func(ctx context.Context) error {
		sub, err := r.c.nc.Subscribe(r.c.nc.NewInbox(), r.onMessage)
		if err != nil {
			return err
		}
		// The window bounds it.
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			return err
		}
		if !r.useIntake(ctx, sub) {
			return sub.Unsubscribe()
		}
		return nil
	})
}

// useIntake makes sub the intake and asks for messages, or reports that nobody
// waits for it any more.
func (r *receiver) useIntake(ctx context.Context, sub *nats.Subscription) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil || r.stopping {
		return false
	}
	r.natsSub, r.open, r.asked = sub, true, 0
	r.ask()
	return true
}

// closeIntakeQuiet is how long a stop waits for messages that the server may
// have under way, where it has some to send.
const closeIntakeQuiet = 50 * time.Millisecond

// closeIntake stops the intake for good. The server has no way to cancel a
// request but to lose interest in its answers, and what it has under way then
// comes again only after the ack wait. So where messages are on their way they
// are waited for, the subscription is drained, and what came is handed back
// only after that: the server would send it here again.
func (r *receiver) closeIntake(ctx context.Context) {
	r.intake.Lock()
	defer r.intake.Unlock()
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	for r.expecting() && r.c.state.Connected() {
		before := r.arrived()
		if sleep(ctx, closeIntakeQuiet) != nil || r.arrived() == before {
			break
		}
	}
	r.drainIntake(ctx)
}

func (r *receiver) expecting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open && r.asked > 0 && r.more
}

func (r *receiver) arrived() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrivals
}

// drainIntake unsubscribes, and returns when everything that the server sent
// before it heard so has been taken in, or ctx ends. The caller holds intake.
func (r *receiver) drainIntake(ctx context.Context) {
	r.mu.Lock()
	sub := r.natsSub
	r.open, r.natsSub = false, nil
	r.mu.Unlock()
	if sub == nil {
		return
	}
	if !r.c.state.Connected() {
		// Nothing is under way, a drain would wait for the server, and to
		// unsubscribe may wait for the end of a handshake.
		r.c.wire.push(frame{call: func() { _ = sub.Unsubscribe() }})
		return
	}
	drained := make(chan struct{})
	err := awaitErr(ctx, func(context.Context) error {
		sub.SetClosedHandler(func(string) { close(drained) })
		return sub.Drain()
	})
	if err != nil {
		return // the connection is closed, or ctx has ended
	}
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// clearTimeout bounds what is only a matter of order. A server that is alive
// answers within milliseconds; 7 is the most that was seen of a busy one.
const clearTimeout = 2 * time.Second

// clearRequests makes the server drop the requests that nobody listens to any
// more. It does so when it meets them, and puts the message that it had for
// them behind the others: the first that is handed back would come last. A
// request that has expired when it arrives makes it look, and is answered when
// it has.
func (r *receiver) clearRequests(ctx context.Context) {
	if !r.c.state.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	if r.c.wire.written(ctx) != nil { // what waits for the writer is to be cleared too
		return
	}
	m, err := await(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return r.c.nc.RequestWithContext(ctx, r.pullSubject, []byte(`{"batch":1,"expires":1}`))
	})
	if err != nil {
		return
	}
	if d, ok := parseAckReply(m.Reply); ok { // it came in time after all
		r.giveBackLater(d.sequence, m.Reply)
	}
}

// ask asks for messages, where enough places of the window are free to be
// worth a request. The lock is held.
func (r *receiver) ask() {
	if !r.open || r.stopping {
		return
	}
	n := r.window.free(r.asked, r.count, r.parked) + r.bonus
	if n <= 0 || r.asked > 0 && n < r.window.batch() {
		return
	}
	r.asked += n
	data := make([]byte, 0, 80)
	data = append(data, `{"batch":`...)
	data = strconv.AppendInt(data, int64(n), 10)
	data = append(data, pullTimes...)
	r.c.wire.push(frame{subject: r.pullSubject, reply: r.natsSub.Subject, data: data, unsent: r})
}

// pullTimes is the end of a request, in nanoseconds.
var pullTimes = fmt.Sprintf(`,"expires":%d,"idle_heartbeat":%d}`, pullExpires, pullHeartbeat)

// unsent hears of requests and verdicts that could not be written.
func (r *receiver) unsent(f *frame, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.reply != "" {
		r.asked = 0 // all is asked for anew on reconnect
		return
	}
	r.owe(f.seq, f.subject)
}

// onMessage gets what comes to the inbox, on the subscription's goroutine.
func (r *receiver) onMessage(m *nats.Msg) {
	d, ok := parseAckReply(m.Reply)
	if !ok {
		r.onStatus(m)
		return
	}
	r.mu.Lock()
	r.arrivals++
	r.asked = max(r.asked-1, 0)
	// How many redeliveries there are it does not say.
	r.more = d.pending > 0 || d.delivered > 1
	r.trouble.count = 0
	switch {
	case r.absorb(d, m.Reply):
		r.ask()
		r.mu.Unlock()
		return
	case r.stopping, r.count >= r.window.hard():
		r.bonus = 0
		r.at.handedBack(d.sequence, time.Now().Add(2*r.ackWait))
		r.mu.Unlock()
		r.giveBackLater(d.sequence, m.Reply)
		return
	}
	r.window.arrived(len(m.Data), r.count == r.parked)
	r.count++
	if r.asked == 0 {
		r.ask() // for places that were too few to be worth it before
	}
	r.mu.Unlock()

	it := newItem(r, m, d)
	if r.held.Add(d.sequence, it) {
		r.ready.push(it)
		return
	}
	// The stream was made anew, and what is held was of the old one. The
	// consumer is gone with that, which ends the receiver.
	r.mu.Lock()
	r.count--
	r.mu.Unlock()
}

// absorb takes a repetition in: of what is held its reply subject is news, and
// what was settled is acknowledged once more. The lock is held.
func (r *receiver) absorb(d delivery, reply string) bool {
	if r.at.isNew(d) {
		r.bonus = 0
		return false
	}
	held := false
	r.held.Update(d.sequence, func(it *item) {
		if held = it.stored == d.time; held {
			it.reply = reply
		}
	})
	if held {
		if r.bonus == 0 { // the server did not hear of it in time: the ack wait may be another
			r.trouble.verify = true
			r.nudge()
		}
		r.bonus = max(r.bonus-1, 0)
		return true
	}
	delete(r.at.away, d.sequence)
	if !r.at.settled.has(d.sequence, d.time) {
		return false
	}
	delete(r.owed, d.sequence)
	r.c.wire.push(frame{subject: reply, data: bodyAck, unsent: r, seq: d.sequence})
	return true
}

// onStatus handles what the server says about a request.
func (r *receiver) onStatus(m *nats.Msg) {
	status, description := m.Header.Get("Status"), m.Header.Get("Description")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals++
	left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	switch {
	case status == "", status == "100": // a sign of life
		r.trouble.count = 0
		if last, ok := parseDigits(m.Header.Get("Nats-Last-Stream")); ok {
			r.at.reached(last, time.Now())
		}
	case status == "409" && strings.EqualFold(description, "Leadership Change"):
		r.troubled(false, description)
	case status == "409" && strings.EqualFold(description, "Server Shutdown"):
		r.troubled(false, description)
	case err == nil: // the request ends with so much of it open
		r.asked = max(r.asked-left, 0)
		r.ask()
	default:
		r.troubled(true, strings.TrimSpace(status+" "+description))
	}
}
