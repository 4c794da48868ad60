package stanwrap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func enveloped(id string) func(*stanwrap.Config) {
	return func(c *stanwrap.Config) { c.ClientID, c.CloudEvents, c.Source = id, true, "tickets" }
}

func TestBothKindsOfMessagesAreReadWhateverTheSetting(t *testing.T) {
	s := stanserver.Run(t)
	wrapped, plain, raw := connect(t, s.URL(), enveloped("wrapped")), connect(t, s.URL(), clientID("plain")), connectRaw(t, s, "raw")
	const event = `{"price":20.50}`
	twice := message(event)
	send := func(c *stanwrap.Client) {
		if err := await(t, start(t.Context(), c, twice)); err != nil {
			t.Fatal(err)
		}
	}
	send(wrapped)
	send(wrapped) // the publisher's own duplicate
	send(plain)
	if err := raw.Publish(string(subject), []byte(event)); err != nil { // as the Node package does
		t.Fatal(err)
	}
	for name, c := range map[string]*stanwrap.Client{"wrapped": wrapped, "plain": plain} {
		sub := subscription()
		sub.Group = name
		in := receive(t, c, sub)
		ids := make(map[string]int)
		for range 4 {
			m := in.want(event)
			ids[m.ID]++
			in.ack(m)
		}
		if len(ids) != 3 || ids[twice.ID] != 2 {
			t.Errorf("%s: ids and how often they came: %v; want %q twice, and two others", name, ids, twice.ID)
		}
		in.stop()
	}
	stored := make(chan *stan.Msg, 4)
	sub, err := raw.Subscribe(string(subject), func(m *stan.Msg) { stored <- m }, stan.DeliverAllAvailable())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if m := <-stored; !strings.Contains(string(m.Data), `"source":"tickets"`) || !strings.HasSuffix(string(m.Data), `"data":`+event+`}`) {
		t.Errorf("stored is %s", m.Data)
	}
}

func TestTheEnvelopeCountsTowardsMaxPayload(t *testing.T) {
	s := stanserver.Run(t)
	wrapped, plain := connect(t, s.URL(), enveloped("wrapped")), connect(t, s.URL(), clientID("plain"))
	data := `"` + strings.Repeat("x", 1<<20-120) + `"`
	m := &ticketing.Message{ID: "id", Subject: subject, Data: []byte(data)}
	if err := await(t, start(t.Context(), plain, m)); err != nil {
		t.Fatal(err)
	}
	err := await(t, start(t.Context(), wrapped, m))
	is(t, err, ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge)
	if !strings.Contains(fmt.Sprint(err), "CloudEvents envelope") {
		t.Errorf("%v does not name the envelope", err)
	}
	m.ID, m.Data = "a\tb", nil
	is(t, await(t, start(t.Context(), wrapped, m)), ticketing.ErrRejected, ticketing.ErrInvalidEvent)
}
