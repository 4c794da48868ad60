package natswrap

import (
	"context"
	"errors"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestTheClientPassesEverythingToItsBackend(t *testing.T) {
	f := newFake()
	c, err := connect(t.Context(), good(), f.connector)
	if err != nil {
		t.Fatal(err)
	}
	if err := send(t, c); err != nil || len(f.sent) != 1 {
		t.Errorf("send: %v, %d messages", err, len(f.sent))
	}
	if err := c.CheckSubject(t.Context(), "a"); !errors.Is(err, ticketing.ErrNoStream) || f.subject != "a" {
		t.Errorf("CheckSubject: %v of %q", err, f.subject)
	}
	if !c.Capabilities().Groups || c.Backend() != JetStream || !c.Healthy() || c.Err() != nil || c.Conn() != nil {
		t.Errorf("capabilities %+v, backend %s, healthy %v, error %v", c.Capabilities(), c.Backend(), c.Healthy(), c.Err())
	}
	if _, ok := c.JetStream(); ok {
		t.Error("the fake has JetStream")
	}
	if _, ok := c.Stan(); ok {
		t.Error("the fake has NATS Streaming")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Receive(ctx, ticketing.Subscription{}, nil); err != nil {
		t.Errorf("Receive: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if c.Healthy() {
		t.Error("it is healthy after Close")
	}
}

func TestCloseCallbacksHearWhyOnceAndInOrder(t *testing.T) {
	f := newFake()
	c, err := connect(t.Context(), good(), f.connector)
	if err != nil {
		t.Fatal(err)
	}
	reason := errors.New("gone")
	heard := make(chan string, 8)
	for _, name := range []string{"first ", "second "} {
		c.OnClose(func(err error) { heard <- name + err.Error() })
	}
	f.end(reason)
	receive(t, "Closed", c.Closed())
	for _, want := range []string{"first gone", "second gone"} {
		if got := receive(t, "a callback", heard); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	called := false
	c.OnClose(func(err error) { called = errors.Is(err, reason) })
	if !called {
		t.Error("a callback that came too late was not called at once")
	}
	if len(heard) != 0 {
		t.Error("a callback was called twice")
	}
}

func TestConnectRefusesWhatItCannotUse(t *testing.T) {
	failing := func(context.Context, Config) (backend, error) { return nil, errors.New("unreachable") }
	if _, err := connect(nil, good(), failing); !errors.Is(err, errNilContext) {
		t.Errorf("error = %v, want that of a nil context", err)
	}
	if _, err := connect(t.Context(), Config{}, failing); err == nil {
		t.Error("an empty Config was accepted")
	}
	if _, err := connect(t.Context(), good(), failing); err == nil {
		t.Error("the backend's error was dropped")
	}
}

func TestCloseNeedsAContext(t *testing.T) {
	f := newFake()
	defer f.end(nil)
	c, err := connect(t.Context(), good(), f.connector)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(nil); !errors.Is(err, errNilContext) {
		t.Errorf("error = %v", err)
	}
}
