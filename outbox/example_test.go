package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// A ticket and its event are committed together. A relay publishes the event
// whenever the broker is there.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "tickets.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`CREATE TABLE tickets (id TEXT PRIMARY KEY, title TEXT)`); err != nil {
		log.Fatal(err)
	}

	store, err := sqlite.New(db, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err)
	}

	// In a service the broker is a natswrap.Client.
	broker := new(natstest.Recorder)
	created := ticketing.NewPublisher[events.TicketCreated](broker, nil)

	err = outbox.InTx(ctx, store, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO tickets VALUES ('t1', 'A concert')`); err != nil {
			return err
		}
		return created.Via(store.Tx(tx)).Publish(ctx, events.TicketCreated{ID: "t1", Title: "A concert"})
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("published by the transaction:", len(broker.Messages()))

	relay := outbox.NewRelay(store, ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) (err error) {
		broker.Send(ctx, m, func(e error) { err = e })
		fmt.Println("published by the relay:", m.Subject)
		stop() // a service does so when it ends
		return err
	}), &outbox.RelayOptions{Logger: slog.New(slog.DiscardHandler)})
	if err := relay.Run(ctx); err != nil {
		log.Fatal(err)
	}
	stats, err := relay.Stats(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pending:", stats.Pending)
	// Output:
	// published by the transaction: 0
	// published by the relay: ticket:created
	// pending: 0
}
