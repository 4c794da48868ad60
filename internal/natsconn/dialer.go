package natsconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// dialer is the client's way to the network, in our hands: the client dials
// and shakes hands while it holds its lock, and only the dialer can stop it.
type dialer struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	mu   sync.Mutex
	conn net.Conn         // the one that the client uses, or tries
	errs map[string]error // of the last dial, by address; nil once connected
}

func newDialer(timeout time.Duration) *dialer {
	d := &dialer{dial: (&net.Dialer{Timeout: timeout}).DialContext, errs: make(map[string]error)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Dial implements [nats.CustomDialer].
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.dial(d.ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		// The client leaves one open where a WebSocket handshake fails.
		d.conn.Close()
		d.conn = nil
	}
	if err == nil && d.ctx.Err() != nil {
		conn.Close()
		conn, err = nil, d.ctx.Err()
	}
	if d.errs != nil {
		d.errs[address] = err
	}
	if err != nil {
		return nil, err
	}
	d.conn = conn
	return conn, nil
}

// interrupt cuts the connection and fails every later dial.
func (d *dialer) interrupt() {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// explain says why the client could not connect with o, where that got err. The
// client keeps a refused connection to itself, and of several servers it tells
// only what the last one said, so that a wrong password passes for a server
// that is down. Those that were reached are asked once more, each on its own.
func (d *dialer) explain(o nats.Options, err error) error {
	urls := o.Servers
	if len(urls) == 1 {
		if refused := d.err(host(urls[0])); refused != nil && errors.Is(err, nats.ErrNoServers) {
			err = fmt.Errorf("%w: %w", err, refused)
		}
		return err
	}
	o.ConnectedCB, o.ClosedCB, o.DisconnectedErrCB, o.ReconnectedCB = nil, nil, nil, nil
	o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {}
	reasons := make([]error, len(urls))
	reached := false
	for i, u := range urls {
		reason := d.err(host(u))
		if reason == nil {
			reached = true
			o.Servers = urls[i : i+1]
			nc, again := o.Connect()
			if again == nil { // it has come up since
				nc.Close()
				return err
			}
			reason = again
		}
		reasons[i] = fmt.Errorf("%s: %w", host(u), reason)
	}
	if reached {
		return joinLine(reasons)
	}
	return fmt.Errorf("%w: %w", nats.ErrNoServers, joinLine(reasons))
}

// connected forgets what explain would tell.
func (d *dialer) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs = nil
}

// err is what the last dial to an address failed with, or nil.
func (d *dialer) err(address string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.errs[address]
}
