package stanwrap

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// write hands the queue to stan.go, in order.
func (o *outbound) write() {
	for {
		select {
		case <-o.window.wake:
		case <-o.quit:
			return
		}
		for _, r := range o.window.take() {
			o.publish(r)
		}
	}
}

func (o *outbound) publish(r *request) {
	for {
		link := o.holdBack(r)
		if !r.state.CompareAndSwap(queued, sending) {
			return // it has failed
		}
		if err := o.obstacle(link); err != nil {
			r.finish(notSent(r.m, err))
			return
		}
		s := o.c.session()
		r.sess.Store(s)
		o.current.Store(r)
		_, err := s.conn.PublishAsync(string(r.m.Subject), r.m.Data, r.acked)
		o.current.Store(nil)
		switch {
		case err == nil:
			return
		case !o.waits(r) || !errors.Is(err, nats.ErrReconnectBufExceeded):
			r.failed(err, explainPublish)
			return
		}
		// The connection was lost after we looked. The link is about to tell.
		r.sess.Store(nil)
		if !r.state.CompareAndSwap(sending, queued) {
			return
		}
		o.pause(r, link)
	}
}

// waits reports whether r, which stan.go has not got, stays queued when there
// is nothing to send it over. It does for the ack timeout, and no longer than
// the client goes on.
func (o *outbound) waits(r *request) bool {
	return o.c.cfg.WaitForConnection && o.c.stopping.Err() == nil && time.Since(r.since) < o.c.cfg.AckTimeout
}

// holdBack returns the link once it is up, or r does not wait for it any more.
func (o *outbound) holdBack(r *request) *natsconn.LinkState {
	link := o.c.link.Load()
	for !link.Up && o.waits(r) {
		o.pause(r, link)
		link = o.c.link.Load()
	}
	return link
}

// pause waits for a change of the link while r does.
func (o *outbound) pause(r *request, link *natsconn.LinkState) {
	timer := time.NewTimer(o.c.cfg.AckTimeout - time.Since(r.since))
	defer timer.Stop()
	select {
	case <-link.Changed:
	case <-timer.C:
	case <-o.c.stopping.Done():
	}
}

// interrupted is what becomes of the queue when the connection or the session
// is lost because of err.
func (o *outbound) interrupted(err error) {
	if !o.c.cfg.WaitForConnection { // otherwise publish looks after each
		o.failQueued(err)
	}
}

// failQueued fails what stan.go has not seen yet.
func (o *outbound) failQueued(err error) {
	for _, r := range o.window.unsent() {
		if r.state.CompareAndSwap(queued, sending) {
			r.finish(notSent(r.m, err))
		}
	}
}

// failSent fails what was given to a session whose connection is lost: the
// acknowledgement that may have been under way comes no more.
func (o *outbound) failSent(s *session, err error) {
	for _, r := range o.window.find(func(r *request) bool { return r.state.Load() == sending && r.sess.Load() == s }) {
		r.finish(unknown(r.m, err))
	}
}

// denied fails what was sent to a channel that the server does not let us
// publish to: it says so on the side, and no acknowledgement comes.
func (o *outbound) denied(channel ticketing.Subject, err error) {
	for _, r := range o.window.find(func(r *request) bool {
		return r.m.Subject == channel && r.state.Load() == sending
	}) {
		r.finish(ticketing.NewPublishError(ticketing.OutcomeRejected, r.m, fmt.Errorf("%w: %w", ticketing.ErrPermission, err)))
	}
}

// watch bounds the outcome where the connection takes nothing: the call that
// is stuck has been so for half the ack timeout or more when it is seen twice.
func (o *outbound) watch() {
	tick := time.NewTicker(max(o.c.cfg.AckTimeout/2, time.Millisecond))
	defer tick.Stop()
	var seen *request
	for {
		select {
		case <-tick.C:
		case <-o.quit:
			return
		}
		r := o.current.Load()
		if r != nil && r == seen {
			r.finish(unknown(r.m, errNotWritten))
			o.failQueued(errNotWritten)
		}
		seen = r
	}
}

// stop ends the goroutines. The window is closed and empty by now.
func (o *outbound) stop() {
	close(o.quit)
	o.running.Wait()
}
