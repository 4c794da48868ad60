package outboxtest_test

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/outboxtest"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

func TestAnEventIsPublishedInItsTransactionAndAbsentAfterARollback(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		box := outboxtest.New(t, r.store)
		tx := r.begin(t)
		tx.publish(t, "T1")
		if got := natstest.RequireOnePublished[events.TicketCreated](t, tx.in(t, box)); got.ID != "T1" {
			t.Errorf("got %+v", got)
		}
		natstest.RequireNonePublished[events.TicketCreated](t, box.Committed(t))
		if err := tx.rollback(); err != nil {
			t.Fatal(err)
		}
		natstest.RequireNonePublished[events.TicketCreated](t, box.Committed(t))
		next := r.begin(t)
		natstest.RequireNonePublished[events.TicketCreated](t, next.in(t, box))
	})
}

// A whole test, as docs/outbox.md shows it.
func TestAServiceWritesItsEventInTheTransaction(t *testing.T) {
	db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "test.db"))
	store, err := sqlite.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	svc := service{store, ticketing.NewPublisher[events.TicketCreated](new(natstest.Recorder), nil)}
	// region transaction
	box := outboxtest.New(t, store)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.create(t.Context(), tx, "t1", "A concert"); err != nil {
		t.Fatal(err)
	}
	natstest.RequireOnePublished[events.TicketCreated](t, box.In(t, tx))

	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	natstest.RequireNonePublished[events.TicketCreated](t, box.Committed(t))
	// endregion
}

func TestCommittedEventsAreThereInTheirOrder(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		box := outboxtest.New(t, r.store)
		for _, ids := range [][]string{{"T3", "T1"}, {"T2"}} {
			tx := r.begin(t)
			for _, id := range ids {
				tx.publish(t, id)
			}
			tx.mustCommit(t)
		}
		tx := r.begin(t)
		want := []ticketing.Event{
			events.TicketCreated{ID: "T3", Title: "concert"},
			events.TicketCreated{ID: "T1", Title: "concert"},
			events.TicketCreated{ID: "T2", Title: "concert"},
		}
		natstest.RequireSequence(t, box.Committed(t), want...)
		tx.publish(t, "T4")
		natstest.RequireSequence(t, tx.in(t, box), append(want, events.TicketCreated{ID: "T4", Title: "concert"})...)
		natstest.RequireSequence(t, box.Committed(t), want...)
	})
}

func TestWhatWasThereBeforeDoesNotCount(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		before := outboxtest.New(t, r.store)
		tx := r.begin(t)
		tx.publish(t, "T1")
		tx.mustCommit(t)
		box := outboxtest.New(t, r.store)
		natstest.RequireSequence(t, box.Committed(t))
		tx = r.begin(t)
		tx.publish(t, "T2")
		natstest.RequireSequence(t, tx.in(t, box), events.TicketCreated{ID: "T2", Title: "concert"})
		tx.mustCommit(t)
		natstest.RequireSequence(t, box.Committed(t), events.TicketCreated{ID: "T2", Title: "concert"})
		if got := natstest.Published[events.TicketCreated](t, before.Committed(t)); len(got) != 2 {
			t.Errorf("%+v are there for who looked first, want both", got)
		}
	})
}

func TestARecordHasAllOfItsMessage(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		box := outboxtest.New(t, r.store)
		tx := r.begin(t)
		began := time.Now().Add(-time.Second)
		tx.publish(t, "T1", ticketing.WithID("e1"), ticketing.WithHeader("Traceparent", "00-1-2-01"))
		check := func(rec *natstest.Recorder) {
			t.Helper()
			for _, m := range natstest.RequireSequence(t, rec, events.TicketCreated{ID: "T1", Title: "concert"}) {
				if m.ID != "e1" || m.Key != "T1" || !slices.Equal(m.Header["Traceparent"], []string{"00-1-2-01"}) || m.Time.Before(began) {
					t.Errorf("%+v", m)
				}
			}
		}
		check(tx.in(t, box))
		tx.mustCommit(t)
		check(box.Committed(t))
	})
}

func TestARecorderHoldsWhatThereWasAtTheCall(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		box := outboxtest.New(t, r.store)
		tx := r.begin(t)
		rec := tx.in(t, box)
		tx.publish(t, "T1")
		tx.mustCommit(t)
		natstest.RequireSequence(t, rec)
	})
}

func TestAFailureShowsTheNearestEvents(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		box := outboxtest.New(t, r.store)
		tx := r.begin(t)
		tx.publish(t, "T1")
		got := failure(func(t testing.TB) {
			natstest.RequirePublished(t, tx.in(t, box), events.TicketCreated{ID: "T1", Title: "opera"})
		})
		for _, want := range []string{"the wanted ticket:created was not published; nearest of 1 (-want +got):", `"opera"`, `"concert"`} {
			if !strings.Contains(got, want) {
				t.Errorf("the text has no %s:\n%s", want, got)
			}
		}
		if err := tx.rollback(); err != nil {
			t.Fatal(err)
		}
		got = failure(func(t testing.TB) { natstest.RequireOnePublished[events.TicketCreated](t, box.Committed(t)) })
		if want := "natstest: no ticket:created was published\nnothing at all was recorded"; got != want {
			t.Errorf("the text is\n%s\nwant\n%s", got, want)
		}
	})
}

func TestManyCommittedEventsAreAllThere(t *testing.T) {
	everyRoad(t, func(t *testing.T, r *road) {
		box := outboxtest.New(t, r.store)
		const n = 1001 // more than one read
		tx := r.begin(t)
		for i := range n {
			tx.publish(t, fmt.Sprint("T", i))
		}
		tx.mustCommit(t)
		if got := len(natstest.Published[events.TicketCreated](t, box.Committed(t))); got != n {
			t.Errorf("%d events, want %d", got, n)
		}
	})
}

func TestATableThatCannotBeReadFailsTheTest(t *testing.T) {
	for name, open := range roads {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			got := failure(func(t testing.TB) { outboxtest.New(t, r.store) })
			if want := "outboxtest: the outbox cannot be read: " + outbox.ErrNotMigrated.Error(); !strings.HasPrefix(got, want) {
				t.Errorf("New: %q, want %q", got, want)
			}
			if err := r.store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			box := outboxtest.New(t, r.store)
			tx := r.begin(t)
			tx.mustCommit(t)
			if got := failure(func(t testing.TB) { tx.in(t, box) }); name != "sqlite connection" && !strings.HasPrefix(got, "outboxtest: the outbox cannot be read: ") {
				t.Errorf("In with a transaction that has ended: %q", got)
			}
		})
	}
}

// exhausted is a store whose pool had no connection within the time.
type exhausted struct{ outboxtest.Store }

func (exhausted) Pending(context.Context, outbox.Query) iter.Seq2[outbox.Row, error] {
	return func(yield func(outbox.Row, error) bool) { yield(outbox.Row{}, context.DeadlineExceeded) }
}

func TestCommittedSaysThatItNeedsAConnection(t *testing.T) {
	r := roads["sqlite"](t)
	if err := r.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	box := outboxtest.New(t, exhausted{r.store})
	if got := failure(func(t testing.TB) { box.Committed(t) }); !strings.Contains(got, "SetMaxOpenConns") {
		t.Errorf("the text is %q", got)
	}
}
