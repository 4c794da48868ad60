package readme

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/inbox"
	inboxsqlite "github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	outboxsqlite "github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

// bookkeeping is a bank and its accounts, in one database.
type bookkeeping struct {
	db       *sql.DB
	store    *outboxsqlite.Store
	handled  *inboxsqlite.Store
	deposits *ticketing.Publisher[DepositReceived]
}

func (b *bookkeeping) deposit(ctx context.Context, id string, amount int64) error {
	store, deposits := b.store, b.deposits
	// region outbox
	err := outbox.InTx(ctx, store, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO deposits VALUES ($1, $2)`, id, amount); err != nil {
			return err
		}
		return deposits.Via(store.Tx(tx)).Publish(ctx, DepositReceived{ID: id, Amount: amount})
	})
	// endregion
	return err
}

func (b *bookkeeping) listener(c ticketing.Receiver) *ticketing.Listener[DepositReceived] {
	handled := b.handled
	// region inbox
	credit := inbox.Handler(handled.InTx, "accounts", func(ctx context.Context, tx *sql.Tx, d *ticketing.Delivery[DepositReceived]) error {
		_, err := tx.ExecContext(ctx, `UPDATE balance SET amount = amount + $1`, d.Event.Amount)
		return err
	})
	accounts := ticketing.NewListener(c, "accounts", credit, nil)
	// endregion
	return accounts
}

func TestADepositAndItsEventAreOneAndItsEffectToo(t *testing.T) {
	ctx := t.Context()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "bank.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `CREATE TABLE deposits (id TEXT PRIMARY KEY, amount INTEGER);
		CREATE TABLE balance (amount INTEGER); INSERT INTO balance VALUES (0)`); err != nil {
		t.Fatal(err)
	}
	store, err := outboxsqlite.New(db, nil)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	handled, err := inboxsqlite.New(db, nil)
	if err == nil {
		err = handled.Migrate(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	var broker natstest.Recorder
	bank := &bookkeeping{db, store, handled, ticketing.NewPublisher[DepositReceived](&broker, nil)}

	if err := bank.deposit(ctx, "D-1", 500); err != nil {
		t.Fatal(err)
	}
	if err := bank.deposit(ctx, "D-1", 3); err == nil {
		t.Error("two deposits have one id")
	}
	relaying, stop := context.WithCancel(ctx)
	relayed := make(chan error, 1)
	go func() {
		ctx, c := relaying, &broker
		// region relay
		err := outbox.NewRelay(store, c, nil).Run(ctx)
		// endregion
		relayed <- err
	}()
	event := natstest.Await[DepositReceived](ctx, t, &broker, nil)
	stop()
	if err := <-relayed; err != nil {
		t.Error(err)
	}
	natstest.RequireSequence(t, &broker, DepositReceived{ID: "D-1", Amount: 500})

	natstest.Listen(t, bank.listener(&broker))
	for range 2 {
		if res := natstest.Deliver(t, &broker, event, natstest.WithID("event-1")); !res.Acked() {
			t.Error(res)
		}
	}
	var balance int64
	if err := db.QueryRowContext(ctx, `SELECT amount FROM balance`).Scan(&balance); err != nil || balance != 500 {
		t.Errorf("the balance is %d, want 500; %v", balance, err)
	}
}
