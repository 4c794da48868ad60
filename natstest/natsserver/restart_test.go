package natsserver_test

import (
	"bytes"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRestartKeepsPortAndMessages(t *testing.T) {
	s := natsserver.Run(t)
	reconnected := make(chan struct{}, 1)
	_, js := connect(t, s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(pollTick),
		nats.ReconnectHandler(func(*nats.Conn) { reconnected <- struct{}{} }))
	createStream(t, js, 1)
	publish(t, js, 5)
	url, before := s.URL(), s.NATS()

	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	<-reconnected
	if s.URL() != url {
		t.Errorf("URL %q after the restart, %q before", s.URL(), url)
	}
	if s.NATS() == before || before.Running() {
		t.Error("the server before the restart goes on")
	}
	if got := stored(t, js); got != 5 {
		t.Errorf("%d messages after the restart, want 5", got)
	}
}

func TestRestartAfterShutdownGoesOnWhereTheServerWas(t *testing.T) {
	s := natsserver.Run(t)
	_, js := connect(t, s.URL())
	createStream(t, js, 1)
	publish(t, js, 2)
	s.Shutdown()
	if nc, err := nats.Connect(s.URL()); err == nil {
		nc.Close()
		t.Fatal("a server answers after Shutdown")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	_, js = connect(t, s.URL())
	if got := stored(t, js); got != 2 {
		t.Errorf("%d messages after the restart, want 2", got)
	}
}

func TestThePortStaysTheServersWhileItIsDown(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can keep a port without listening on it")
	}
	other := natsserver.Run(t)
	s := natsserver.Run(t)
	s.Shutdown()
	addr, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	// An outgoing connection cannot have it, as it may have any free port.
	dialer := net.Dialer{LocalAddr: addr}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(other.URL(), "nats://"))
	if err == nil {
		conn.Close()
		t.Errorf("%v was given away", addr)
	}
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
}

func TestRestartWaitsForAPortThatSomebodyElseHas(t *testing.T) {
	refused := make(chan struct{})
	log := writeFunc(sync.OnceFunc(func() { close(refused) }))
	s := natsserver.Run(t, natsserver.Logger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))))
	s.Shutdown()
	l, err := net.Listen("tcp", strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error)
	go func() { restarted <- s.Restart() }()
	<-refused
	l.Close()
	if err := <-restarted; err != nil {
		t.Errorf("restart: %v", err)
	}
	connect(t, s.URL())
}

func TestShutdownIsIdempotentAndWaits(t *testing.T) {
	nothingLeft := leaktest.Check(t)
	s, err := natsserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	nc, js := connect(t, s.URL(), nats.NoReconnect())
	createStream(t, js, 1)
	publish(t, js, 10)
	nc.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(s.Shutdown)
	}
	wg.Wait()
	if s.NATS().Running() {
		t.Error("the server runs after Shutdown")
	}
	nothingLeft()
}

func TestNothingIsWrittenAfterShutdown(t *testing.T) {
	for range 20 {
		s := natsserver.Run(t)
		nc, js := connect(t, s.URL())
		createStream(t, js, 1)
		consumer, err := js.CreateConsumer(t.Context(), "EVENTS", jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, js, 1)
		m, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		// The acknowledgement has the server write the consumer's file.
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		s.Shutdown()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if bytes.Contains(stacks, []byte("nats-server/v2/server.writeAtomically")) {
			t.Fatalf("the server writes after Shutdown:\n%s", stacks)
		}
	}
}
