package natswrap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Wrapper is a connection that a service may hold in a package variable, as
// the Node package's natsWrapper:
//
//	var NATS natswrap.Wrapper
//
// Publishers and listeners can be made over it before it is connected; what
// they do then fails with [ticketing.ErrNotConnected]. A test points it at a
// recorder instead, with [Wrapper.Use]. The zero value is ready, and must not
// be copied. All methods may be called concurrently.
type Wrapper struct {
	mu         sync.Mutex
	connecting bool
	now        atomic.Pointer[target]
}

// target is where a Wrapper points.
type target struct {
	sender   ticketing.Sender
	receiver ticketing.Receiver
	client   *Client // nil: Use was called
}

var (
	_ ticketing.Sender             = (*Wrapper)(nil)
	_ ticketing.Receiver           = (*Wrapper)(nil)
	_ ticketing.SubjectChecker     = (*Wrapper)(nil)
	_ ticketing.CapabilityReporter = (*Wrapper)(nil)
)

// errEarly is what a use before Connect fails with.
var errEarly = fmt.Errorf("%w: natswrap.Wrapper accessed before Connect", ticketing.ErrNotConnected)

// Errors of [Wrapper.Connect] and [Wrapper.Client].
var (
	errConnected  = errors.New("natswrap: the Wrapper is connected, or pointed elsewhere by Use; Close or restore it first")
	errConnecting = errors.New("natswrap: another Connect of this Wrapper is under way")
	errNoClient   = errors.New("natswrap: the Wrapper was pointed elsewhere by Use, and has no Client")
)

// Connect connects as [Connect] does. It is an error while the Wrapper is
// connected, or pointed elsewhere by Use; once its connection is closed for
// good it can be connected again.
func (w *Wrapper) Connect(ctx context.Context, cfg Config) error {
	return w.connect(ctx, cfg, connectBackend)
}

func (w *Wrapper) connect(ctx context.Context, cfg Config, dial connector) error {
	if err := w.begin(); err != nil {
		return err
	}
	c, err := connect(ctx, cfg, dial)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connecting = false
	if err != nil {
		return err
	}
	w.now.Store(&target{sender: c, receiver: c, client: c})
	return nil
}

// begin lets one Connect at a time through. The lock is not held while that
// one uses the network.
func (w *Wrapper) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.connecting {
		return errConnecting
	}
	if t := w.now.Load(); t != nil && !t.closed() {
		return errConnected
	}
	w.connecting = true
	return nil
}

func (t *target) closed() bool {
	if t.client == nil {
		return false
	}
	select {
	case <-t.client.Closed():
		return true
	default:
		return false
	}
}

// Use points the Wrapper at s and r, such as a test's recorder, until restore
// is called. Either may be nil: using it then fails as before Connect. It
// panics while a Connect is under way.
func (w *Wrapper) Use(s ticketing.Sender, r ticketing.Receiver) (restore func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.connecting {
		panic(errConnecting)
	}
	before := w.now.Swap(&target{sender: s, receiver: r})
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now.Store(before)
	})
}

// Client returns the connection's Client, for what a Wrapper does not have.
// Before Connect the error matches [ticketing.ErrNotConnected].
func (w *Wrapper) Client() (*Client, error) {
	switch t := w.now.Load(); {
	case t == nil:
		return nil, errEarly
	case t.client == nil:
		return nil, errNoClient
	default:
		return t.client, nil
	}
}

// Send implements [ticketing.Sender]. Before Connect the event is not sent,
// with [ticketing.ErrNotConnected].
func (w *Wrapper) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	t := w.now.Load()
	if t == nil || t.sender == nil {
		done(ticketing.NewPublishError(ticketing.OutcomeNotSent, m, errEarly))
		return
	}
	t.sender.Send(ctx, m, done)
}

// Receive implements [ticketing.Receiver]. Before Connect the error matches
// [ticketing.ErrNotConnected].
func (w *Wrapper) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	t := w.now.Load()
	if t == nil || t.receiver == nil {
		return errEarly
	}
	return t.receiver.Receive(ctx, s, handle)
}

// CheckSubject implements [ticketing.SubjectChecker]. A sender that cannot
// tell, see [Wrapper.Use], counts as one that stores every valid subject.
func (w *Wrapper) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	t := w.now.Load()
	if t == nil || t.sender == nil {
		return errEarly
	}
	if c, ok := t.sender.(ticketing.SubjectChecker); ok {
		return c.CheckSubject(ctx, s)
	}
	return s.Validate()
}

// Capabilities implements [ticketing.CapabilityReporter]. Before Connect there
// are none.
func (w *Wrapper) Capabilities() ticketing.Capabilities {
	t := w.now.Load()
	if t == nil {
		return ticketing.Capabilities{}
	}
	for _, v := range []any{t.receiver, t.sender} {
		if c, ok := v.(ticketing.CapabilityReporter); ok {
			return c.Capabilities()
		}
	}
	return ticketing.Capabilities{}
}

// Healthy is [Client.Healthy], and false before Connect. Pointed elsewhere by
// Use it is true.
func (w *Wrapper) Healthy() bool {
	t := w.now.Load()
	return t != nil && (t.client == nil || t.client.Healthy())
}

// Close is [Client.Close]. Before Connect, and pointed elsewhere by Use, there
// is nothing to close.
func (w *Wrapper) Close(ctx context.Context) error {
	if t := w.now.Load(); t != nil && t.client != nil {
		return t.client.Close(ctx)
	}
	return nil
}
