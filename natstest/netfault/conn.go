package netfault

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// side is an end of a connection, and an index of what there is two of.
type side uint8

const (
	server side = iota // the way to it is ToServer
	client
)

func (s side) other() side { return 1 - s }

// How much is read at a time, and how many of these are held per direction.
const (
	chunkSize = 4 << 10
	maxChunks = 256
)

// conn is a client's connection and, once the server is reached, the one to
// it.
type conn struct {
	proxy *Proxy
	muted bool            // the server is never dialled
	ctx   context.Context // ends with the connection
	end   context.CancelFunc

	mu     sync.Mutex
	halves [2]*net.TCPConn // by side; the server's is nil before it is connected
	broken [2]bool         // reset by the proxy, and the other side is not to hear of it
}

// chunk is what was read in one go. The last of a direction has an error.
type chunk struct {
	data []byte
	at   time.Time // when it was read
	err  error     // io.EOF for an end in order
}

func newConn(p *Proxy, in *net.TCPConn, muted bool) *conn {
	c := &conn{proxy: p, muted: muted, halves: [2]*net.TCPConn{client: in}}
	c.ctx, c.end = context.WithCancel(p.ctx)
	return c
}

// run forwards until the connection has ended.
func (c *conn) run(target string) {
	defer c.proxy.forget(c)
	defer c.end()
	if c.muted {
		<-c.ctx.Done()
		return
	}
	if !c.dial(target) {
		c.reset()
		return
	}
	var wg sync.WaitGroup
	for _, to := range []side{server, client} {
		chunks := make(chan chunk, maxChunks)
		wg.Go(func() { c.read(to.other(), chunks) })
		wg.Go(func() { c.write(to, chunks) })
	}
	wg.Wait()
	for _, half := range c.halves {
		_ = half.Close() // an error says that it is closed already
	}
}

// dial connects to the server. It returns false where that cannot be, and when
// the connection has ended meanwhile. Only Close interrupts it: a server that
// has accepted is to see a reset, which an interrupted dial does not send.
func (c *conn) dial(target string) bool {
	var d net.Dialer
	out, err := d.DialContext(c.proxy.ctx, "tcp", target)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halves[server] = out.(*net.TCPConn)
	if c.broken[server] {
		resetTCP(c.halves[server])
	}
	return c.ctx.Err() == nil
}

// read passes on what a side sends, to its end.
func (c *conn) read(from side, chunks chan<- chunk) {
	defer close(chunks)
	for {
		buf := make([]byte, chunkSize)
		n, err := c.halves[from].Read(buf)
		switch {
		case err != nil && c.isBroken(from):
			return // by the proxy, and not by its peer
		case err != nil && c.isBroken(from.other()):
			c.reset() // now both sides are gone
			return
		}
		select {
		case chunks <- chunk{buf[:n], time.Now(), err}:
		case <-c.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// write passes on what a side is sent, when the path lets it.
func (c *conn) write(to side, chunks <-chan chunk) {
	for ch := range chunks {
		if !c.wait(to, ch.at) {
			return
		}
		_, err := c.halves[to].Write(ch.data)
		switch {
		case err != nil && c.isBroken(to):
			<-c.ctx.Done() // what is sent to it stays unanswered
			return
		case err != nil:
			// The side is gone, and the other one hears of it when the path
			// back lets it.
			if c.wait(to.other(), time.Now()) {
				c.reset()
			}
			return
		case errors.Is(ch.err, io.EOF):
			_ = c.halves[to].CloseWrite() // if it fails, the side is gone
			return
		case ch.err != nil:
			c.reset()
			return
		}
	}
}

// wait blocks until the path to a side forwards what was read at that time. It
// returns false when the connection has ended.
func (c *conn) wait(to side, read time.Time) bool {
	for {
		path, changed := c.proxy.path(to)
		var due <-chan time.Time
		if !path.held {
			left := time.Until(read.Add(path.delay))
			if left <= 0 {
				return c.ctx.Err() == nil
			}
			due = time.After(left)
		}
		select {
		case <-due:
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
}

// reset ends the connection: both sides read "connection reset by peer".
func (c *conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	for _, half := range c.halves {
		if half != nil {
			resetTCP(half)
		}
	}
}

// resetHalf ends the connection for one side alone.
func (c *conn) resetHalf(s side) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken[s] = true
	if half := c.halves[s]; half != nil {
		resetTCP(half)
	}
}

func (c *conn) isBroken(s side) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken[s]
}

// resetTCP closes c so that its peer reads an error and not an end. On one that
// is closed already it does nothing.
func resetTCP(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
