package stanwrap

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// stuckClient is a client that waits for its connection. stan.go has one
// message of it, of which it says nothing before release is closed, so that
// further ones stand in the queue; the others it acknowledges at once.
func stuckClient(t *testing.T, ackTimeout time.Duration) (c *Client, calls chan struct{}, release chan struct{}) {
	release, calls = make(chan struct{}), make(chan struct{}, 10)
	c = fakeClient(t, Config{WaitForConnection: true, AckTimeout: ackTimeout}, func(_ string, ah stan.AckHandler) (string, error) {
		calls <- struct{}{}
		<-release
		ah("guid", nil)
		return "guid", nil
	})
	c.testSend("in the call")
	<-calls
	return c, calls, release
}

// until polls for what nothing signals.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so: %s", what)
		}
	}
}

// disconnect does what OnDisconnect does.
func (c *Client) disconnect() {
	c.link.Set(false)
	c.out.interrupted(errDisconnected)
	c.out.failSent(c.session(), errConnectionLost)
}

func TestWhatIsQueuedWaitsForTheConnectionWhereItIsToldTo(t *testing.T) {
	c, calls, release := stuckClient(t, time.Minute)
	first, second := c.testSend("first"), c.testSend("second")
	c.disconnect()
	close(release)
	select {
	case err := <-first:
		t.Fatalf("the first that was queued = %v, want none while there is no connection", err)
	case err := <-second:
		t.Fatalf("the second that was queued = %v, want none while there is no connection", err)
	case <-calls:
		t.Fatal("stan.go was called while there was no connection")
	case <-time.After(30 * time.Millisecond):
	}
	c.link.Set(true)
	for _, outcome := range []<-chan error{first, second} {
		if err := wait(t, outcome); err != nil {
			t.Errorf("a publish that was queued = %v once there is a connection, want nil", err)
		}
	}
}

func TestWhatIsQueuedWaitsForTheConnectionNoLongerThanTheAckTimeout(t *testing.T) {
	c, calls, release := stuckClient(t, 200*time.Millisecond)
	queued := c.testSend("queued")
	c.disconnect()
	close(release)
	if err := wait(t, queued); !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("outcome %v, want not sent for want of a connection", err)
	}
	if len(calls) != 0 {
		t.Error("stan.go was called while there was no connection")
	}
}

func TestWhatIsQueuedWaitsForNoConnectionOnceTheClientCloses(t *testing.T) {
	c, _, release := stuckClient(t, time.Hour)
	queued := c.testSend("queued")
	c.disconnect()
	close(release)
	c.stop(ticketing.ErrClosed) // as shutdown does first
	if err := wait(t, queued); !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("outcome %v, want not sent because the client is closed", err)
	}
}

// The connection may be lost between the look at the link and stan.go's call.
func TestAPublishThatTheConnectionDidNotTakeWaitsForTheNextOne(t *testing.T) {
	refused := make(chan struct{}, 1)
	c := fakeClient(t, Config{WaitForConnection: true, AckTimeout: time.Minute}, func(_ string, ah stan.AckHandler) (string, error) {
		select {
		case refused <- struct{}{}:
			return "", nats.ErrReconnectBufExceeded
		default:
		}
		ah("guid", nil)
		return "guid", nil
	})
	outcome := c.testSend("{}")
	until(t, "it was refused", func() bool { return len(refused) == 1 })
	c.link.Set(false)
	c.link.Set(true)
	if err := wait(t, outcome); err != nil {
		t.Errorf("outcome %v, want nil", err)
	}
}

// The window is shut only when what is held is settled, which may take long.
func TestASendThatWaitsForAConnectionEndsWhenTheClientBeginsToClose(t *testing.T) {
	c := fakeClient(t, Config{WaitForConnection: true}, nil)
	c.session().end()
	c.link.Set(false)
	outcome := make(chan error, 1)
	go func() { outcome <- <-c.testSend("{}") }()
	select {
	case err := <-outcome:
		t.Fatalf("Send did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c.stop(ticketing.ErrClosed)
	if err := wait(t, outcome); !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("outcome %v, want not sent because the client is closed", err)
	}
}

// A place that gets free while the connection is lost: the message waits in the
// queue from then on, and its Send has nothing left to wait for.
func TestASendThatGetsItsPlaceWhileThereIsNoConnectionReturns(t *testing.T) {
	acks := make(chan stan.AckHandler, 2)
	c := fakeClient(t, Config{WaitForConnection: true, MaxPending: 1, AckTimeout: time.Minute}, func(_ string, ah stan.AckHandler) (string, error) {
		acks <- ah
		return "guid", nil
	})
	c.testSend("first")
	acked := <-acks
	returned := make(chan (<-chan error), 1)
	go func() { returned <- c.testSend("second") }()
	until(t, "the second waits for a place", func() bool {
		c.out.window.mu.Lock()
		defer c.out.window.mu.Unlock()
		return len(c.out.window.waiting) == 1
	})
	c.link.Set(false)
	acked("guid", nil)
	var outcome <-chan error
	select {
	case outcome = <-returned:
	case <-time.After(60 * time.Second):
		t.Fatal("Send waits for a connection although its message has a place")
	}
	c.link.Set(true)
	(<-acks)("guid", nil)
	if err := wait(t, outcome); err != nil {
		t.Errorf("outcome %v, want nil", err)
	}
}
