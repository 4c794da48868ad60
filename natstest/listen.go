package natstest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// stopPatience is how long a listener may take to stop: its own default for
// the handlers that run, and then some.
const stopPatience = 15 * time.Second

// Listen runs a listener beside the test:
//
//	natstest.Listen(t, ticketing.NewListener(&r, "accounts", handle, nil))
//
// When the test ends, or stop is called before, the listener is stopped and
// waited for. A Listen that returned an error, or that does not stop within
// 15 s, fails the test. It works on a recorder as on a real broker.
func Listen(t testing.TB, l interface{ Listen(context.Context) error }) (stop func()) {
	t.Helper()
	// Not t.Context: that is cancelled before any cleanup, and so before those
	// that were registered later than this one.
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Listen(ctx) }()
	stop = sync.OnceFunc(func() {
		t.Helper()
		cancel()
		patience := time.NewTimer(stopPatience)
		defer patience.Stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("natstest: Listen: %v", err)
			}
		case <-patience.C:
			t.Errorf("natstest: Listen has not returned %v after its context ended", stopPatience)
		}
	})
	t.Cleanup(stop)
	return stop
}
