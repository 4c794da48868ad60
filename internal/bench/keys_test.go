package main

import (
	"context"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
)

func TestTheTurnOfTheOtherKeysEndsWithTheirLastEvent(t *testing.T) {
	const n = 2*aggregates + 1
	turn := &turn{n: n}
	slow, handled := 0, 0
	h := apart(turn, func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
		handled++
		return nil
	}, func() { slow++ })
	event := storedEvents(small)
	handle := func(i int) {
		if err := h(t.Context(), &ticketing.Delivery[events.TicketCreated]{Event: event(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n - 2 {
		handle(i)
	}
	if turn.stopped {
		t.Error("the turn has ended before the last event of the others")
	}
	handle(n - 2)
	if !turn.stopped {
		t.Error("the turn has not ended with the last event of the others")
	}
	handle(n - 1) // one more of the key itself
	if slow != 3 || handled != n {
		t.Errorf("%d events of the key and %d in all, want 3 and %d", slow, handled, n)
	}
}
