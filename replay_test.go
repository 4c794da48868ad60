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

// A broker that deduplicates takes a dead letter with the last one's id for
// stored, and the event would be nowhere.
func TestTheDeadLetterOfAReplayHasADedupeIDOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			return ticketing.Permanent(errScripted)
		}, ticketing.ListenerOptions{})
		in := l.broker.inbound(`{"id":"a"}`, 1)
		in.Header[ticketing.HeaderReplayGroup] = []string{"group"}
		in.Header[ticketing.HeaderReplayOf] = []string{"17"}
		l.broker.feed <- in
		l.want(ticketing.Drop)
		if m := <-l.broker.sent; m.ID != in.ID || m.DedupeID != in.ID+"/replay/17/dead/group" {
			t.Errorf("dead letter %q with dedupe id %q", m.ID, m.DedupeID)
		}
		l.stop()
	})
}
