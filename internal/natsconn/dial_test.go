package natsconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// runServer starts a core NATS server on a free loopback port.
func runServer(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	return s
}

// silentPort accepts connections and says nothing.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel accepts into the backlog
}

func refusedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDialGivesUpWithItsContextWhereTheServerSaysNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Dial(ctx, Config{URLs: []string{"nats://user:pa55word@" + silentPort(t)}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the context's", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v", d)
	}
	if strings.Contains(err.Error(), "pa55word") {
		t.Errorf("the error has the password: %v", err)
	}
}

func TestDialSaysThatAConnectionWasRefused(t *testing.T) {
	addr := refusedPort(t)
	_, err := Dial(t.Context(), Config{URLs: []string{"nats://user:pa55word@" + addr}})
	if !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("error = %v, want nats.ErrNoServers", err)
	}
	for _, want := range []string{addr, "refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "pa55word") {
		t.Errorf("the error has the password: %v", err)
	}
}

func TestStateFollowsTheConnection(t *testing.T) {
	s := runServer(t, nil)
	lost, back, closed := make(chan error, 8), make(chan struct{}, 8), make(chan struct{}, 8)
	state := &State{
		OnDisconnect: func(err error) { lost <- err },
		OnReconnect:  func() { back <- struct{}{} },
		OnClosed:     func() { closed <- struct{}{} },
	}
	nc, err := Dial(t.Context(), Config{URLs: []string{s.ClientURL()}}, state.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if !state.Connected() || state.Closed() || state.Err() != nil {
		t.Errorf("after Dial: connected %v, closed %v, err %v", state.Connected(), state.Closed(), state.Err())
	}
	if err := s.DisconnectClientByID(1); err == nil {
		<-lost
		<-back
	}
	if !state.Connected() || state.Err() != nil {
		t.Errorf("after the reconnect: connected %v, err %v", state.Connected(), state.Err())
	}
	done := state.Done()
	if err := state.Close(t.Context(), nc); err != nil {
		t.Error(err)
	}
	<-done
	<-closed
	if state.Connected() || !state.Closed() || state.Err() != nil {
		t.Errorf("after Close: connected %v, closed %v, err %v", state.Connected(), state.Closed(), state.Err())
	}
}
