package natsconn

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// State is what is known of one connection. It is fed by the connection's
// callbacks and never asks the client, which holds its lock while it
// reconnects: its methods do not block.
//
// The zero value is ready; set the hooks before [State.Options]. It belongs to
// one connection, and counts as connected from the start: it is looked at once
// [Dial] has returned.
//
// The hooks run one after the other on the client's callback goroutine, after
// the state has changed. They must not block.
type State struct {
	// OnDisconnect hears why the connection was lost. It is called for the
	// final close, too, with nil where the program closed it.
	OnDisconnect func(error)
	// OnReconnect hears that the connection is back, its subscriptions
	// included.
	OnReconnect func()
	// OnClosed hears that the connection is closed for good.
	OnClosed func()
	// OnAsyncError hears of what the server or the client has to say about a
	// subscription, or about the connection where that is nil: a permission
	// that is missing, a slow consumer.
	OnAsyncError func(*nats.Subscription, error)
	// Logger hears of all four as well. Default [slog.Default].
	Logger *slog.Logger

	down   atomic.Bool
	ending atomic.Bool // Close was called
	closed atomic.Bool
	mu     sync.Mutex
	err    error
	done   chan struct{} // made when somebody asks for it
}

// Options installs the state's callbacks.
func (s *State) Options() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { s.reconnected() }),
		nats.ClosedHandler(func(nc *nats.Conn) { s.finished(nc.LastError()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { s.asyncError(sub, err) }),
	}
}

// Connected reports whether the connection is up, as far as is known.
func (s *State) Connected() bool { return !s.down.Load() }

// Closed reports whether the connection is closed for good.
func (s *State) Closed() bool { return s.closed.Load() }

// Done is closed when the connection is closed for good.
func (s *State) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.closed.Load() {
			close(s.done)
		}
	}
	return s.done
}

// errLost stands for a disconnect that came without a reason.
var errLost = errors.New("connection lost")

// Err is nil while the connection is up, why it was lost while it is down, and
// why it was closed after that: nil where [State.Close] did it.
func (s *State) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close closes nc, the state's connection, for good: what is buffered is
// written first, unless the connection is down, and cut off when ctx ends;
// then it returns ctx's error. It may be called several times, from anywhere.
func (s *State) Close(ctx context.Context, nc *nats.Conn) error {
	s.ending.Store(true)
	defer s.markClosed(nil)
	d, _ := nc.Opts.CustomDialer.(*dialer)
	if d == nil {
		nc.Close()
		return nil
	}
	if !s.Connected() {
		d.interrupt() // nothing to write, and the client may be in a handshake
	}
	stop := context.AfterFunc(ctx, d.interrupt)
	nc.Close()
	if !stop() {
		return context.Cause(ctx)
	}
	return nil
}

func (s *State) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}

func (s *State) disconnected(err error) {
	err = redactError(err, nil)
	s.mu.Lock()
	switch {
	case s.ending.Load():
		s.err = nil
	case err == nil:
		s.err = errLost
	default:
		s.err = err
	}
	s.down.Store(true)
	s.mu.Unlock()
	if !s.ending.Load() {
		s.logger().Warn("NATS disconnected", "error", err)
	}
	if s.OnDisconnect != nil {
		s.OnDisconnect(err)
	}
}

func (s *State) reconnected() {
	s.mu.Lock()
	s.err = nil
	s.down.Store(false)
	s.mu.Unlock()
	s.logger().Info("NATS reconnected")
	if s.OnReconnect != nil {
		s.OnReconnect()
	}
}

func (s *State) finished(last error) {
	s.markClosed(redactError(last, nil))
	if err := s.Err(); err != nil {
		s.logger().Error("NATS connection closed for good", "error", err)
	}
	if s.OnClosed != nil {
		s.OnClosed()
	}
}

func (s *State) markClosed(last error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return
	}
	switch {
	case s.ending.Load():
		s.err = nil
	case last != nil:
		s.err = last
	case s.err == nil:
		s.err = errLost
	}
	s.down.Store(true)
	s.closed.Store(true)
	if s.done != nil {
		close(s.done)
	}
}

func (s *State) asyncError(sub *nats.Subscription, err error) {
	err = redactError(err, nil)
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	s.logger().Warn("NATS error", "subject", subject, "error", err)
	if s.OnAsyncError != nil {
		s.OnAsyncError(sub, err)
	}
}
