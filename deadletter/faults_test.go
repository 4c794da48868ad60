package deadletter_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// The replay is confirmed, and the dead letter cannot be taken off: what an
// operator does then is to replay it again.
func TestAReplayThatWasCutOffAndIsRepeatedIsHandledOnce(t *testing.T) {
	c := open(t, natswrap.Config{URLs: []string{natsserver.Run(t).URL()}})
	ids := bury(t, c, "orders", "down", booking{"a"})
	js, _ := c.JetStream()
	s, err := js.Stream(testContext(t), "TICKETING_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.DenyDelete = true
	if _, err := js.UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	l := listen(t, c, "orders", accept[booking])
	all := list(t, c, deadletter.Filter{})
	for range 2 {
		err := c.DeadLetters().Replay(testContext(t), all[0])
		if err == nil || !strings.Contains(err.Error(), "was replayed, and its dead letter is still there") {
			t.Errorf("Replay = %v", err)
		}
	}
	if left := list(t, c, deadletter.Filter{}); len(left) != 1 {
		t.Errorf("%d dead letters, want the one that could not be taken off", len(left))
	}
	publish(t, c, booking{"b"})
	if d := next(t, l.handled, "the replay"); d.ID != ids[0] {
		t.Errorf("handled %+v", d)
	}
	if d := next(t, l.handled, "the next event"); d.Event.ID != "b" {
		t.Errorf("handled %+v once more", d)
	}
}

func TestAReplayThatIsNotConfirmedLeavesTheDeadLetter(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		bury(t, c, "orders", "down", booking{"a"}, booking{"b"})
		all := list(t, c, deadletter.Filter{Group: "orders"})
		ended, cancel := context.WithCancel(testContext(t))
		cancel()
		err := c.DeadLetters().Replay(ended, all[0])
		if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, context.Canceled) {
			t.Errorf("Replay = %v", err)
		}
		if left := list(t, c, deadletter.Filter{Group: "orders"}); len(left) != 2 {
			t.Errorf("%d dead letters are left, want 2", len(left))
		}
		for _, err := range c.DeadLetters().List(ended, deadletter.Filter{Group: "orders"}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("List = %v", err)
			}
		}
	})
}

func TestAReplayOfADeadLetterThatWasCutHasTheWholeEvent(t *testing.T) {
	const limit = 16 << 10
	for name, test := range map[string]struct {
		connect func(t *testing.T) *natswrap.Client
		purge   func(t *testing.T, c *natswrap.Client)
	}{
		"JetStream": {
			func(t *testing.T) *natswrap.Client {
				return open(t, natswrap.Config{URLs: []string{natsserver.Run(t, natsserver.MaxPayload(limit)).URL()}})
			},
			func(t *testing.T, c *natswrap.Client) {
				js, _ := c.JetStream()
				s, err := js.Stream(testContext(t), "TICKETING")
				if err == nil {
					err = s.Purge(testContext(t))
				}
				if err != nil {
					t.Fatal(err)
				}
			},
		},
		"NATS Streaming": {
			func(t *testing.T) *natswrap.Client {
				s := stanserver.Run(t, stanserver.MaxPayload(limit))
				return open(t, natswrap.Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID()})
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.connect(t)
			large := booking{strings.Repeat("x", limit-500)}
			ids := bury(t, c, "orders", strings.Repeat("too much ", 100), large)
			all := list(t, c, deadletter.Filter{Group: "orders"})
			if len(all) != 1 || all[0].Whole() || all[0].Cut == "" || len(all[0].Data) >= len(large.ID) {
				t.Fatalf("%d dead letters: %+v", len(all), all)
			}
			l := listen(t, c, "orders", accept[booking])
			if err := c.DeadLetters().Replay(testContext(t), all[0]); err != nil {
				t.Fatal(err)
			}
			if d := next(t, l.handled, "the replay"); d.Event != large || d.ID != ids[0] {
				t.Errorf("replayed an event of %d bytes with id %s", len(d.Event.ID), d.ID)
			}
			l.stop()
			if test.purge == nil {
				return
			}
			bury(t, c, "orders", strings.Repeat("too much ", 100), large)
			test.purge(t, c)
			all = list(t, c, deadletter.Filter{Group: "orders"})
			if err := c.DeadLetters().Replay(testContext(t), all[0]); !errors.Is(err, deadletter.ErrCut) {
				t.Errorf("Replay of what is not there any more = %v", err)
			}
			if left := list(t, c, deadletter.Filter{Group: "orders"}); len(left) != 1 {
				t.Errorf("%d dead letters are left", len(left))
			}
		})
	}
}

func TestWhatSomethingElseStoredAsADeadLetterIsShownAndReplayed(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		if js, ok := c.JetStream(); ok {
			for _, s := range []string{"dead.orders.booking:made", "dead.not-one"} {
				if _, err := js.Publish(testContext(t), s, []byte(`{"id":"a"}`)); err != nil {
					t.Fatal(err)
				}
			}
		} else if sc, ok := c.Stan(); ok {
			if err := sc.Publish("dead.orders.booking:made", []byte(`{"id":"a"}`)); err != nil {
				t.Fatal(err)
			}
		}
		all := list(t, c, deadletter.Filter{Group: "orders"})
		if len(all) != 1 || all[0].ID == "" || all[0].Reason != "" || all[0].Attempts != 0 || !all[0].Published.IsZero() {
			t.Fatalf("%d dead letters: %+v", len(all), all)
		}
		l := listen(t, c, "orders", accept[booking])
		if err := c.DeadLetters().Replay(testContext(t), all[0]); err != nil {
			t.Fatal(err)
		}
		if d := next(t, l.handled, "the replay"); d.Event.ID != "a" || d.ID != all[0].ID {
			t.Errorf("replayed %+v", d)
		}
	})
}

func TestWithoutAStreamForDeadLettersThatIsWhatItSays(t *testing.T) {
	c := open(t, natswrap.Config{URLs: []string{natsserver.Run(t).URL()}})
	js, _ := c.JetStream()
	if err := js.DeleteStream(testContext(t), "TICKETING_DEAD"); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.DeadLetters().List(testContext(t), deadletter.Filter{}) {
		if !errors.Is(err, ticketing.ErrNoStream) {
			t.Errorf("List = %v", err)
		}
	}
	r := deadletter.Ref{Group: "orders", Subject: "booking:made", Sequence: 1}
	if _, err := c.DeadLetters().Get(testContext(t), r); !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("Get = %v", err)
	}
	if err := c.DeadLetters().Discard(testContext(t), r); !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("Discard = %v", err)
	}
}

// The dead letters of a Node service's channel stay what they are: the payload
// of an event has nothing around it, and only the dead have.
func TestOnNATSStreamingOnlyDeadLettersHaveAnEnvelope(t *testing.T) {
	s := stanserver.Run(t)
	c := open(t, natswrap.Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID()})
	bury(t, c, "orders", "down", booking{"a"})
	sc, _ := c.Stan()
	for channel, want := range map[string]string{
		"booking:made":             `{"id":"a"}`,
		"dead.orders.booking:made": `{"ticketing_record":"dead","id":"`,
	} {
		got := make(chan string, 1)
		sub, err := sc.Subscribe(channel, func(m *stan.Msg) { got <- string(m.Data) }, stan.DeliverAllAvailable())
		if err != nil {
			t.Fatal(err)
		}
		if data := next(t, got, channel); !strings.HasPrefix(data, want) {
			t.Errorf("channel %s has %s", channel, data)
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChannelLimitKeepsNobodyFromTheirEvents(t *testing.T) {
	s := stanserver.Run(t, stanserver.Configure(limitChannels(1)))
	c := open(t, natswrap.Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID()})
	publish(t, c, booking{"a"})
	l := listen(t, c, "orders", accept[booking])
	if d := next(t, l.handled, "the event"); d.Event.ID != "a" {
		t.Errorf("handled %+v", d)
	}
}

func limitChannels(n int) func(*stand.Options) {
	return func(o *stand.Options) { o.MaxChannels = n }
}
