package natsconn

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// acceptor hands out the server's side of every connection.
func acceptor(t *testing.T) (addr string, peers <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan net.Conn, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			ch <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for len(ch) > 0 {
			(<-ch).Close()
		}
	})
	return l.Addr().String(), ch
}

// expectEnd waits for the other side to close the connection.
func expectEnd(t *testing.T, peer net.Conn) {
	t.Helper()
	defer peer.Close()
	if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v; want the end of the connection", err)
	}
}

func TestAConnectionThatIsEstablishedTooLateIsClosed(t *testing.T) {
	addr, peers := acceptor(t)
	d := newDialer(time.Second)
	dial := d.dial
	d.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		d.interrupt() // it has no connection to cut yet
		return conn, err
	}
	if _, err := d.Dial("tcp", addr); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
	expectEnd(t, receive(t, "the connection", peers))
}

func TestTheConnectionBeforeIsClosedByTheNextDial(t *testing.T) {
	addr, peers := acceptor(t)
	d := newDialer(time.Second)
	defer d.interrupt()
	for range 2 {
		if _, err := d.Dial("tcp", addr); err != nil {
			t.Fatal(err)
		}
	}
	expectEnd(t, receive(t, "the first connection", peers))
}
