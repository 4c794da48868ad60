package natstest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// station is where a member listens.
type station struct {
	subject ticketing.Subject
	group   string
}

// member is one Receive.
type member struct {
	station
	window int
	fixed  bool            // the window was asked for; otherwise what is kept is not counted
	stop   <-chan struct{} // closed when the intake has to stop
	inbox  chan *delivery

	left chan struct{} // closed when it has left
	idle chan struct{} // closed when it has left and holds nothing

	// Guarded by the recorder's lock.
	held map[*delivery]struct{} // what is unsettled, or about to be handed over
	turn uint64                 // when it was last given something
}

var (
	errStopped = errors.New("the listener stopped before it settled the message")
	errGoexit  = errors.New("natstest: handle called runtime.Goexit")
)

// Receive makes the caller a listener that [Deliver] can reach, until ctx
// ends. It keeps the contract of [ticketing.Receiver], with a default window of
// twice the subscription's concurrency besides what waits for another attempt.
// AckWait has no effect: nothing comes again but by another Deliver.
func (r *Recorder) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if err := s.Validate(); err != nil {
		return err
	}
	s = s.WithDefaults()
	mb := r.join(ctx, s)
	hctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.intake(hctx, mb, handle)
	}()
	var err error
	select {
	case <-ctx.Done():
	case <-ended:
		if ctx.Err() == nil {
			err = errGoexit
		}
	}
	r.leave(mb)
	drain := time.NewTimer(s.DrainTimeout)
	defer drain.Stop()
	select {
	case <-mb.idle:
		select {
		case <-ended:
		case <-drain.C:
		}
	case <-drain.C:
	}
	cancel()
	r.handBack(mb)
	<-ended
	return err
}

// join adds a member and wakes whoever waits for one.
func (r *Recorder) join(ctx context.Context, s ticketing.Subscription) *member {
	mb := &member{
		station: station{s.Subject, s.Group},
		window:  s.Window,
		fixed:   s.Window > 0,
		stop:    ctx.Done(),
		inbox:   make(chan *delivery),
		left:    make(chan struct{}),
		idle:    make(chan struct{}),
		held:    make(map[*delivery]struct{}),
	}
	if !mb.fixed {
		mb.window = 2 * s.Concurrency
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, mb)
	r.wake()
	return mb
}

// full reports whether mb's window is. The recorder's lock is held.
func (mb *member) full() bool {
	if mb.fixed {
		return len(mb.held) >= mb.window
	}
	working := 0
	for d := range mb.held {
		if !d.parked {
			working++
		}
	}
	return working >= mb.window
}

// leave ends a member's intake.
func (r *Recorder) leave(mb *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = slices.DeleteFunc(r.members, func(other *member) bool { return other == mb })
	if r.gone == nil {
		r.gone = make(map[station]struct{})
	}
	r.gone[mb.station] = struct{}{}
	close(mb.left)
	if len(mb.held) == 0 {
		close(mb.idle)
	}
	r.wake()
}

// release takes d off what mb holds. The lock is held.
func (r *Recorder) release(mb *member, d *delivery) {
	if _, ok := mb.held[d]; !ok {
		return
	}
	delete(mb.held, d)
	select {
	case <-mb.left: // it gets nothing more, so this happens once
		if len(mb.held) == 0 {
			close(mb.idle)
		}
	default:
	}
	r.wake() // there is room in its window
}

// stopped reports whether the intake has to stop.
func (mb *member) stopped() bool {
	select {
	case <-mb.stop:
		return true
	default:
		return false
	}
}

// intake hands over one message at a time.
func (r *Recorder) intake(ctx context.Context, mb *member, handle func(context.Context, *ticketing.Inbound)) {
	for {
		select {
		case <-mb.stop:
			return
		case d := <-mb.inbox:
			if mb.stopped() { // the select may choose either
				d.finish(ticketing.Verdict{Kind: ticketing.Retry, Err: errStopped})
				return
			}
			r.mu.Lock()
			r.sequence++
			d.in.Sequence = r.sequence
			r.mu.Unlock()
			d.timer.Reset(d.within)
			handle(ctx, &d.in)
		}
	}
}

// handBack ends what a member still holds.
func (r *Recorder) handBack(mb *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range mb.held {
		d.finishLocked(ticketing.Verdict{Kind: ticketing.Retry, Err: errStopped})
	}
}
