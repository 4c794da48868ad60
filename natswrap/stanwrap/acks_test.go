package stanwrap

import (
	"testing"

	"github.com/nats-io/stan.go"

	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// settler remembers what a test settles, over the link it has.
type settler struct {
	*acks
	now *natsconn.LinkState
}

func newSettler(window int) *settler { return &settler{newAcks(window), new(natsconn.LinkState)} }

func seqMsg(seq uint64, timestamp int64) *stan.Msg {
	m := new(stan.Msg)
	m.Subject, m.Sequence, m.Timestamp = "ticket:created", seq, timestamp
	m.Data = make([]byte, 100)
	return m
}

func (s *settler) settle(m *stan.Msg, acked bool) {
	d := &delivery{key: identityOf(m), acked: acked}
	d.msg.Store(m)
	s.remember([]*delivery{d}, s.now)
}

func TestWhatIsDoneIsRememberedForAWindow(t *testing.T) {
	a := newSettler(3)
	a.settle(seqMsg(1, 10), false)
	for seq := uint64(2); seq <= 6; seq++ {
		a.settle(seqMsg(seq, 10), true)
	}
	for seq, want := range map[uint64]bool{1: true, 2: false, 3: false, 4: true, 5: true, 6: true, 7: false} {
		if got := a.done(seqMsg(seq, 10)); got != want {
			t.Errorf("message %d is done: %v, want %v", seq, got, want)
		}
	}
	if a.done(seqMsg(1, 11)) || a.done(seqMsg(6, 11)) {
		t.Error("a message of another timestamp is taken for one that is done")
	}
	a.settle(seqMsg(1, 10), true) // a server that crashed does not flag it as a redelivery
	if n := len(a.allUnsent()); n != 0 {
		t.Errorf("%d acknowledgements are still to be sent", n)
	}
}

// The acknowledgements of 3 and 4 are lost with the link. One place is left for
// what comes then, until the ack wait is over.
func TestWhatWasLostWithALinkIsRememberedWhileTheNextOneIsBusy(t *testing.T) {
	a := newSettler(3)
	for seq := uint64(1); seq <= 4; seq++ {
		a.settle(seqMsg(seq, 10), true)
	}
	a.now = new(natsconn.LinkState) // down
	a.settle(seqMsg(5, 10), false)
	a.now = new(natsconn.LinkState)
	for seq := uint64(6); seq <= 99; seq++ {
		a.settle(seqMsg(seq, 10), true)
	}
	for seq, want := range map[uint64]bool{1: false, 2: true, 3: true, 4: true, 5: true, 96: false, 97: true, 99: true} {
		if got := a.done(seqMsg(seq, 10)); got != want {
			t.Errorf("message %d is done: %v, want %v", seq, got, want)
		}
	}
}

// In a group others get what this member could not acknowledge: nothing tells
// that it is not needed any more.
func TestWhatCouldNotBeAcknowledgedIsKeptForAWindowAndWithoutItsPayload(t *testing.T) {
	a := newSettler(3)
	for seq := uint64(1); seq <= 99; seq++ {
		a.keep(seqMsg(seq, 10))
		a.keep(seqMsg(seq, 10)) // once more does not count
	}
	left := a.allUnsent()
	if len(left) != 3 || !a.done(seqMsg(97, 10)) || !a.done(seqMsg(99, 10)) || a.done(seqMsg(96, 10)) {
		t.Errorf("%d are kept, want the last 3", len(left))
	}
	for _, m := range left {
		if m.Data != nil || m.Subject != "ticket:created" || m.Sequence == 0 {
			t.Errorf("kept: %+v, want what an acknowledgement needs", m)
		}
	}
}
