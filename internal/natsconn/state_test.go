package natsconn

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// watched is a State whose hooks can be waited for.
type watched struct {
	State
	lost, async  chan error
	back, closed chan struct{}
}

func watch() *watched {
	w := &watched{
		lost: make(chan error, 16), async: make(chan error, 16),
		back: make(chan struct{}, 16), closed: make(chan struct{}, 16),
	}
	w.State = State{
		OnDisconnect: func(err error) { w.lost <- err },
		OnReconnect:  func() { w.back <- struct{}{} },
		OnClosed:     func() { w.closed <- struct{}{} },
		OnAsyncError: func(_ *nats.Subscription, err error) { w.async <- err },
		Logger:       quiet,
	}
	return w
}

func (w *watched) dial(t *testing.T, c Config) *nats.Conn {
	t.Helper()
	c.Logger = quiet
	nc, err := Dial(t.Context(), c, append(w.Options(), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(1, 1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func receive[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(60 * time.Second):
		t.Fatalf("waited for %s in vain", what)
	}
	return v
}

func TestStateFollowsALostConnectionAndItsReturn(t *testing.T) {
	s := runServer(t, nil)
	w := watch()
	nc := w.dial(t, Config{URLs: []string{s.ClientURL()}})
	if !w.Connected() || w.Closed() || w.Err() != nil {
		t.Errorf("after Dial: connected %v, closed %v, error %v", w.Connected(), w.Closed(), w.Err())
	}
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	reason := receive(t, "the disconnect", w.lost)
	if w.Connected() || w.Closed() || w.Err() == nil || !errors.Is(w.Err(), reason) {
		t.Errorf("while it is lost: connected %v, closed %v, error %v", w.Connected(), w.Closed(), w.Err())
	}
	runServer(t, func(o *server.Options) { o.Port = port })
	receive(t, "the reconnect", w.back)
	if !w.Connected() || w.Err() != nil {
		t.Errorf("after the reconnect: connected %v, error %v", w.Connected(), w.Err())
	}

	done := w.Done()
	for range 2 {
		if err := w.Close(t.Context(), nc); err != nil {
			t.Error(err)
		}
	}
	receive(t, "Done", done)
	receive(t, "Done asked for later", w.Done())
	receive(t, "OnClosed", w.closed)
	if w.Connected() || !w.Closed() || w.Err() != nil {
		t.Errorf("after Close: connected %v, closed %v, error %v", w.Connected(), w.Closed(), w.Err())
	}
}

// A server that restarts with other credentials ends the connection for good.
func TestStateSaysWhyTheConnectionWasClosedForGood(t *testing.T) {
	s := runServer(t, nil)
	w := watch()
	w.dial(t, Config{URLs: []string{"nats://user:sesame@" + s.Addr().String()}})
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	runServer(t, func(o *server.Options) { o.Port, o.Username, o.Password = port, "user", "other" })
	receive(t, "OnClosed", w.closed)
	receive(t, "Done", w.Done())
	if !errors.Is(w.Err(), nats.ErrAuthorization) || strings.Contains(w.Err().Error(), "sesame") {
		t.Errorf("error = %v, want %v", w.Err(), nats.ErrAuthorization)
	}
	if w.Connected() || !w.Closed() {
		t.Errorf("connected %v, closed %v", w.Connected(), w.Closed())
	}
}

func TestCloseDoesNotWaitForAHandshake(t *testing.T) {
	s := runServer(t, nil)
	w := watch()
	nc := w.dial(t, Config{URLs: []string{s.ClientURL()}})
	addr := s.Addr().String()
	s.Shutdown()
	s.WaitForShutdown()
	if err := receive(t, "the disconnect", w.lost); err == nil {
		t.Error("there is no reason")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := l.Accept() // the client now waits for the server's first line, with its lock held
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	start := time.Now()
	if err := w.Close(t.Context(), nc); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 1500*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	receive(t, "OnClosed", w.closed)
}

func TestCloseIsCutOffByItsContext(t *testing.T) {
	s := runServer(t, nil)
	w := watch()
	nc := w.dial(t, Config{URLs: []string{s.ClientURL()}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Close(ctx, nc); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want nil or the context's", err)
	}
	receive(t, "OnClosed", w.closed)
	if w.Err() != nil || !w.Closed() {
		t.Errorf("closed %v, error %v", w.Closed(), w.Err())
	}
}

func TestCloseWorksOnAConnectionOfAnotherDialer(t *testing.T) {
	s := runServer(t, nil)
	w := watch()
	nc, err := nats.Connect(s.ClientURL(), w.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context(), nc); err != nil || !w.Closed() {
		t.Errorf("closed %v, error %v", w.Closed(), err)
	}
	receive(t, "OnClosed", w.closed)
}

func TestAMissingPermissionIsHeardOf(t *testing.T) {
	s := runServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "user", Password: "right", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"secret"}},
		}}}
	})
	w := watch()
	nc := w.dial(t, Config{URLs: []string{"nats://user:right@" + s.Addr().String()}})
	if err := nc.Publish("secret", nil); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the error", w.async); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("error = %v, want nats.ErrPermissionViolation", err)
	}
	if !w.Connected() {
		t.Error("a missing permission counts as a lost connection")
	}
}

func TestAStateWithoutHooksAndLoggerIsGood(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(quiet)
	var s State
	s.disconnected(nil)
	if s.Connected() || !errors.Is(s.Err(), errLost) {
		t.Errorf("connected %v, error %v", s.Connected(), s.Err())
	}
	s.reconnected()
	s.asyncError(&nats.Subscription{Subject: "a"}, errors.New("slow"))
	s.asyncError(nil, errors.New("slow"))
	s.finished(nil)
	if !s.Closed() || !errors.Is(s.Err(), errLost) {
		t.Errorf("closed %v, error %v", s.Closed(), s.Err())
	}
}
