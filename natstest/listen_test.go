package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// listenFunc is a listener.
type listenFunc func(context.Context) error

func (f listenFunc) Listen(ctx context.Context) error { return f(ctx) }

// endedTB is a test that collects its errors, and ends when end is called.
type endedTB struct {
	testing.TB // nil: any other method is a mistake
	errs       []string
	end        []func()
}

func (f *endedTB) Helper() {}
func (f *endedTB) Errorf(format string, args ...any) {
	f.errs = append(f.errs, fmt.Sprintf(format, args...))
}
func (f *endedTB) Cleanup(c func()) { f.end = append(f.end, c) }

func TestListenRunsAListenerUntilItsStopOrTheTestsEnd(t *testing.T) {
	var r natstest.Recorder
	stopped := make(chan struct{})
	t.Run("inner", func(t *testing.T) {
		natstest.Listen(t, listenFunc(func(ctx context.Context) error {
			defer close(stopped)
			handle := func(context.Context, *ticketing.Delivery[ticketCreated]) error { return nil }
			return ticketing.NewListener(&r, "group", handle, nil).Listen(ctx)
		}))
		if res := natstest.Deliver(t, &r, ticketCreated{ID: "T1"}); !res.Acked() {
			t.Error(res)
		}
	})
	select {
	case <-stopped:
	default:
		t.Error("it was not waited for")
	}
}

func TestListenReportsAListenerThatFails(t *testing.T) {
	tb := new(endedTB)
	stop := natstest.Listen(tb, listenFunc(func(context.Context) error { return errors.New("no broker") }))
	stop()
	tb.end[0]()
	if got := fmt.Sprintf("%q", tb.errs); got != `["natstest: Listen: no broker"]` {
		t.Errorf("reported %s, want the error once", got)
	}
}

func TestListenReportsAListenerThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		tb := new(endedTB)
		natstest.Listen(tb, listenFunc(func(context.Context) error { <-release; return nil }))()
		if got := fmt.Sprintf("%q", tb.errs); got != `["natstest: Listen has not returned 15s after its context ended"]` {
			t.Errorf("reported %s", got)
		}
		close(release)
	})
}
