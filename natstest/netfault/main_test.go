package netfault_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	patience = 60 * time.Second       // bounds what has to happen
	silence  = 100 * time.Millisecond // how long nothing has to happen
)

// target is the server behind a proxy. The test holds its ends of the
// connections.
type target struct {
	t     testing.TB
	addr  string
	conns chan *net.TCPConn
}

func runTarget(t testing.TB) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &target{t: t, addr: l.Addr().String(), conns: make(chan *net.TCPConn, 1<<10)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns <- c.(*net.TCPConn)
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return s
}

// accepted returns the next connection's end.
func (s *target) accepted() *net.TCPConn {
	s.t.Helper()
	select {
	case c := <-s.conns:
		return closed(s.t, c)
	case <-time.After(patience):
		s.t.Fatal("the server got no connection")
		return nil
	}
}

func dial(t testing.TB, p *netfault.Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, c.(*net.TCPConn))
}

// wantRefusal checks that a new connection is reset, perhaps before the dial
// has returned.
func wantRefusal(t testing.TB, p *netfault.Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return
	}
	wantReset(t, closed(t, c.(*net.TCPConn)))
}

// closed closes c with the test, and bounds what the test does with it.
func closed(t testing.TB, c *net.TCPConn) *net.TCPConn {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// pair is a connection through a new proxy, from both ends.
func pair(t testing.TB) (p *netfault.Proxy, client, server *net.TCPConn) {
	t.Helper()
	s := runTarget(t)
	p = netfault.Run(t, s.addr)
	client = dial(t, p)
	return p, client, s.accepted()
}

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != want {
		t.Fatalf("read %q, error %v, want %q", buf, err, want)
	}
}

// resetTCP ends c without order; closeWrite says that no more will be sent.
func resetTCP(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

func closeWrite(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
}

// wantSilence checks that c has nothing to read, not even an end.
func wantSilence(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes and error %v, want silence", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

// wantReset checks that c was ended without order.
func wantReset(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v, want a reset", err)
	}
}

func wantEnd(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("%d bytes and error %v, want the end", n, err)
	}
}
