package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

type anEvent struct {
	Text string `json:"text"`
}

func (anEvent) Subject() ticketing.Subject { return subject }

// bury makes a dead letter of the next event, with a reason that makes it larger.
func bury(t *testing.T, c *jswrap.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	died := make(chan struct{})
	listener := ticketing.NewListener(c, group.Group, func(context.Context, *ticketing.Delivery[anEvent]) error {
		return ticketing.Permanent(errors.New(strings.Repeat("no ", 300)))
	}, &ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler), OnDeadLetter: func(ticketing.DeadLetter) { close(died) }})
	result := make(chan error, 1)
	go func() { result <- listener.Listen(ctx) }()
	await(t, died, "the dead letter")
	cancel()
	if err := await(t, result, "Listen"); err != nil {
		t.Fatal(err)
	}
}

// onlyLetter returns the one dead letter that there is.
func onlyLetter(t *testing.T, c *jswrap.Client) *deadletter.Letter {
	t.Helper()
	var all []*deadletter.Letter
	for l, err := range c.DeadLetters().List(testContext(t), deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	if len(all) != 1 {
		t.Fatalf("%d dead letters", len(all))
	}
	return all[0]
}

// Protection: opened, which takes the dead letter and the original out of their
// envelopes.
func TestADeadLetterInAnEnvelopeIsReplayed(t *testing.T) {
	const limit = 16 << 10
	settings := map[string]func(string) jswrap.Config{"an enveloping": enveloped, "a plain": config}
	for writer, writing := range settings {
		for replayer, replaying := range settings {
			for size, text := range map[string]string{"whole": "small", "cut": strings.Repeat("x", limit-900)} {
				t.Run(fmt.Sprintf("of %s client, by %s client, %s", writer, replayer, size), func(t *testing.T) {
					t.Parallel()
					url := natsserver.Run(t, natsserver.MaxPayload(limit)).URL()
					w, r := connect(t, writing(url)), connect(t, replaying(url))
					m := message(subject, `{"text":"`+text+`"}`)
					m.Time = time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
					m.Key = "T-1"
					m.Header = map[string][]string{"traceparent": {"00-1-2-01"}}
					before := time.Now().Add(-time.Second)
					if err := send(t, w, m); err != nil {
						t.Fatal(err)
					}
					bury(t, w)
					l := onlyLetter(t, r)
					if l.ID != m.ID || l.Died.Before(before) || (size == "cut") == l.Whole() {
						t.Errorf("letter %q died at %v, cut %q", l.ID, l.Died, l.Cut)
					}
					if writer == "an enveloping" && !l.Published.Equal(m.Time) {
						t.Errorf("published at %v, want %v", l.Published, m.Time)
					}
					if l.Cut == "" && !reflect.DeepEqual(l.Header, m.Header) {
						t.Errorf("headers %v", l.Header)
					}
					if err := r.DeadLetters().Replay(testContext(t), l); err != nil {
						t.Fatal(err)
					}
					// What a listener gets, where an envelope can tell when it was published.
					in := receive(t, r, group)
					got := in.want(string(m.Data))
					in.settle(got, ticketing.Ack)
					want := map[string][]string{
						"traceparent": {"00-1-2-01"}, ticketing.HeaderReplayGroup: {group.Group}, ticketing.HeaderReplayOf: {"1"},
					}
					if got.ID != m.ID || !reflect.DeepEqual(got.Header, want) {
						t.Errorf("replayed id %q, headers %v", got.ID, got.Header)
					}
					if sameTime := got.Time.Equal(l.Published); sameTime != (replayer == "an enveloping") {
						t.Errorf("replayed with the time %v, published at %v", got.Time, l.Published)
					}
					if writer == "an enveloping" && l.Cut != "headers" && l.Key != m.Key {
						t.Errorf("key %q, want %q", l.Key, m.Key)
					}
				})
			}
		}
	}
}
