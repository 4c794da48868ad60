package jswrap

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// flying is a client without a connection that has one publish open.
func flying(t *testing.T, wait bool) (c *Client, p *pending, outcome chan error) {
	c = &Client{cfg: Config{WaitForConnection: wait}}
	c.flights = newFlights(2, time.Minute)
	t.Cleanup(c.flights.stop)
	c.flights.wait = wait
	c.wire = newWire(c.flights, &c.link)
	outcome = make(chan error, 1)
	p = &pending{
		m:      &ticketing.Message{ID: "id", Subject: "s"},
		done:   func(err error) { outcome <- err },
		repeat: true,
	}
	if err := c.flights.admit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return c, p, outcome
}

func ended(outcome chan error) error {
	select {
	case err := <-outcome:
		return err
	default:
		return nil
	}
}

func TestAPublishThatFindsNoConnectionStaysOpenWhereItIsWrittenToTheNext(t *testing.T) {
	for name, test := range map[string]struct {
		wait, again, stays bool
	}{
		"it was never written":    {false, false, false},
		"it waits":                {true, false, true},
		"it was written before":   {false, true, true},
		"it waits, written again": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, p, outcome := flying(t, test.wait)
			if test.again {
				p.state.Store(stateWritten)
				c.flights.reopen()
			}
			for _, lost := range []func(){
				func() { c.wire.send(p) }, // the link is down
				func() { // or the client has noticed first
					p.state.CompareAndSwap(stateQueued, stateWritten)
					c.wire.failed(p, nats.ErrReconnectBufExceeded)
				},
			} {
				lost()
				err := ended(outcome)
				if test.stays && (err != nil || p.state.Load() != stateQueued) {
					t.Errorf("ended with %v, in state %d", err, p.state.Load())
				}
				if !test.stays {
					if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrNotConnected) {
						t.Errorf("ended with %v", err)
					}
					break
				}
			}
		})
	}
}

func TestAPublishWhoseWriteBreaksStaysOpenWhereItCanBeWrittenAgain(t *testing.T) {
	c, p, outcome := flying(t, false)
	p.state.Store(stateWritten)
	c.wire.failed(p, errors.New("broken pipe"))
	if err := ended(outcome); err != nil {
		t.Fatalf("it ended with %v", err)
	}
	c.flights.reopen()
	p.state.Store(stateWritten)
	c.wire.failed(p, nats.ErrMaxPayload) // the next server takes less
	if err := ended(outcome); !errors.Is(err, ticketing.ErrUnknown) {
		t.Errorf("it ended with %v, and the first copy may be stored", err)
	}
}

func TestAPublishOfWhichAnotherCopyIsInProcessStaysOpen(t *testing.T) {
	const inProcess = `{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"stream":"S","seq":0}`
	c, p, outcome := flying(t, false)
	p.state.Store(stateWritten)
	c.answered(p.token, []byte(inProcess))
	if err := ended(outcome); err != nil || !p.maybe || p.due == 0 {
		t.Errorf("it ended with %v; written again at %d", err, p.due)
	}
	c, p, outcome = flying(t, false)
	p.repeat = false
	p.state.Store(stateWritten)
	c.answered(p.token, []byte(inProcess))
	if err := ended(outcome); !errors.Is(err, ticketing.ErrUnknown) {
		t.Errorf("it ended with %v, want it unknown", err)
	}
}

func TestAConnectionThatIsLostAgainResumesNothing(t *testing.T) {
	c, _, outcome := flying(t, true)
	c.onLost()
	lost := c.connections
	c.onLost()
	c.resume(lost)
	if c.link.Load().Up || !c.flights.down {
		t.Error("publishes are taken without a connection")
	}
	c.abandon()
	if err := ended(outcome); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
}

// Protection: the order of the two calls at the end of resume. Turned round,
// some of these are turned away.
func TestWhoSeesTheClientHealthyAgainCanPublish(t *testing.T) {
	c, open, _ := flying(t, false)
	c.flights.finish(open.token, nil)
	c.nc = new(nats.Conn)
	begin, admitted := make(chan bool), make(chan error)
	go func() {
		for range begin {
			for !c.Healthy() {
				runtime.Gosched()
			}
			p := &pending{done: func(error) {}}
			err := c.flights.admit(t.Context(), p)
			c.flights.finish(p.token, nil)
			admitted <- err
		}
	}()
	defer close(begin)
	for range 20_000 {
		c.onLost()
		begin <- true
		c.resume(c.connections)
		if err := <-admitted; err != nil {
			t.Fatal(err)
		}
	}
}

// A publish that is admitted in between is nobody's: a Close would wait for it
// as for one that is under way. Protection: the order in onLost.
func TestWhoSeesTheClientUnhealthyIsNotAdmitted(t *testing.T) {
	c, open, _ := flying(t, true)
	c.flights.finish(open.token, nil)
	c.nc = new(nats.Conn)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	begin, refused := make(chan bool), make(chan error)
	go func() {
		for range begin {
			for c.Healthy() {
				runtime.Gosched()
			}
			refused <- c.flights.admit(ended, &pending{done: func(error) {}})
		}
	}()
	defer close(begin)
	for range 20_000 {
		c.resume(c.connections)
		begin <- true
		c.onLost()
		if err := <-refused; !errors.Is(err, ticketing.ErrNotConnected) {
			t.Fatalf("admit = %v, want ErrNotConnected", err)
		}
	}
}

// Protection: flights.stall.
func TestAPublishThatNeverGotPastAStallSaysThatNobodyAnswers(t *testing.T) {
	c, first, _ := flying(t, false)
	c.link.Set(true)
	defer c.wire.forgetStalls()
	c.wire.stalled(first)
	outcome := make(chan error, 1)
	behind := &pending{m: &ticketing.Message{ID: "behind", Subject: "s"}, done: func(err error) { outcome <- err }}
	if err := c.flights.admit(t.Context(), behind); err != nil {
		t.Fatal(err)
	}
	c.wire.write(&frame{pub: behind})
	c.flights.now = 1
	c.flights.expire(0)
	if err := ended(outcome); !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, errNoLeader) {
		t.Errorf("outcome %v, want ErrNotSent and %q", err, errNoLeader)
	}
}

func TestAStallHoldsEachPublishOnceAndForgetsWhatHasEnded(t *testing.T) {
	var link natsconn.Link
	link.Set(true)
	w := newWire(newFlights(10, time.Minute), &link)
	open := make([]*pending, 5)
	for i := range open {
		open[i] = &pending{m: &ticketing.Message{Subject: "s"}, token: uint64(i)}
	}
	for _, i := range []int{3, 1, 3, 0, 4, 2} {
		w.stalled(open[i])
	}
	s := w.stalls["s"]
	defer w.forgetStalls()
	if len(s.held) != 5 || s.held[0] != open[0] || s.held[4] != open[4] {
		t.Fatalf("%d are held", len(s.held))
	}
	s.probe = open[0]
	open[0].state.Store(stateWritten)
	open[2].state.Store(stateSettled)
	w.step(s)
	if len(s.held) != 4 || w.stalls["s"] != s {
		t.Errorf("%d are held while one is tried", len(s.held))
	}
	for _, p := range open {
		p.state.Store(stateSettled)
	}
	w.step(s)
	if len(w.stalls) != 0 {
		t.Error("the stall goes on with nothing to wait for")
	}
}

// Protection: add, which sets it under the lock. A new connection writes what is
// in the table, at once.
func TestAPublishThatGetsItsPlaceHasWhereItsAnswerGoes(t *testing.T) {
	c, first, _ := flying(t, true)
	c.flights.finish(first.token, nil)
	c.flights.inbox = "inbox."
	c.flights.suspend()
	waiting, admitted := &pending{done: func(error) {}}, make(chan error, 1)
	go func() { admitted <- c.flights.admit(t.Context(), waiting) }()
	for waits := false; !waits; runtime.Gosched() {
		c.flights.mu.Lock()
		waits = len(c.flights.waiting) == 1
		c.flights.mu.Unlock()
	}
	c.flights.resume()
	for _, p := range c.flights.reopen() {
		if p.reply != "inbox.1" {
			t.Errorf("it is written with the reply %q", p.reply)
		}
	}
	if err := <-admitted; err != nil {
		t.Error(err)
	}
}

// Protection: expire's comparison with what is the time then. The sweep lets go
// of the lock in between, and a publish that is admitted meanwhile is younger
// than its look.
func TestAPublishThatIsAdmittedDuringASweepIsNotExpired(t *testing.T) {
	f := newFlights(10, time.Second)
	f.tick = time.Hour // the test does the ticking
	defer f.stop()
	outcome, old := make(chan error, 1), make(chan error, 2)
	f.resend, f.expired = func([]*pending) {}, func() {}
	f.overdue = func([]*pending) { // the next sweep has begun
		f.mu.Lock()
		f.now++
		f.mu.Unlock()
		if err := f.admit(t.Context(), &pending{m: &ticketing.Message{}, done: func(err error) { outcome <- err }}); err != nil {
			t.Error(err)
		}
	}
	p := &pending{m: &ticketing.Message{}, done: func(err error) { old <- err }}
	p.state.Store(stateWritten)
	if err := f.admit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f.now = 1 + f.ticks(f.timeout)
	late := &pending{m: &ticketing.Message{}, done: func(err error) { old <- err }}
	late.state.Store(stateWritten)
	if err := f.admit(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	f.sweep()
	if f.next != 3 {
		t.Fatal("nothing was admitted during the sweep")
	}
	if err := ended(old); !errors.Is(err, ticketing.ErrUnknown) {
		t.Errorf("the old one ended with %v", err)
	}
	if err := ended(outcome); err != nil {
		t.Errorf("the new one ended with %v", err)
	}
	f.finishAll(nil, func(*pending, bool) error { return nil })
}

// Connect has failed as its ctx ended, and the connection that was made is
// closed. Protection: the look at nc.
func TestTheEndOfAConnectionThatConnectGaveUpEndsNothing(t *testing.T) {
	c, open, _ := flying(t, false)
	c.flights.finish(open.token, nil)
	c.receivers.init()
	c.refused, c.closed = make(chan struct{}), make(chan struct{})
	c.life, c.endLife = context.WithCancel(t.Context())
	ready := make(chan struct{})
	close(ready)
	c.afterClose(ready) // it does not panic
}
