package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natstest/brokertest"
)

func TestTheBrokerContractHolds(t *testing.T) {
	const limit = 1 << 20
	r := &natstest.Recorder{MaxPayload: limit}
	brokertest.Run(t, brokertest.Harness{
		Connect:    func(testing.TB) brokertest.Conn { return newConn(r) },
		Feed:       func(t testing.TB, c brokertest.Conn, m *ticketing.Message) { c.(*conn).feed(t, m) },
		MaxPayload: limit,
	})
}

// conn is a recorder with what the suite needs beyond it: a Close, and a feed
// that does not wait for the verdict. It has a place for the suite's subjects and
// for no other.
type conn struct {
	*natstest.Recorder
	closed context.Context
	close  context.CancelCauseFunc
	idle   sync.WaitGroup // Receives and feeds

	mu     sync.Mutex
	handed map[string]chan struct{} // by id
}

func newConn(r *natstest.Recorder) *conn {
	c := &conn{Recorder: r, handed: make(map[string]chan struct{})}
	c.closed, c.close = context.WithCancelCause(context.Background())
	return c
}

func (c *conn) Close(context.Context) error {
	c.mu.Lock()
	c.close(ticketing.ErrClosed)
	c.mu.Unlock()
	c.idle.Wait()
	return nil
}

func (c *conn) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	if c.closed.Err() != nil {
		done(ticketing.NewPublishError(ticketing.OutcomeNotSent, m, ticketing.ErrClosed))
		return
	}
	if err := c.CheckSubject(ctx, m.Subject); errors.Is(err, ticketing.ErrNoStream) && m.Validate() == nil {
		done(ticketing.NewPublishError(ticketing.OutcomeRejected, m, err))
		return
	}
	c.Recorder.Send(ctx, m, done)
}

var subjects = brokertest.Subjects()

func (c *conn) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	if err := c.Recorder.CheckSubject(ctx, s); err != nil || slices.Contains(subjects, s) {
		return err
	}
	return fmt.Errorf("%w: %s", ticketing.ErrNoStream, s)
}

func (c *conn) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if err := s.Validate(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.closed.Err() != nil {
		c.mu.Unlock()
		return ticketing.ErrClosed
	}
	c.idle.Add(1)
	c.mu.Unlock()
	defer c.idle.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.closed, func() { cancel(ticketing.ErrClosed) })()
	err := c.Recorder.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
		c.mu.Lock()
		handed := c.handed[in.ID]
		delete(c.handed, in.ID)
		c.mu.Unlock()
		handle(ctx, in)
		close(handed)
	})
	if err == nil && errors.Is(context.Cause(ctx), ticketing.ErrClosed) {
		return ticketing.ErrClosed
	}
	return err
}

// feed returns once m is handed over, or cannot be.
func (c *conn) feed(t testing.TB, m *ticketing.Message) {
	handed := make(chan struct{})
	c.mu.Lock()
	c.handed[m.ID] = handed
	c.mu.Unlock()
	opts := []natstest.DeliverOption{natstest.WithID(m.ID), natstest.UntilSettled()}
	for name, values := range m.Header {
		for _, v := range values {
			opts = append(opts, natstest.WithHeader(name, v))
		}
	}
	fake, ended := new(fakeTB), make(chan struct{})
	c.idle.Go(func() {
		defer close(ended)
		natstest.DeliverRaw(fake, c.Recorder, m.Subject, m.Data, opts...)
	})
	select {
	case <-handed:
	case <-ended:
		if fake.failed {
			t.Error(fake.text.String())
		}
	}
}
