package netfault_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

func TestCutResetsAllConnectionsUntilHealed(t *testing.T) {
	s := runTarget(t)
	p := netfault.Run(t, s.addr)
	client := dial(t, p)
	server := s.accepted()

	p.Cut()
	wantReset(t, client)
	wantReset(t, server)
	wantRefusal(t, p)
	if len(s.conns) != 0 {
		t.Error("a connection was forwarded while the proxy was cut")
	}

	p.Heal()
	again := dial(t, p)
	write(t, again, "back")
	wantRead(t, s.accepted(), "back")
}

func TestBreakResetsThePresentConnectionsAlone(t *testing.T) {
	s := runTarget(t)
	p := netfault.Run(t, s.addr)
	client := dial(t, p)
	server := s.accepted()

	p.Break()
	wantReset(t, client)
	wantReset(t, server)
	write(t, dial(t, p), "next")
	wantRead(t, s.accepted(), "next")
}

func TestABlackHoleHoldsBackItsDirectionUntilHealed(t *testing.T) {
	for _, tt := range []struct {
		name               string
		d                  netfault.Direction
		toServer, toClient bool // is held
	}{
		{"to the server", netfault.ToServer, true, false},
		{"to the client", netfault.ToClient, false, true},
		{"both", netfault.Both, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, client, server := pair(t)
			write(t, client, "before")
			wantRead(t, server, "before")
			p.BlackHole(tt.d)
			for _, way := range []struct {
				from, to *net.TCPConn
				held     bool
			}{{client, server, tt.toServer}, {server, client, tt.toClient}} {
				write(t, way.from, "during")
				if way.held {
					wantSilence(t, way.to)
				} else {
					wantRead(t, way.to, "during")
				}
			}
			p.Heal()
			if tt.toServer {
				wantRead(t, server, "during")
			}
			if tt.toClient {
				wantRead(t, client, "during")
			}
		})
	}
}

func TestABlackHoleIsThereForNewConnections(t *testing.T) {
	s := runTarget(t)
	p := netfault.Run(t, s.addr)
	p.BlackHole(netfault.Both)
	client := dial(t, p)
	server := s.accepted()
	write(t, server, "hello")
	wantSilence(t, client)
	p.Heal()
	wantRead(t, client, "hello")
}

func TestABlackHoleHidesTheEndOfAConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(client, server *net.TCPConn)
	}{
		{"closed", func(client, _ *net.TCPConn) { client.Close() }},
		{"reset", func(client, _ *net.TCPConn) { resetTCP(t, client) }},
		{"closed, and the server writes", func(client, server *net.TCPConn) {
			client.Close()
			for range 3 { // the second fails at the proxy
				write(t, server, "hello")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, client, server := pair(t)
			p.BlackHole(netfault.ToServer)
			tt.end(client, server)
			wantSilence(t, server)
			p.Heal()
			if _, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after Heal: %v, want an end", err)
			}
		})
	}
}

func TestABlackHoleStopsASenderAndLosesNothing(t *testing.T) {
	p, client, server := pair(t)
	p.BlackHole(netfault.ToServer)
	const limit = 256 << 20
	block := make([]byte, 1<<20)
	sent := 0
	for sent < limit {
		if err := client.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			t.Fatal(err)
		}
		n, err := client.Write(block)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if sent >= limit {
		t.Fatalf("%d bytes were taken", sent)
	}
	p.Heal()
	closeWrite(t, client)
	if n, err := io.Copy(io.Discard, server); n != int64(sent) || err != nil {
		t.Errorf("%d bytes arrived, error %v, want the %d that were sent", n, err, sent)
	}
}

func TestADelayIsLatency(t *testing.T) {
	const (
		delay = 200 * time.Millisecond
		n     = 50
	)
	p, client, server := pair(t)
	p.Delay(netfault.ToServer, delay)
	start := time.Now()
	for range n {
		write(t, client, ".")
	}
	wantRead(t, server, strings.Repeat(".", n))
	if d := time.Since(start); d < delay || d > n*delay/4 {
		t.Errorf("%d messages took %v with a delay of %v", n, d, delay)
	}
	start = time.Now()
	write(t, server, "!")
	wantRead(t, client, "!")
	if d := time.Since(start); d >= delay {
		t.Errorf("the other direction took %v as well", d)
	}
}

func TestHealEndsADelayAtOnce(t *testing.T) {
	p, client, server := pair(t)
	p.Delay(netfault.Both, time.Hour)
	write(t, client, "late")
	wantSilence(t, server)
	p.Heal()
	wantRead(t, server, "late")
}

func TestOneHalfBreaksAndTheOtherIsNotTold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(*netfault.Proxy)
		ends  func(client, server *net.TCPConn) (told, other *net.TCPConn)
	}{
		{"the client's", (*netfault.Proxy).BreakClients, func(c, s *net.TCPConn) (_, _ *net.TCPConn) { return c, s }},
		{"the server's", (*netfault.Proxy).BreakServers, func(c, s *net.TCPConn) (_, _ *net.TCPConn) { return s, c }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := runTarget(t)
			p := netfault.Run(t, s.addr)
			client := dial(t, p)
			told, other := tt.ends(client, s.accepted())
			tt.fault(p)
			wantReset(t, told)
			write(t, other, "anybody?")
			write(t, other, "anybody?") // an answer to the first would fail this
			wantSilence(t, other)

			write(t, dial(t, p), "new")
			next := s.accepted()
			wantRead(t, next, "new")

			p.Heal()
			wantReset(t, other)
			wantSilence(t, next) // Heal leaves what is healthy alone
		})
	}
}

func TestAHalfThatIsLeftMayEndByItself(t *testing.T) {
	s := runTarget(t)
	p := netfault.Run(t, s.addr)
	nothingLeft := leaktest.Check(t)
	client := dial(t, p)
	server := s.accepted()
	p.BreakClients()
	wantReset(t, client)
	server.Close()
	nothingLeft()
}

func TestAMuteProxyAcceptsAndSaysNothing(t *testing.T) {
	s := runTarget(t)
	p := netfault.Run(t, s.addr)
	before := dial(t, p)
	server := s.accepted()

	p.Mute()
	muted := dial(t, p)
	write(t, muted, "hello")
	wantSilence(t, muted)
	if len(s.conns) != 0 {
		t.Error("the server was dialled")
	}
	write(t, before, "still here")
	wantRead(t, server, "still here")

	p.Heal()
	wantReset(t, muted)
	write(t, dial(t, p), "hello")
	wantRead(t, s.accepted(), "hello")
}
