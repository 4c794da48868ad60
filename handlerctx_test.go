package ticketing

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func newHandlerContext(parent context.Context, d time.Duration) *handlerContext {
	return &handlerContext{parent: parent, deadline: time.Now().Add(d)}
}

func TestAHandlersContextEndsLikeOneWithATimeout(t *testing.T) {
	type key struct{}
	cause := errors.New("cause")
	for name, test := range map[string]struct {
		end  func(c *handlerContext, parent context.CancelCauseFunc)
		want error
		why  error
	}{
		"at its deadline":  {func(*handlerContext, context.CancelCauseFunc) { <-time.After(time.Minute) }, context.DeadlineExceeded, context.DeadlineExceeded},
		"with its parent":  {func(_ *handlerContext, parent context.CancelCauseFunc) { parent(cause) }, context.Canceled, cause},
		"with its attempt": {func(c *handlerContext, _ context.CancelCauseFunc) { c.cancel() }, context.Canceled, context.Canceled},
	} {
		for _, look := range []string{"done first", "err first", "cause first", "child first", "never before"} {
			t.Run(name+", "+look, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
					defer cancel(nil)
					c := newHandlerContext(parent, time.Minute)
					child := context.Context(c)
					switch look {
					case "done first":
						_ = c.Done()
					case "err first":
						if c.Err() != nil {
							t.Error("ended before its end")
						}
					case "cause first":
						if context.Cause(c) != nil {
							t.Error("a cause before its end")
						}
					case "child first":
						var stop func()
						child, stop = context.WithCancel(c)
						defer stop()
					}
					if c.Value(key{}) != "value" {
						t.Error("the parent's value is missing")
					}
					test.end(c, cancel)
					synctest.Wait() // for the timers of this very moment
					if got := context.Cause(c); got != test.why {
						t.Errorf("Cause = %v, want %v", got, test.why)
					}
					if c.Err() != test.want {
						t.Errorf("Err = %v, want %v", c.Err(), test.want)
					}
					<-c.Done()
					<-child.Done()
					if child.Err() != test.want {
						t.Errorf("the child's Err = %v, want %v", child.Err(), test.want)
					}
					if c.Value(key{}) != "value" {
						t.Error("the parent's value is missing after the end")
					}
				})
			})
		}
	}
}

func TestAHandlersContextHasTheEarlierDeadline(t *testing.T) {
	parent, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want, _ := parent.Deadline()
	if got, ok := newHandlerContext(parent, time.Hour).Deadline(); !ok || !got.Equal(want) {
		t.Errorf("Deadline = %v, want the parent's %v", got, want)
	}
	c := newHandlerContext(parent, time.Second)
	if got, ok := c.Deadline(); !ok || !got.Equal(c.deadline) {
		t.Errorf("Deadline = %v, want its own %v", got, c.deadline)
	}
}
