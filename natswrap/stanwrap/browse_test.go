package stanwrap

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// What comes on the next connection may be behind what was lost with the last.
func TestAMessageThatComesAfterTheConnectionWasLostIsNotRead(t *testing.T) {
	c := fakeClient(t, Config{}, nil)
	b := &browsing{c: c, link: c.link.Load(), sess: c.session(), msgs: make(chan *stan.Msg, 1)}
	b.msgs <- seqMsg(1, 10)
	if m, err := b.next(t.Context(), time.Minute); err != nil || m.Sequence != 1 {
		t.Errorf("before: %v, %v", m, err)
	}
	c.link.Set(false)
	c.link.Set(true)
	for range 50 { // several ways out, and no luck in which is taken
		b.msgs = make(chan *stan.Msg, 1)
		b.msgs <- seqMsg(3, 10)
		if _, err := b.next(t.Context(), time.Nanosecond); !errors.Is(err, ticketing.ErrNotConnected) {
			t.Fatalf("after: %v, want that the connection was lost", err)
		}
	}
}
