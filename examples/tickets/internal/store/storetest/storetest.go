// Package storetest helps with tests of what writes into the outbox.
package storetest

import (
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Relay sends what is in s's outbox to the recorder of a test, in the order in
// which it was committed, and takes it out. The service has an [outbox.Relay]
// for this, which runs in the background; a test wants to know that it is done.
func Relay(t testing.TB, s *store.Store, to ticketing.Sender) {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	lease, ok, err := s.Outbox.Acquire(ctx, "storetest", time.Minute)
	fail(err)
	if !ok {
		t.Fatal("storetest: a relay of this outbox is running")
	}
	var rows []outbox.Row
	for row, err := range s.Outbox.Pending(ctx, outbox.Query{Limit: 1_000_000}) {
		fail(err)
		rows = append(rows, row)
	}
	var sent []outbox.Ref
	for _, row := range rows {
		to.Send(ctx, &row.Message, fail)
		sent = append(sent, row.Ref())
	}
	fail(s.Outbox.Settle(ctx, lease, outbox.Settlement{Sent: sent}))
}
