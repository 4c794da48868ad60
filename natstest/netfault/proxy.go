package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// loopback is the only address that a proxy listens on.
const loopback = "127.0.0.1"

// Proxy forwards TCP connections to one server, and fails as it is told to. It
// listens on a free port of 127.0.0.1, which is its own until Close. Its
// methods may be called concurrently, and none of them but Close blocks.
type Proxy struct {
	listener *net.TCPListener
	url      string
	accepted atomic.Int64
	wg       sync.WaitGroup  // all goroutines
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc

	mu      sync.Mutex
	target  string
	door    door
	paths   [2]path       // by the side that they lead to
	changed chan struct{} // closed, and made anew, when paths change
	conns   map[*conn]struct{}
}

// door is what becomes of a new connection.
type door uint8

const (
	open   door = iota
	shut        // reset at once
	silent      // kept, and nothing is said
)

// path is the state of a direction.
type path struct {
	held  bool
	delay time.Duration
}

// Run starts a proxy for a test. When that ends the proxy is closed. A proxy
// that cannot be started fails the test. See [Start] for the target.
func Run(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Start(target)
	if err != nil {
		t.Fatalf("netfault.Run: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// Start starts a proxy before the server at target: a URL with a port, of any
// scheme ("nats://127.0.0.1:4222"), or host:port. Nothing is dialled before a
// client connects. The caller must call [Proxy.Close].
func Start(target string) (*Proxy, error) {
	host, outside, err := parse(target)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(loopback)})
	if err != nil {
		return nil, fmt.Errorf("netfault: cannot have a port of %s: %w", loopback, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		listener: l,
		url:      outside(l.Addr().String()),
		ctx:      ctx,
		cancel:   cancel,
		target:   host,
		changed:  make(chan struct{}),
		conns:    make(map[*conn]struct{}),
	}
	p.wg.Go(p.accept)
	return p, nil
}

// parse returns the host:port of a target, and a function that puts another in
// its place. No error has the target in it: it may have a password.
func parse(target string) (host string, outside func(string) string, err error) {
	if !strings.Contains(target, "://") {
		host, outside = target, func(addr string) string { return addr }
	} else {
		u, err := url.Parse(target)
		if err != nil {
			return "", nil, errors.New("netfault: the target is not a URL of one server; start a proxy for each server")
		}
		host, outside = u.Host, func(addr string) string {
			u.Host = addr
			return u.String()
		}
	}
	if _, port, err := net.SplitHostPort(host); err != nil || port == "" {
		return "", nil, errors.New("netfault: the target is neither a URL with a port nor host:port of one server")
	}
	return host, outside, nil
}

// URL returns the address for clients: the target as it was given to Run or
// Start, with the proxy's host and port. It stays the same.
func (p *Proxy) URL() string { return p.url }

// Addr returns the proxy's host and port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted returns how many connections clients have made so far, those that
// were refused included: a client that tries too often shows.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// SetTarget sends new connections to another server: see [Start]. The present
// ones stay where they are, and URL as it is.
func (p *Proxy) SetTarget(target string) error {
	host, _, err := parse(target)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = host
	return nil
}

// Close resets all connections, gives the port back, and returns when the
// proxy's goroutines are gone. More calls do nothing.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.cancel()
	_ = p.listener.Close() // the error of a second call
	p.resetAll()
	p.mu.Unlock()
	p.wg.Wait()
}

// accept runs until the listener is closed.
func (p *Proxy) accept() {
	for {
		in, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The process has no file left, for one. The client waits.
			select {
			case <-time.After(10 * time.Millisecond):
			case <-p.ctx.Done():
			}
			continue
		}
		p.accepted.Add(1)
		p.admit(in)
	}
}

// admit does with a new connection what the door says.
func (p *Proxy) admit(in *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || p.door == shut {
		resetTCP(in)
		return
	}
	c := newConn(p, in, p.door == silent)
	p.conns[c] = struct{}{}
	target := p.target
	p.wg.Go(func() { c.run(target) })
}

// forget takes a connection that has ended off the list.
func (p *Proxy) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
