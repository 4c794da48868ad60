package jswrap_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

const (
	subject = ticketing.SubjectTicketCreated
	other   = ticketing.SubjectOrderCreated
)

// patience bounds what has to happen.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// config is a client's, for the server at url.
func config(url string) jswrap.Config {
	return jswrap.Config{URLs: []string{url}, Logger: slog.New(slog.DiscardHandler)}
}

// connect connects, and closes with the test.
func connect(t testing.TB, cfg jswrap.Config) *jswrap.Client {
	t.Helper()
	c, err := jswrap.Connect(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeClient(t, c) })
	return c
}

func closeClient(t testing.TB, c *jswrap.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_ = c.Close(ctx) // a test that wants to know closes itself
}

// message numbers are unique in the whole test run.
var messageCount struct {
	sync.Mutex
	n int
}

func message(s ticketing.Subject, data string) *ticketing.Message {
	messageCount.Lock()
	defer messageCount.Unlock()
	messageCount.n++
	return &ticketing.Message{ID: "m" + strconv.Itoa(messageCount.n), Subject: s, Data: []byte(data)}
}

// sendAsync sends m and returns where its outcome will be.
func sendAsync(ctx context.Context, c *jswrap.Client, m *ticketing.Message) <-chan error {
	result := make(chan error, 2) // a second completion would show
	c.Send(ctx, m, func(err error) { result <- err })
	return result
}

func await[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

func send(t testing.TB, c *jswrap.Client, m *ticketing.Message) error {
	t.Helper()
	return await(t, sendAsync(context.Background(), c, m), "the outcome of a publish")
}

func mustSend(t testing.TB, c *jswrap.Client, s ticketing.Subject, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := send(t, c, message(s, d)); err != nil {
			t.Fatal(err)
		}
	}
}

// intake is a running Receive.
type intake struct {
	t      testing.TB
	msgs   chan *ticketing.Inbound
	stop   context.CancelFunc
	result chan error
}

func receive(t testing.TB, c *jswrap.Client, s ticketing.Subscription) *intake {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	in := &intake{t: t, msgs: make(chan *ticketing.Inbound, 1<<16), stop: cancel, result: make(chan error, 1)}
	go func() {
		in.result <- c.Receive(ctx, s, func(_ context.Context, m *ticketing.Inbound) { in.msgs <- m })
	}()
	return in
}

func (in *intake) next() *ticketing.Inbound {
	in.t.Helper()
	select {
	case m := <-in.msgs:
		return m
	case err := <-in.result:
		in.t.Fatalf("Receive = %v while a message was expected", err)
	case <-time.After(patience):
		in.t.Fatalf("no message within %v", patience)
	}
	panic("unreachable")
}

func (in *intake) want(data string) *ticketing.Inbound {
	in.t.Helper()
	m := in.next()
	if string(m.Data) != data {
		in.t.Fatalf("got message %q, want %q", m.Data, data)
	}
	return m
}

func (in *intake) settle(m *ticketing.Inbound, k ticketing.VerdictKind) {
	in.t.Helper()
	if err := m.Settle(ticketing.Verdict{Kind: k}); err != nil {
		in.t.Fatalf("settle %q with %v: %v", m.Data, k, err)
	}
}

func (in *intake) wait() error {
	in.t.Helper()
	return await(in.t, in.result, "the end of Receive")
}

// until polls cond, for what cannot be waited for otherwise.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func streamConfig(t testing.TB, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	s, err := js.Stream(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}
