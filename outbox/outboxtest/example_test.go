package outboxtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/outboxtest"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// printTB stands for the t of a test: it prints what would fail it.
type printTB struct{ testing.TB }

func (printTB) Helper()                           {}
func (printTB) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// t is the *testing.T of your test.
var t printTB

// service is what is tested.
type service struct {
	store   *sqlite.Store
	created *ticketing.Publisher[events.TicketCreated]
}

// create writes the event in a transaction of the caller's.
func (s service) create(ctx context.Context, tx *sql.Tx, id, title string) error {
	return s.created.Via(s.store.Tx(tx)).Publish(ctx, events.TicketCreated{ID: id, Title: title})
}

// Create refuses a ticket without a title when it has written the event already.
func (s service) Create(ctx context.Context, id, title string) error {
	return outbox.InTx(ctx, s.store, func(tx *sql.Tx) error {
		if err := s.create(ctx, tx, id, title); err != nil {
			return err
		}
		if title == "" {
			return errors.New("a ticket has a title")
		}
		return nil
	})
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "outboxtest") // in a test: t.TempDir()
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "tickets.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlite.New(db, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	svc := service{store, ticketing.NewPublisher[events.TicketCreated](new(natstest.Recorder), nil)}
	box := outboxtest.New(t, store)

	// Published in this transaction, absent after its rollback.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := svc.create(ctx, tx, "t1", "A concert"); err != nil {
		log.Fatal(err)
	}
	got := natstest.RequireOnePublished[events.TicketCreated](t, box.In(t, tx))
	fmt.Println("in the transaction:", got.ID, got.Title)
	if err := tx.Rollback(); err != nil {
		log.Fatal(err)
	}
	natstest.RequireNonePublished[events.TicketCreated](t, box.Committed(t))

	// The service's own transactions: what they left behind.
	fmt.Println("refused:", svc.Create(ctx, "t2", ""))
	natstest.RequireNonePublished[events.TicketCreated](t, box.Committed(t))
	if err := svc.Create(ctx, "t3", "A play"); err != nil {
		log.Fatal(err)
	}
	natstest.RequirePublished(t, box.Committed(t), events.TicketCreated{ID: "t3", Title: "A play"})

	// What a failure looks like.
	natstest.RequireSequence(t, box.Committed(t), events.TicketCreated{ID: "t3", Title: "An opera"})
	// Output:
	// in the transaction: t1 A concert
	// refused: a ticket has a title
	// natstest: the recorded sequence differs (-want +got):
	//   ticket:created t3
	//       events.TicketCreated{
	//       	ID:      "t3",
	//     - 	Title:   "An opera",
	//     + 	Title:   "A play",
	//       	Price:   0,
	//       	UserID:  "",
	//       	Version: 0,
	//       }
}
