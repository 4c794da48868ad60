package jswrap_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

func enveloped(url string) jswrap.Config {
	cfg := config(url)
	cfg.CloudEvents, cfg.Source = true, "tickets"
	return cfg
}

func TestBothKindsOfMessagesAreReadWhateverTheSetting(t *testing.T) {
	s := natsserver.Run(t)
	wrapped, plain := connect(t, enveloped(s.URL())), connect(t, config(s.URL()))
	const event = `{"price":20.50}`
	sent := message(subject, event)
	sent.Key, sent.Time = "order 7", time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
	sent.Header = map[string][]string{"traceparent": {"00-1-2-01"}, "X-Many": {"one", "two"}}
	if err := send(t, wrapped, sent); err != nil {
		t.Fatal(err)
	}
	mustSend(t, plain, subject, event)
	foreign := nats.NewMsg(string(subject))
	foreign.Data = []byte(event)
	foreign.Header = nats.Header{
		"Nats-Msg-Id": {"another"}, "ce-specversion": {"1.0"}, "ce-id": {"foreign"}, "ce-source": {"s"}, "ce-type": {"t"}, "ce-ext": {"e"},
	}
	if _, err := plain.JetStream().PublishMsg(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*jswrap.Client{"wrapped": wrapped, "plain": plain} {
		in := receive(t, c, ticketing.Subscription{Subject: subject, Group: name})
		m := in.next()
		got := m.Message
		got.DedupeID = ""
		if !reflect.DeepEqual(got, *sent) {
			t.Errorf("%s: got\n%+v, want\n%+v", name, got, *sent)
		}
		for _, id := range []string{"", "foreign"} {
			m := in.next()
			if string(m.Data) != event || id != "" && (m.ID != id || fmt.Sprint(m.Header) != "map[ce-ext:[e]]") {
				t.Errorf("%s: got %+v, want id %q", name, m.Message, id)
			}
			if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
				t.Error(err)
			}
		}
		if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
			t.Error(err)
		}
		in.stop()
		if err := await(t, in.result, "the end of Receive"); err != nil {
			t.Error(err)
		}
	}
}

func TestTheEnvelopeCountsTowardsMaxPayload(t *testing.T) {
	s := natsserver.Run(t, natsserver.MaxPayload(64<<10))
	wrapped, plain := connect(t, enveloped(s.URL())), connect(t, config(s.URL()))
	data := strings.Repeat("x", 64<<10-150)
	mustSend(t, plain, subject, data)
	err := send(t, wrapped, message(subject, data))
	for _, want := range []error{ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge} {
		if err == nil || !strings.Contains(err.Error(), "CloudEvents envelope") || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%v, want %v and the envelope named", err, want)
		}
	}
}

func TestASourceIsRequiredAndChecked(t *testing.T) {
	for source, want := range map[string]string{"": "are empty", "a b": "is not a URI reference"} {
		_, err := jswrap.Connect(testContext(t), jswrap.Config{URLs: []string{"nats://127.0.0.1:1"}, CloudEvents: true, Source: source})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("source %q: %v, want %q", source, err, want)
		}
	}
}
