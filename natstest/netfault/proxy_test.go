package netfault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

func TestBytesGoThroughBothWaysAndInOrder(t *testing.T) {
	_, client, server := pair(t)
	sent := make([]byte, 8<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		_, _ = io.Copy(server, server) // the client sees what is missing
		closeWrite(t, server)
	})
	wg.Go(func() {
		_, _ = client.Write(sent)
		closeWrite(t, client)
	})
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, error %v; want the %d that were sent", len(got), err, len(sent))
	}
}

func TestAnEndAndAResetArePassedOnAsWhatTheyAre(t *testing.T) {
	_, client, server := pair(t)
	write(t, client, "last words")
	closeWrite(t, client)
	wantRead(t, server, "last words")
	wantEnd(t, server)
	write(t, server, "answer") // the other direction is still there
	wantRead(t, client, "answer")
	server.Close()
	wantEnd(t, client)

	_, client, server = pair(t)
	resetTCP(t, client)
	wantReset(t, server)
}

func TestAConnectionToATargetThatIsDownIsReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := netfault.Run(t, l.Addr().String())
	wantRefusal(t, p)

	s := runTarget(t)
	if err := p.SetTarget("nats://" + s.addr); err != nil {
		t.Fatal(err)
	}
	write(t, dial(t, p), "there")
	wantRead(t, s.accepted(), "there")
	if got := p.Accepted(); got != 2 {
		t.Errorf("Accepted %d, want 2", got)
	}
}

func TestTheURLIsTheTargetsWithTheProxysAddress(t *testing.T) {
	for target, want := range map[string]string{
		"127.0.0.1:4222":                    "ADDR",
		"nats://127.0.0.1:4222":             "nats://ADDR",
		"tls://user:p%40ss@localhost:4222":  "tls://user:p%40ss@ADDR",
		"http://[::1]:8222/connz?limit=1#x": "http://ADDR/connz?limit=1#x",
	} {
		p := netfault.Run(t, target)
		if want = strings.ReplaceAll(want, "ADDR", p.Addr()); p.URL() != want {
			t.Errorf("URL %q, want %q", p.URL(), want)
		}
	}
}

func TestATargetThatCannotBeIsRefusedWithoutItsPassword(t *testing.T) {
	good := netfault.Run(t, "127.0.0.1:4222")
	for _, target := range []string{
		"",
		"localhost",
		"nats://user:secret@localhost",
		"nats://user:secret@localhost:",
		"nats://user:secret@%zz:4222",
		"nats://user:secret@a:1,b:2",
		"nats://user:secret@a:1,nats://b:2",
	} {
		p, err := netfault.Start(target)
		if err == nil {
			p.Close()
			t.Errorf("%q was accepted", target)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %q", err)
		}
		if err := good.SetTarget(target); err == nil {
			t.Errorf("SetTarget accepted %q", target)
		}
	}
}

func TestCloseEndsEverythingAndWaits(t *testing.T) {
	s := runTarget(t)
	nothingLeft := leaktest.Check(t)
	p, err := netfault.Start(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(faults ...func()) *net.TCPConn {
		c := dial(t, p)
		s.accepted()
		for _, f := range faults {
			f()
		}
		write(t, c, "held")
		return c
	}
	conns := []*net.TCPConn{
		connect(),
		connect(p.BreakServers),
		connect(func() { p.Delay(netfault.Both, time.Hour) }),
		connect(func() { p.BlackHole(netfault.Both) }),
	}
	p.Mute()
	conns = append(conns, dial(t, p))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(p.Close)
	}
	wg.Wait()
	for _, c := range conns {
		wantReset(t, c)
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
	nothingLeft()
}

func TestFaultsMayComeFromAnywhereAtAnyTime(t *testing.T) {
	s := runTarget(t)
	p := netfault.Run(t, s.addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	loop := func(f func()) {
		wg.Go(func() {
			for ctx.Err() == nil {
				f()
			}
		})
	}
	// A server that echoes, and clients that come and go.
	wg.Go(func() {
		for {
			select {
			case c := <-s.conns:
				wg.Go(func() {
					defer c.Close()
					_, _ = io.Copy(c, c) // ends with the connection
				})
			case <-ctx.Done():
				return
			}
		}
	})
	for range 4 {
		loop(func() {
			c, err := net.Dial("tcp", p.Addr())
			if err != nil {
				return
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				t.Error(err)
			}
			_, _ = c.Write([]byte("ping")) // whatever becomes of it
			_, _ = io.ReadFull(c, make([]byte, 4))
		})
	}
	for _, f := range []func(){
		p.Cut, p.Break, p.BreakClients, p.BreakServers, p.Mute, p.Heal, p.Heal,
		func() { p.BlackHole(netfault.Both) },
		func() { p.Delay(netfault.ToClient, time.Millisecond) },
		func() { p.Accepted() },
		func() {
			if err := p.SetTarget(s.addr); err != nil {
				t.Error(err)
			}
		},
	} {
		loop(func() {
			f()
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		})
	}
	<-ctx.Done()
	p.Break() // what is half open would wait for ever
	wg.Wait()

	p.Heal()
	another := runTarget(t)
	if err := p.SetTarget(another.addr); err != nil {
		t.Fatal(err)
	}
	const hello = "well again"
	write(t, dial(t, p), hello)
	for got := ""; got != hello; {
		c := another.accepted() // perhaps of a client that came before, and was accepted late
		buf := make([]byte, len(hello))
		n, _ := io.ReadFull(c, buf)
		got = string(buf[:n])
		_ = c.Close()
	}
}
