package jswrap

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// wire is the one writer to the connection. nats.go holds its lock while it
// shakes hands with a server and while it writes to one that does not read, so
// nobody who must honour a ctx may publish: they leave a frame here.
type wire struct {
	nc      *nats.Conn
	link    *natsconn.Link
	flights *flights
	frames  *queue[frame]
	quit    chan struct{}
	exited  sync.WaitGroup

	// What the writer uses again for every publish: the client copies it.
	msg       nats.Msg
	id, dedup [1]string

	stalls map[ticketing.Subject]*stall // the writer's goroutine has it alone
}

// frame is one thing to write: a publish, a verdict or a pull request, or a
// call that needs the client.
type frame struct {
	pub            *pending
	subject, reply string
	data           []byte
	unsent         unsentHandler // hears that subject was not written; may be nil
	seq            uint64
	call           func()
}

// unsentHandler is who must know that a frame could not be written.
type unsentHandler interface {
	unsent(f *frame, err error)
}

func newWire(f *flights, link *natsconn.Link) *wire {
	w := &wire{flights: f, link: link, frames: newQueue[frame](), quit: make(chan struct{})}
	w.msg.Header = make(nats.Header, 2)
	return w
}

// start begins to write to nc what was pushed, and what will be.
func (w *wire) start(nc *nats.Conn) {
	w.nc = nc
	w.exited.Go(w.run)
}

// push leaves f for the writer. It does not block.
func (w *wire) push(f frame) { w.frames.push(f) }

func (w *wire) run() {
	for {
		select {
		case <-w.frames.wake:
		case <-w.quit:
			return
		}
		// Publishers that are about to push get their turn first, and all
		// goes out in one write instead of several.
		runtime.Gosched()
		for batch := w.frames.take(); len(batch) > 0; batch = w.frames.take() {
			for i := range batch {
				w.write(&batch[i])
			}
		}
	}
}

// stop ends the writer. What is left in the queue stays there.
func (w *wire) stop() {
	close(w.quit)
	w.exited.Wait()
}

// written waits until everything pushed before was written, or ctx ends: what
// the caller writes to the connection itself comes behind it then.
func (w *wire) written(ctx context.Context) error {
	done := make(chan struct{})
	w.push(frame{call: func() { close(done) }})
	select {
	case <-done:
		return nil
	case <-w.quit:
		return ticketing.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sync waits until everything pushed before was written and the server has
// read it, or ctx ends.
func (w *wire) sync(ctx context.Context) error {
	if err := w.written(ctx); err != nil {
		return err
	}
	return awaitErr(ctx, w.nc.FlushWithContext)
}

func (w *wire) write(f *frame) {
	switch {
	case f.call != nil:
		f.call()
	case f.pub != nil:
		if len(w.stalls) > 0 && w.hold(f.pub) {
			return
		}
		w.send(f.pub)
	default:
		var err error
		if f.reply != "" {
			err = w.nc.PublishRequest(f.subject, f.reply, f.data)
		} else {
			err = w.nc.Publish(f.subject, f.data)
		}
		if err != nil && f.unsent != nil {
			f.unsent.unsent(f, err)
		}
	}
}

// send writes p, unless there is no connection: then it has its turn when
// what is open is written to the next one, or none.
func (w *wire) send(p *pending) {
	if w.link.Load().Up {
		w.publish(p)
	} else {
		w.flights.unwritten(p)
	}
}

// publish writes p, unless its outcome is known already.
func (w *wire) publish(p *pending) {
	if !p.state.CompareAndSwap(stateQueued, stateWritten) {
		return
	}
	m := p.m
	w.msg.Subject, w.msg.Reply, w.msg.Data = string(m.Subject), p.reply, m.Data
	if len(w.msg.Header) > 2 {
		clear(w.msg.Header)
	}
	w.id[0], w.dedup[0] = m.ID, m.DedupeKey()
	w.msg.Header[ticketing.HeaderID], w.msg.Header[headerDedupe] = w.id[:], w.dedup[:]
	for name, values := range m.Header {
		w.msg.Header[name] = values
	}
	if err := w.nc.PublishMsg(&w.msg); err != nil {
		w.failed(p, err)
	}
}

// failed handles that the client refused p.
func (w *wire) failed(p *pending, err error) {
	if errors.Is(err, nats.ErrReconnectBufExceeded) { // it has noticed before us
		p.state.CompareAndSwap(stateWritten, stateQueued)
		w.flights.unwritten(p)
		return
	}
	outcome := publishFailed(p.m, err)
	if p.repeat && errors.Is(outcome, ticketing.ErrUnknown) {
		return // the connection breaks, and the next one gets it again
	}
	if _, maybe := w.flights.message(p.token); maybe {
		outcome = maybeStored(p.m, outcome)
	}
	w.flights.finish(p.token, outcome)
}

// publishFailed says what is known of m after the client refused it.
func publishFailed(m *ticketing.Message, err error) error {
	switch {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, ticketing.ErrClosed)
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge(m, err)
	case errors.Is(err, nats.ErrBadHeaderMsg), errors.Is(err, nats.ErrBadSubject):
		return invalidEvent(m, err)
	case errors.Is(err, nats.ErrHeadersNotSupported):
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	}
	return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, err) // a part may have been written
}
