package natswrap

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestAWrapperThatIsUsedBeforeConnectSaysSo(t *testing.T) {
	var w Wrapper
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ticketing.ErrNotConnected) || !strings.Contains(err.Error(), "accessed before Connect") {
			t.Errorf("%s: %v, want ErrNotConnected", what, err)
		}
	}
	err := send(t, &w)
	check("Send", err)
	var pe *ticketing.PublishError
	if !errors.As(err, &pe) || !errors.Is(err, ticketing.ErrNotSent) || pe.ID != "id-1" {
		t.Errorf("Send: %#v, want a PublishError that is not sent", err)
	}
	check("Receive", w.Receive(t.Context(), ticketing.Subscription{}, nil))
	check("CheckSubject", w.CheckSubject(t.Context(), "a"))
	_, err = w.Client()
	check("Client", err)
	if w.Healthy() || w.Capabilities() != (ticketing.Capabilities{}) {
		t.Error("it is healthy, or has capabilities")
	}
	if err := w.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestAConnectedWrapperIsItsClient(t *testing.T) {
	var w Wrapper
	f := newFake()
	if err := w.connect(t.Context(), good(), f.connector); err != nil {
		t.Fatal(err)
	}
	if err := send(t, &w); err != nil || len(f.sent) != 1 {
		t.Errorf("send: %v, %d messages", err, len(f.sent))
	}
	if err := w.CheckSubject(t.Context(), "a"); !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("CheckSubject: %v", err)
	}
	if c, err := w.Client(); err != nil || c.backend != f {
		t.Errorf("Client: %v, %v", c, err)
	}
	if !w.Healthy() || !w.Capabilities().Groups {
		t.Error("it is not healthy, or has no capabilities")
	}
	if err := w.connect(t.Context(), good(), f.connector); !errors.Is(err, errConnected) {
		t.Errorf("a second Connect: %v, want %v", err, errConnected)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.Receive(t.Context(), ticketing.Subscription{}, nil); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
	if err := send(t, &w); !errors.Is(err, ticketing.ErrClosed) || !errors.Is(err, ticketing.ErrNotSent) {
		t.Errorf("Send after Close: %v", err)
	}
	again := newFake()
	defer again.end(nil)
	if err := w.connect(t.Context(), good(), again.connector); err != nil {
		t.Errorf("Connect after Close: %v", err)
	}
	if !w.Healthy() {
		t.Error("it is not healthy after the second Connect")
	}
}

func TestAFailedConnectLeavesTheWrapperAsItWas(t *testing.T) {
	var w Wrapper
	reason := errors.New("unreachable")
	err := w.connect(t.Context(), good(), func(context.Context, Config) (backend, error) { return nil, reason })
	if !errors.Is(err, reason) {
		t.Errorf("error = %v", err)
	}
	f := newFake()
	defer f.end(nil)
	if err := w.connect(t.Context(), good(), f.connector); err != nil {
		t.Errorf("Connect after a failed one: %v", err)
	}
}

func TestOneConnectAtATime(t *testing.T) {
	var w Wrapper
	f := newFake()
	defer f.end(nil)
	inside, goOn := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- w.connect(t.Context(), good(), func(context.Context, Config) (backend, error) {
			close(inside)
			<-goOn
			return f, nil
		})
	}()
	receive(t, "the first Connect", inside)
	if err := w.connect(t.Context(), good(), f.connector); !errors.Is(err, errConnecting) {
		t.Errorf("a Connect beside another: %v, want %v", err, errConnecting)
	}
	if err := send(t, &w); !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("Send while connecting: %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Use beside a Connect did not panic")
			}
		}()
		w.Use(nil, nil)
	}()
	close(goOn)
	if err := receive(t, "the first Connect", first); err != nil {
		t.Error(err)
	}
}

func TestAWrapperCanBePointedAtARecorderAndBack(t *testing.T) {
	var w Wrapper
	var rec natstest.Recorder
	restore := w.Use(&rec, &rec)
	if err := send(t, &w); err != nil {
		t.Error(err)
	}
	if err := w.CheckSubject(t.Context(), ticketing.SubjectTicketCreated); err != nil {
		t.Error(err)
	}
	if w.Capabilities() != rec.Capabilities() || !w.Healthy() {
		t.Errorf("capabilities %+v, healthy %v", w.Capabilities(), w.Healthy())
	}
	if _, err := w.Client(); !errors.Is(err, errNoClient) {
		t.Errorf("Client: %v", err)
	}
	f := newFake()
	defer f.end(nil)
	if err := w.connect(t.Context(), good(), f.connector); !errors.Is(err, errConnected) {
		t.Errorf("Connect: %v, want %v", err, errConnected)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	restore()
	if err := w.connect(t.Context(), good(), f.connector); err != nil {
		t.Fatal(err)
	}
	restore() // works once
	if !w.Healthy() {
		t.Error("restore disconnected the Wrapper")
	}
}

func TestAWrapperMayHaveOnlyASenderOrOnlyAReceiver(t *testing.T) {
	var w Wrapper
	sent := 0
	defer w.Use(ticketing.SendFunc(func(context.Context, *ticketing.Message) error { sent++; return nil }), nil)()
	if err := send(t, &w); err != nil || sent != 1 {
		t.Errorf("send: %v, %d sent", err, sent)
	}
	if err := w.Receive(t.Context(), ticketing.Subscription{}, nil); !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("Receive: %v", err)
	}
	if err := w.CheckSubject(t.Context(), "a"); err != nil {
		t.Errorf("CheckSubject: %v", err)
	}
	if w.Capabilities() != (ticketing.Capabilities{}) {
		t.Errorf("capabilities %+v", w.Capabilities())
	}
	defer w.Use(nil, nil)()
	if err := send(t, &w); !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("send without a sender: %v", err)
	}
	if err := w.CheckSubject(t.Context(), "a"); !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("CheckSubject without a sender: %v", err)
	}
}

func TestAWrapperMayBeUsedFromManyGoroutines(t *testing.T) {
	var w Wrapper
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			f := newFake()
			defer f.end(nil)
			if err := w.connect(t.Context(), good(), f.connector); err == nil {
				defer w.Close(context.Background())
			}
			for range 100 {
				_ = send(t, &w)
				_ = w.Healthy()
				_, _ = w.Client()
			}
		})
	}
	wg.Wait()
}
