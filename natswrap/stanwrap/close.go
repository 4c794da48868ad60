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
// of unknown outcome. A client that has no session at the moment does not wait
// for one. It may be called several times, from anywhere: later calls wait for
// the first one, within their own ctx, and cut nothing short.
func (c *Client) Close(ctx context.Context) error {
	select {
	case <-c.finished: // also where ctx has ended
		return c.closeErr
	default:
	}
	first := !c.bounded.Swap(true)
	c.startShutdown()
	select {
	case <-c.finished:
		return c.closeErr
	case <-ctx.Done():
		if !first {
			return fmt.Errorf("stanwrap: close has not ended yet: %w", context.Cause(ctx))
		}
		c.cut(context.Cause(ctx))
		return fmt.Errorf("stanwrap: close cut short: %w", context.Cause(ctx))
	}
}

// startShutdown is not for Close alone: a client that cannot have a session
// shuts down by itself, and the first Close bounds that.
func (c *Client) startShutdown() { c.shutdownOnce.Do(func() { go c.shutdown() }) }

// shutdown is what Close and the end for want of a session have in common. It
// waits for each step until c.hurry ends.
func (c *Client) shutdown() {
	defer close(c.finished)
	c.mu.Lock()
	c.refused = true
	c.mu.Unlock()
	c.stop(ticketing.ErrClosed)
	received := make(chan struct{})
	go func() {
		c.receives.Wait()
		close(received)
	}()
	select {
	case <-received:
	case <-c.hurry.Done():
	}

	c.out.window.close()
	select {
	case <-c.out.window.empty:
	case <-c.hurry.Done():
	}

	s := c.session()
	if s.end() && s.state.Connected() {
		if err := s.leave(c.hurry); err != nil {
			c.log.Warn("NATS Streaming session not closed cleanly", "client_id", c.cfg.ClientID, "error", err)
		}
	} else {
		s.retire(c.hurry)
	}

	<-c.out.window.empty // what was outstanding has failed
	c.out.stop()
	<-received
	c.aside.Wait()
	if err := context.Cause(c.hurry); err != nil {
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
