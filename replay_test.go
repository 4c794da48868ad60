package ticketing_test

import (
	"context"
	"testing"
	"testing/synctest"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestAReplayIsHandledByTheGroupThatFailedAndSkippedByTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled []uint64
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			handled = append(handled, d.Sequence)
			return nil
		}, ticketing.ListenerOptions{})
		for _, group := range []string{"group", "another"} {
			in := l.broker.inbound(`{"id":"a"}`, 1)
			in.Header[ticketing.HeaderReplayGroup] = []string{group}
			l.broker.feed <- in
			l.want(ticketing.Ack)
		}
		if len(handled) != 1 || handled[0] != 1 {
			t.Errorf("handled the events %v, want the first alone", handled)
		}
		l.stop()
	})
}

// Anyone may write such a header.
func TestAHeaderOfAReplayThatIsNoneKeepsNothingInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil }, ticketing.ListenerOptions{})
		l.broker.sendErr = func(m *ticketing.Message) error { return m.Validate() }
		in := l.broker.inbound(`garbage`, 1)
		in.Header[ticketing.HeaderReplayOf] = []string{"x\x01"}
		l.broker.feed <- in
		l.want(ticketing.Drop)
		l.stop()
	})
}

// A broker that deduplicates takes a dead letter with the last one's id for
// stored, and the event would be nowhere.
func TestTheDeadLetterOfAReplayHasADedupeIDOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			return ticketing.Permanent(errScripted)
		}, ticketing.ListenerOptions{})
		first := l.broker.inbound(`{"id":"a"}`, 1)
		l.broker.feed <- first
		l.want(ticketing.Drop)
		replay := l.broker.inbound(`{"id":"a"}`, 1)
		replay.ID = first.ID
		replay.Header[ticketing.HeaderReplayGroup] = []string{"group"}
		replay.Header[ticketing.HeaderReplayOf] = []string{"17"}
		l.broker.feed <- replay
		l.want(ticketing.Drop)
		one, two := <-l.broker.sent, <-l.broker.sent
		if one.ID != two.ID || one.DedupeID == two.DedupeID {
			t.Errorf("dead letters %q and %q with dedupe ids %q and %q", one.ID, two.ID, one.DedupeID, two.DedupeID)
		}
		l.stop()
	})
}
