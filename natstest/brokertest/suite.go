package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// suite is what one subtest works with.
type suite struct {
	*testing.T
	Harness
	has     ticketing.Capabilities
	subject ticketing.Subject
	ids     int
	others  sync.WaitGroup // goroutines beside the test's
}

// newSuite makes a subtest's. It waits for the goroutines beside the test's when
// everything else has ended: one that reports later would be a panic, in place of
// what went wrong.
func newSuite(t *testing.T, h Harness, has ticketing.Capabilities, subject ticketing.Subject) *suite {
	s := &suite{T: t, Harness: h, has: has, subject: subject}
	s.Cleanup(func() {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.others.Wait()
		}()
		select {
		case <-ended:
		case <-time.After(s.Patience):
			s.Errorf("a Send, a settlement or Harness.Feed does not return within %v of the end", s.Patience)
		}
	})
	return s
}

// meanwhile runs f beside the test, which must not end it: it reports with
// complain.
func (s *suite) meanwhile(f func()) { s.others.Go(f) }

// complain is Errorf for what runs beside the test. What fails because the
// subtest has ended is no news.
func (s *suite) complain(format string, args ...any) {
	s.Helper()
	if s.Context().Err() == nil {
		s.Errorf(format, args...)
	}
}

// connect opens a connection that is closed with the subtest.
func (s *suite) connect() Conn {
	s.Helper()
	c := s.Connect(s.T)
	s.Cleanup(func() { closeConn(s.T, c, s.Patience) })
	return c
}

func closeConn(t testing.TB, c Conn, patience time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// A connection that the test crashed may fail to close, but not hang.
	if err := c.Close(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
}

// message makes one with an id of its own.
func (s *suite) message(data string) *ticketing.Message {
	return s.messageTo(s.subject, data)
}

func (s *suite) messageTo(subject ticketing.Subject, data string) *ticketing.Message {
	s.ids++
	return &ticketing.Message{
		ID:      fmt.Sprintf("%s/%d", subject, s.ids),
		Subject: subject,
		Time:    time.Now(),
		Data:    []byte(data),
	}
}

// send sends m and returns the outcome.
func (s *suite) send(c Conn, m *ticketing.Message) error {
	s.Helper()
	return s.await(s.sendAsync(s.Context(), c, m))
}

// sendAsync sends m; the channel gets the outcome, and a second completion
// fails the test.
func (s *suite) sendAsync(ctx context.Context, c Conn, m *ticketing.Message) <-chan error {
	result := make(chan error, 1)
	var once sync.Mutex
	called := false
	c.Send(ctx, m, func(err error) {
		once.Lock()
		defer once.Unlock()
		if called {
			s.Errorf("done was called twice for %s", m.ID)
			return
		}
		called = true
		result <- err
	})
	return result
}

var errNoCompletion = errors.New("no completion")

// await waits for a completion. If there is none it ends the test, so it is for
// the test's own goroutine.
func (s *suite) await(result <-chan error) error {
	s.Helper()
	err := s.completion(result)
	if errors.Is(err, errNoCompletion) {
		s.Fatal(err)
	}
	return err
}

// completion is await for any goroutine.
func (s *suite) completion(result <-chan error) error {
	select {
	case err := <-result:
		return err
	case <-time.After(s.Patience):
		return fmt.Errorf("%w within %v", errNoCompletion, s.Patience)
	}
}

// feed makes messages with the given data come to the receivers.
func (s *suite) feed(c Conn, subject ticketing.Subject, data ...string) {
	s.Helper()
	for _, d := range data {
		if err := s.feedOne(c, subject, d); err != nil {
			s.Fatal(err)
		}
	}
}

// feedMeanwhile is feed beside the test.
func (s *suite) feedMeanwhile(c Conn, subject ticketing.Subject, data ...string) {
	s.meanwhile(func() {
		for _, d := range data {
			if s.Context().Err() != nil {
				return // the subtest has ended
			}
			if err := s.feedOne(c, subject, d); err != nil {
				s.complain("%v", err)
				return
			}
		}
	})
}

func (s *suite) feedOne(c Conn, subject ticketing.Subject, d string) error {
	m := s.messageTo(subject, d)
	if s.Feed != nil {
		failed := s.Failed()
		s.Feed(s.T, c, m)
		if !failed && s.Failed() {
			return fmt.Errorf("feed %q: the test has failed meanwhile", clip(d))
		}
		return nil
	}
	if err := s.completion(s.sendAsync(s.Context(), c, m)); err != nil {
		return fmt.Errorf("publish %q: %w", clip(d), err)
	}
	return nil
}

// subscription is the subtest's, with waits that suit a test.
func (s *suite) subscription() ticketing.Subscription {
	return ticketing.Subscription{
		Subject:      s.subject,
		Group:        "group",
		AckWait:      time.Second,
		Window:       16,
		DrainTimeout: s.Patience,
	}
}

// intake is a running Receive.
type intake struct {
	s      *suite
	msgs   chan *ticketing.Inbound
	ctxs   chan context.Context
	cancel context.CancelFunc
	result chan error
}

// receive starts a Receive that collects what is handed over.
func (s *suite) receive(c Conn, sub ticketing.Subscription) *intake {
	ctx, cancel := context.WithCancel(context.Background())
	in := &intake{
		s:      s,
		msgs:   make(chan *ticketing.Inbound, 1<<16),
		ctxs:   make(chan context.Context, 1<<16),
		cancel: cancel,
		result: make(chan error, 1),
	}
	var busy sync.Mutex
	go func() {
		in.result <- c.Receive(ctx, sub, func(ctx context.Context, m *ticketing.Inbound) {
			if !busy.TryLock() {
				s.Error("handle was called while another call was running")
				return
			}
			defer busy.Unlock()
			in.ctxs <- ctx
			in.msgs <- m
		})
	}()
	s.Cleanup(cancel)
	return in
}

// next waits for the next message.
func (in *intake) next() *ticketing.Inbound {
	in.s.Helper()
	select {
	case m := <-in.msgs:
		return m
	case err := <-in.result:
		in.s.Fatalf("Receive returned (%v) while a message was expected", err)
	case <-time.After(in.s.Patience):
		in.s.Fatalf("no message on %s within %v", in.s.subject, in.s.Patience)
	}
	return nil
}

// want waits for the next message and checks its data.
func (in *intake) want(data string) *ticketing.Inbound {
	in.s.Helper()
	m := in.next()
	if got := string(m.Data); got != data {
		in.s.Fatalf("got message %q, want %q", clip(got), clip(data))
	}
	return m
}

// ack settles m, which has to work.
func (in *intake) ack(m *ticketing.Inbound) { in.settle(m, ticketing.Verdict{Kind: ticketing.Ack}) }

func (in *intake) settle(m *ticketing.Inbound, v ticketing.Verdict) {
	in.s.Helper()
	if err := m.Settle(v); err != nil {
		in.s.Fatalf("settle %q with %v: %v", clip(string(m.Data)), v.Kind, err)
	}
}

// stop ends the Receive and waits for it.
func (in *intake) stop() {
	in.s.Helper()
	in.cancel()
	if err := in.wait(); err != nil {
		in.s.Fatalf("Receive = %v after its context ended, want nil", err)
	}
}

func (in *intake) wait() error {
	in.s.Helper()
	select {
	case err := <-in.result:
		return err
	case <-time.After(in.s.Patience + 5*time.Second):
		in.s.Fatal("Receive does not return")
		return nil
	}
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

func numbered(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"n":%d}`, i)
	}
	return all
}
