package natswrap

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// fake is a backend without a network.
type fake struct {
	mu     sync.Mutex
	sent   []*ticketing.Message
	err    error
	once   sync.Once
	closed chan struct{}
	// closing, if set, is what Close does before it closes.
	closing func(context.Context) error
	subject ticketing.Subject // the one that CheckSubject was asked for
}

func newFake() *fake { return &fake{closed: make(chan struct{})} }

// connector returns f as if it had been connected to.
func (f *fake) connector(context.Context, Config) (backend, error) { return f, nil }

// end closes f for good.
func (f *fake) end(err error) {
	f.once.Do(func() {
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		close(f.closed)
	})
}

func (f *fake) Send(_ context.Context, m *ticketing.Message, done func(error)) {
	if !f.Healthy() {
		done(ticketing.NewPublishError(ticketing.OutcomeNotSent, m, ticketing.ErrClosed))
		return
	}
	f.mu.Lock()
	f.sent = append(f.sent, m)
	f.mu.Unlock()
	done(nil)
}

func (f *fake) Receive(ctx context.Context, _ ticketing.Subscription, _ func(context.Context, *ticketing.Inbound)) error {
	select {
	case <-ctx.Done():
		return nil
	case <-f.closed:
		return ticketing.ErrClosed
	}
}

func (f *fake) CheckSubject(_ context.Context, s ticketing.Subject) error {
	f.subject = s
	return ticketing.ErrNoStream
}

func (f *fake) Capabilities() ticketing.Capabilities { return ticketing.Capabilities{Groups: true} }

func (f *fake) Close(ctx context.Context) (err error) {
	if f.closing != nil {
		err = f.closing(ctx)
	}
	f.end(nil)
	return err
}

func (f *fake) Closed() <-chan struct{} { return f.closed }

func (f *fake) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fake) Healthy() bool {
	select {
	case <-f.closed:
		return false
	default:
		return true
	}
}

func (f *fake) Conn() *nats.Conn { return nil }

// good is a Config that validates.
func good() Config { return Config{URLs: []string{"nats://127.0.0.1:4222"}, ClientID: "tickets-1"} }

func receive[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(60 * time.Second):
		t.Fatalf("waited for %s in vain", what)
	}
	return v
}

// send sends a message and returns its outcome.
func send(t *testing.T, s ticketing.Sender) error {
	t.Helper()
	done := make(chan error, 1)
	m := &ticketing.Message{ID: "id-1", Subject: ticketing.SubjectTicketCreated, Data: []byte("{}")}
	s.Send(t.Context(), m, func(err error) { done <- err })
	return receive(t, "the outcome", done)
}
