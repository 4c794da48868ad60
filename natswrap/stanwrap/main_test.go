package stanwrap_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func TestMain(m *testing.M) {
	process.Dispatch(process.Roles{"stan": stanserver.Role(stanserver.FileStore())})
	leaktest.Main(m)
}

// patience bounds every wait for what has to happen.
const patience = 60 * time.Second

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const subject ticketing.Subject = "ticket:created"

// connect opens a client that is closed with the test. Its id is the test's,
// unless change sets one.
func connect(t testing.TB, url string, change func(*stanwrap.Config)) *stanwrap.Client {
	t.Helper()
	cfg := stanwrap.Config{URLs: []string{url}, ClusterID: stanserver.DefaultClusterID, ClientID: "client", Logger: quiet}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := stanwrap.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); ctx.Err() != nil {
			t.Error(err)
		}
	})
	return c
}

func clientID(id string) func(*stanwrap.Config) {
	return func(c *stanwrap.Config) { c.ClientID = id }
}

func message(data string) *ticketing.Message {
	return &ticketing.Message{ID: "id-" + data, Subject: subject, Data: []byte(data)}
}

// start sends m; the channel gets the outcome.
func start(ctx context.Context, c *stanwrap.Client, m *ticketing.Message) <-chan error {
	outcome := make(chan error, 2) // room for one too many, see await
	c.Send(ctx, m, func(err error) { outcome <- err })
	return outcome
}

func await(t testing.TB, outcome <-chan error) error {
	t.Helper()
	select {
	case err := <-outcome:
		return err
	case <-time.After(patience):
		t.Fatal("no outcome")
		return nil
	}
}

func send(t testing.TB, c *stanwrap.Client, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := await(t, start(t.Context(), c, message(d))); err != nil {
			t.Fatalf("send %q: %v", d, err)
		}
	}
}

// is checks that err matches all of want.
func is(t testing.TB, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("error %v, want one that matches %q", err, w)
		}
	}
}

// until polls for what nothing signals.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so within %v: %s", patience, what)
		}
	}
}

func closed(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("not so within %v: %s", patience, what)
	}
}

// intake is a running Receive.
type intake struct {
	t      testing.TB
	msgs   chan *ticketing.Inbound
	ctxs   chan context.Context
	result chan error
	cancel context.CancelFunc
}

func subscription() ticketing.Subscription {
	return ticketing.Subscription{Subject: subject, Group: "group", AckWait: time.Second, Window: 8, DrainTimeout: patience}
}

func receive(t testing.TB, c *stanwrap.Client, s ticketing.Subscription) *intake {
	ctx, cancel := context.WithCancel(context.Background())
	in := &intake{
		t: t, cancel: cancel,
		msgs:   make(chan *ticketing.Inbound, 1024),
		ctxs:   make(chan context.Context, 1024),
		result: make(chan error, 1),
	}
	go func() {
		in.result <- c.Receive(ctx, s, func(ctx context.Context, m *ticketing.Inbound) {
			in.ctxs <- ctx
			in.msgs <- m
		})
	}()
	t.Cleanup(cancel)
	return in
}

func (in *intake) next() *ticketing.Inbound {
	in.t.Helper()
	select {
	case m := <-in.msgs:
		return m
	case err := <-in.result:
		in.t.Fatalf("Receive returned (%v) while a message was expected", err)
	case <-time.After(patience):
		in.t.Fatal("no message")
	}
	return nil
}

func (in *intake) want(data string) *ticketing.Inbound {
	in.t.Helper()
	m := in.next()
	if string(m.Data) != data {
		in.t.Fatalf("got %q, want %q", m.Data, data)
	}
	return m
}

func (in *intake) ack(m *ticketing.Inbound) {
	in.t.Helper()
	if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
		in.t.Fatal(err)
	}
}

func (in *intake) wait() error {
	in.t.Helper()
	return await(in.t, in.result)
}

func (in *intake) stop() {
	in.t.Helper()
	in.cancel()
	if err := in.wait(); err != nil {
		in.t.Fatalf("Receive = %v after its context ended, want nil", err)
	}
}
