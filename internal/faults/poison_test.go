package faults

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// An event of others that is just small enough to be stored, and that cannot be
// handled: with the subject and the headers of a dead letter it is too large.
// Without cutMore in ticketing such events would fill the window for ever.
func TestADeadLetterThatIsTooLargeIsStoredInPart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		c := connect(t, b.config(b.url))
		limit := int(c.Conn().MaxPayload())
		if s, ok := c.Stan(); ok {
			// Its framing depends on the length of its ids.
			stored := false
			for n := limit; n > limit-1024 && !stored; n-- {
				stored = s.Publish("ticket:created", make([]byte, n)) == nil
			}
			if !stored {
				t.Fatal("no size fits")
			}
		} else if js, ok := c.JetStream(); ok {
			if _, err := js.Publish(t.Context(), "ticket:created", make([]byte, limit)); err != nil {
				t.Fatal(err)
			}
		}
		requireBuried(t, c, 1)
	})
}

// Headers that this module refuses to send, from a publisher that does.
func TestADeadLetterLeavesOutHeadersThatCannotBeSent(t *testing.T) {
	t.Parallel()
	c := connect(t, natswrap.Config{URLs: []string{natsserver.Run(t).URL()}, ClientID: "tickets-0", Logger: quiet})
	js, _ := c.JetStream()
	headers := []nats.Header{{"X": {"a\x01b"}}, {"nats-x": {"ab"}}, {"Ticketing-Id": {"a\x01b"}}, {"X": {strings.Repeat("h", 60_000)}}}
	for _, h := range headers {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "ticket:created", Header: h, Data: []byte("bad")}); err != nil {
			t.Fatal(err)
		}
	}
	requireBuried(t, c, len(headers))
}

// requireBuried listens, and waits for n dead letters.
func requireBuried(t *testing.T, c *natswrap.Client, n int) {
	t.Helper()
	buried := make(chan struct{}, 16)
	listen(t, c, "g", ticketing.ListenerOptions{Logger: quiet, OnDeadLetter: func(ticketing.DeadLetter) { buried <- struct{}{} }})
	for range n {
		await(t, "the dead letter", buried)
	}
}
