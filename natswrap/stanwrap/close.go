package stanwrap

import (
	"context"
	"fmt"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Close closes the client for good, in this order: Receives stop, and their
// messages get settled until their drain timeout; handlers may still send
// meanwhile. Then further sends are refused ([ticketing.ErrClosed]), the
// outstanding ones awaited, the session closed, and the connection. Durable
// positions stay.
//
// Close returns nil once all of that is done. When ctx ends first nothing more
// is waited for, and Close returns ctx's error; what was outstanding is then
// of unknown outcome. It may be called several times, from anywhere.
func (c *Client) Close(ctx context.Context) error {
	c.startShutdown()
	stop := context.AfterFunc(ctx, func() { c.cut(context.Cause(ctx)) })
	defer stop()
	select {
	case <-c.finished:
		return c.closeErr
	case <-ctx.Done():
		return fmt.Errorf("stanwrap: close cut short: %w", context.Cause(ctx))
	}
}

func (c *Client) startShutdown() { c.shutdownOnce.Do(func() { go c.shutdown() }) }

// shutdown is what Close and a lost session have in common. It waits for each
// step until c.hurry ends.
func (c *Client) shutdown() {
	defer close(c.finished)
	lost := !c.session().alive()

	c.mu.Lock()
	c.refused = true
	c.mu.Unlock()
	c.stop(ticketing.ErrClosed)
	received := make(chan struct{})
	go func() {
		c.receives.Wait()
		close(received)
	}()
	// With a lost session there is nothing to wait for on the wire.
	patience := c.hurry
	if lost {
		patience = ended
	}
	select {
	case <-received:
	case <-patience.Done():
	}

	c.out.window.close()
	select {
	case <-c.out.window.empty:
	case <-patience.Done():
	}

	c.session().end(nil)

	// A session that is lost may be another client's by now, and stan.go
	// closes sessions by the client's id: close the connection first.
	if !lost && c.link.Load().Up {
		c.closeSession()
	}
	_ = c.state.Close(c.hurry, c.nc)
	_ = c.session().conn.Close() // fails what is outstanding; sends nothing any more

	<-c.out.window.empty // what was outstanding has failed
	c.out.stop()
	<-received
	c.aside.Wait()
	if err := context.Cause(c.hurry); err != nil && !lost {
		c.closeErr = fmt.Errorf("stanwrap: close cut short: %w", err)
	}
	c.end(nil)
}

// ended is a context that has.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// closeSession tells the server that the client leaves.
func (c *Client) closeSession() {
	done := make(chan error, 1)
	go func() { done <- c.session().conn.Close() }()
	select {
	case err := <-done:
		if err != nil {
			c.log.Warn("NATS Streaming session not closed cleanly", "client_id", c.cfg.ClientID, "error", err)
		}
	case <-c.hurry.Done():
	}
}
