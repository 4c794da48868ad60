package jswrap

import (
	"context"
	"time"
)

// trouble is what the intake has met since messages came.
type trouble struct {
	count  int
	reopen bool   // the intake has to be opened again
	check  bool   // after making sure of the consumer
	verify bool   // it has to be looked whether the consumer is still the same,
	lost   bool   // after the connection was lost
	why    string // for the log
}

// The pauses before the intake is opened again.
const (
	troubleMinPause = 50 * time.Millisecond
	troubleMaxPause = 2 * time.Second
)

// troubled makes sure that the intake is opened again. The lock is held.
func (r *receiver) troubled(check bool, why string) {
	r.trouble.reopen = true
	r.trouble.check = r.trouble.check || check
	r.trouble.why = why
	r.nudge()
}

// nudge wakes tend. It does not block.
func (r *receiver) nudge() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// wake is for a receiver that starts, and for a connection that is back:
// requests are lost, and so may be signs of life.
func (r *receiver) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble.reopen, r.trouble.why, r.trouble.count = true, "", 0
	r.nudge()
}

// reconnected is for a connection that is back: meanwhile the consumer may
// have been made again by another.
func (r *receiver) reconnected() {
	r.mu.Lock()
	r.trouble.verify, r.trouble.lost = true, true
	r.mu.Unlock()
	r.wake()
}

// keep runs beside the handing over, until ctx ends, also while the receiver
// stops: it keeps alive what is held, and watches for signs of life. It waits
// for nothing else.
func (r *receiver) keep(ctx context.Context) {
	every := r.progressEvery()
	progress := time.NewTicker(every)
	defer progress.Stop()
	heartbeat := time.NewTicker(pullHeartbeat)
	defer heartbeat.Stop()
	var seen uint64
	silent, blind := 0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-progress.C:
			r.keepAlive(time.Now())
		case <-heartbeat.C:
			if now := r.arrived(); now != seen || !r.waiting() {
				seen, silent = now, 0
			} else if silent++; silent >= 2 {
				silent = 0
				r.mu.Lock()
				r.troubled(true, "no sign of life for the requests")
				r.mu.Unlock()
			}
			if blind++; !r.blind() {
				blind = 0
			}
			r.lookAround(blind >= blindLimit)
		}
		if now := r.progressEvery(); now != every {
			every = now
			progress.Reset(every)
		}
	}
}

// progressEvery is how often the server has to hear of what is held.
func (r *receiver) progressEvery() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.ackWait/3, time.Millisecond)
}

// blindLimit is after how many intervals without an open request a receiver
// that holds messages looks whether its consumer is still the same: the server
// could not tell it.
const blindLimit = 5

// blind reports whether messages are held, and no request is open.
func (r *receiver) blind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count > 0 && r.open && r.asked == 0 && !r.stopping
}

// lookAround has the consumer looked at, where that is due, now or since a look
// that failed.
func (r *receiver) lookAround(due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble.verify = r.trouble.verify || due; r.trouble.verify {
		r.nudge()
	}
}

// tend opens the intake whenever that is needed, until ctx ends.
func (r *receiver) tend(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.woken:
			r.keepAlive(time.Now())
			r.payAll()
			r.reopen()
		}
	}
}

// waiting reports whether the server owes a sign of life.
func (r *receiver) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open && r.asked > 0 && !r.stopping && r.c.state.Connected()
}

// keepAlive tells the server that everything held is in progress, unless the
// writer is stuck with what it was told last.
func (r *receiver) keepAlive(now time.Time) {
	r.mu.Lock()
	if r.count > r.parked {
		r.window.tick(now)
	}
	r.forgetOwed()
	r.at.prune(now)
	r.mu.Unlock()
	if !r.c.state.Connected() || !r.telling.CompareAndSwap(false, true) {
		return
	}
	// Under the table's lock, so that none comes after its message's verdict:
	// it would undo the delay of a Retry.
	r.held.Each(func(_ uint64, it *item) {
		r.c.wire.push(frame{subject: it.reply, data: bodyProgress})
	})
	r.c.wire.push(frame{call: func() { r.telling.Store(false) }})
}

// reopen opens the intake, again where it was open, and goes on trying until
// it is, or life ends.
func (r *receiver) reopen() {
	for r.life.Err() == nil {
		r.mu.Lock()
		t := r.trouble
		r.trouble = trouble{count: t.count}
		if t.reopen {
			r.trouble.count++
		}
		r.mu.Unlock()
		switch {
		case !r.c.state.Connected():
			return // a reconnect wakes tend
		case !t.reopen:
			if t.verify {
				r.verify(t.lost)
			}
			return
		}
		if t.count > 0 {
			pause := min(troubleMinPause<<min(t.count-1, 10), troubleMaxPause)
			if sleep(r.life, jitter(pause)) != nil {
				return
			}
		}
		if t.why != "" {
			r.log.Info("asking for messages anew", "stream", r.stream, "consumer", r.consumer, "reason", t.why)
		}
		err := r.restart(t.check)
		r.mu.Lock()
		if err != nil {
			r.troubled(true, err.Error())
		}
		if t.verify { // once it is open: that is not to wait
			r.trouble.verify, r.trouble.lost = true, r.trouble.lost || t.lost
		}
		r.mu.Unlock()
	}
}

// restart closes the intake, where it is open, and opens it.
func (r *receiver) restart(check bool) error {
	ctx, cancel := context.WithTimeout(r.life, apiTimeout)
	defer cancel()
	r.intake.Lock()
	r.drainIntake(ctx)
	r.intake.Unlock()
	if check {
		if err := r.check(ctx); err != nil {
			return err
		}
	}
	return r.openIntake(ctx)
}
