package natsconn

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialer is the client's way to the network, in our hands: the client dials
// and shakes hands while it holds its lock, and only the dialer can stop it.
type dialer struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	mu      sync.Mutex
	conn    net.Conn // the one that the client uses, or tries
	lastErr error
}

func newDialer(timeout time.Duration) *dialer {
	d := &dialer{dial: (&net.Dialer{Timeout: timeout}).DialContext}
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
	if err != nil {
		d.lastErr = err
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

// explain adds what the last dial said to err: the client keeps a refused
// connection to itself.
func (d *dialer) explain(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lastErr == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, d.lastErr)
}
