package fromnode

import (
	"context"
	"database/sql"
	"testing"

	_ "modernc.org/sqlite" // the driver

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// region outbox

// Catalogue keeps tickets in a database, and their events beside them.
type Catalogue struct {
	outbox  *sqlite.Store
	created *events.TicketCreatedPublisher
}

func (c *Catalogue) Create(ctx context.Context, ticket Ticket) error {
	return outbox.InTx(ctx, c.outbox, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tickets (id, title, price) VALUES (?, ?, ?)`, ticket.ID, ticket.Title, ticket.Price)
		if err != nil {
			return err
		}
		return c.created.Via(c.outbox.Tx(tx)).Publish(ctx, ticket.created())
	})
}

// endregion

func TestATicketAndItsEventAreCommittedTogether(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if _, err := db.ExecContext(ctx, `CREATE TABLE tickets (id TEXT PRIMARY KEY, title TEXT, price REAL)`); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.New(db, nil)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	client := new(natstest.Recorder)
	catalogue := &Catalogue{store, ticketing.NewPublisher[events.TicketCreated](client, nil)}

	if err := catalogue.Create(ctx, Ticket{ID: "t1", Title: "concert", Price: 20}); err != nil {
		t.Fatal(err)
	}
	if err := catalogue.Create(ctx, Ticket{ID: "t1", Title: "theatre", Price: 30}); err == nil {
		t.Error("two tickets have one id")
	}
	natstest.RequireSequence(t, client) // only the relay publishes

	relayed := make(chan error, 1)
	go func() {
		// region relay
		relay := outbox.NewRelay(store, client, nil)
		err := relay.Run(ctx) // beside HTTP and the listeners, until ctx ends
		// endregion
		relayed <- err
	}()
	natstest.Await[events.TicketCreated](ctx, t, client, nil)
	stop()
	if err := <-relayed; err != nil {
		t.Error(err)
	}
	natstest.RequireSequence(t, client, events.TicketCreated{ID: "t1", Title: "concert", Price: 20})
}
