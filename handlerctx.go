package ticketing

import (
	"context"
	"sync"
	"time"
)

// handlerContext is the context of one attempt: parent with a deadline, and
// cancelled when the attempt is over. Most handlers are done long before they
// ask, so the context of the standard library, with its timer and its place
// among the parent's children, is made only when somebody looks.
type handlerContext struct {
	parent   context.Context
	deadline time.Time

	mu   sync.Mutex
	real context.Context // nil until it is needed
	end  context.CancelFunc
	over bool
}

var _ context.Context = (*handlerContext)(nil)

// cancel ends the context with its attempt.
func (c *handlerContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.end != nil {
		c.end()
	}
}

// make returns the real context. The lock is held.
func (c *handlerContext) make() context.Context {
	if c.real == nil {
		c.real, c.end = context.WithDeadline(c.parent, c.deadline)
		if c.over {
			c.end()
		}
	}
	return c.real
}

// peek returns the real context if it is there or has anything to say.
func (c *handlerContext) peek() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil && !c.over && c.parent.Err() == nil && time.Now().Before(c.deadline) {
		return nil
	}
	return c.make()
}

func (c *handlerContext) Deadline() (time.Time, bool) {
	if d, ok := c.parent.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

func (c *handlerContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.make().Done()
}

func (c *handlerContext) Err() error {
	if real := c.peek(); real != nil {
		return real.Err()
	}
	return nil
}

// Value asks the real context if there is one: package context looks for its
// own contexts in this way, to make children and to find a cause.
func (c *handlerContext) Value(key any) any {
	if real := c.peek(); real != nil {
		return real.Value(key)
	}
	return c.parent.Value(key)
}
