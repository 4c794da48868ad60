package outbench

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/google/uuid"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/sqlstore"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
)

// Tickets makes the business's table.
const Tickets = `CREATE TABLE tickets (id varchar(36) PRIMARY KEY, key text NOT NULL, title text NOT NULL, price int NOT NULL)`

const insertTicket = `INSERT INTO tickets (id, key, title, price) VALUES ($1, $2, $3, $4)`

// Through returns a DB that writes through database/sql: by hand with db, and
// insert, a statement for the id, key, subject and payload of an event and
// what now returns. Fill, Select and Delete are left to the caller.
func Through(s faulttest.Store, db *sql.DB, insert string, now func() []any) *DB {
	publisher := ticketing.NewPublisher[Event](s.Tx(db), nil)
	wake := new(outbox.Wakeups)
	business := func(ctx context.Context, tx *sql.Tx, key string) (Event, error) {
		e := NewEvent(key)
		_, err := tx.ExecContext(ctx, insertTicket, uuid.NewString(), key, e.Title, e.Price)
		return e, err
	}
	return &DB{
		Store: s,
		Wake:  wake,
		Write: func(ctx context.Context, key string) error {
			return outbox.InTx(ctx, s, func(tx *sql.Tx) error {
				e, err := business(ctx, tx, key)
				if err != nil {
					return err
				}
				return publisher.Via(s.Tx(tx)).Publish(ctx, e)
			})
		},
		Hand: func(ctx context.Context, key string) error {
			defer wake.Wake()
			return sqlstore.InTx(ctx, db, func(tx *sql.Tx) error {
				e, err := business(ctx, tx, key)
				if err != nil {
					return err
				}
				data, err := json.Marshal(e)
				if err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, insert, append([]any{newID(), key, string(e.Subject()), data}, now()...)...)
				return err
			})
		},
		Business: func(ctx context.Context, key string) error {
			return sqlstore.InTx(ctx, db, func(tx *sql.Tx) error {
				_, err := business(ctx, tx, key)
				return err
			})
		},
	}
}

// newID is an id as publishers make them.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Sample is what Fill fills a table with: an id's beginning, and a payload.
func Sample() (prefix string, data []byte, err error) {
	data, err = json.Marshal(NewEvent("key"))
	return newID(), data, err
}
