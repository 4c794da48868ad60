package jswrap

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// The writer is stuck in all of these: nobody takes from its queue.

// Protection: onExpired.
func TestAWriterThatIsStuckKeepsNoPublishThatHasEnded(t *testing.T) {
	c := &Client{flights: newFlights(8, time.Second)}
	c.wire = newWire(c.flights, &c.link)
	c.flights.expired = c.onExpired
	c.flights.tick = time.Hour // the test does the ticking
	defer c.flights.stop()
	c.wire.push(frame{subject: "a verdict"})
	for round := range 5 {
		outcomes := make(chan error, c.flights.max)
		for range c.flights.max {
			p := &pending{m: &ticketing.Message{ID: "id", Subject: "s"}, done: func(err error) { outcomes <- err }}
			if err := c.flights.admit(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			c.wire.push(frame{pub: p})
		}
		if n := len(c.wire.frames.items); n != 1+c.flights.max {
			t.Errorf("round %d: %d frames wait, and %d publishes are open", round, n, c.flights.max)
		}
		for range 3 {
			c.flights.sweep()
		}
		for range c.flights.max {
			if err := ended(outcomes); !errors.Is(err, ticketing.ErrNotSent) {
				t.Errorf("round %d: outcome %v, want ErrNotSent", round, err)
			}
		}
	}
	if left := c.wire.frames.take(); len(left) != 1 || left[0].subject != "a verdict" {
		t.Errorf("%d frames are left", len(left))
	}
}

// Protection: receiver.telling.
func TestAWriterThatIsStuckIsNotToldAgainWhatIsHeld(t *testing.T) {
	c := &Client{wire: newWire(nil, nil), cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	r := newReceiver(t.Context(), c, ticketing.Subscription{Subject: "s", Group: "g"})
	r.onMessage(&nats.Msg{Reply: "$JS.ACK.S.C.1.1.1.17.0"})
	for range 2 {
		for range 5 {
			r.keepAlive(time.Now())
		}
		told := 0
		for _, f := range c.wire.frames.take() {
			if f.call != nil {
				f.call() // the writer goes on
			} else if string(f.data) == "+WPI" {
				told++
			}
		}
		if told != 1 {
			t.Errorf("it is told %d times that one message is in progress", told)
		}
	}
}
