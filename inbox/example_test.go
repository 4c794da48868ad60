package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
)

// Deposit is an event.
type Deposit struct {
	Account string
	Amount  int
}

func (Deposit) Subject() ticketing.Subject { return "deposit:received" }

// A deposit is credited once, although it is delivered twice.
func ExampleHandler() {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "accounts.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	if _, err := db.ExecContext(ctx, `CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)`); err != nil {
		log.Fatal(err)
	}

	in, err := sqlite.New(db, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := in.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	handle := inbox.Handler(in.InTx, "accounts", func(ctx context.Context, tx *sql.Tx, d *ticketing.Delivery[Deposit]) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO balances VALUES (?, ?)
			ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`, d.Event.Account, d.Event.Amount)
		return err
	})
	// A service gives it to ticketing.NewListener. This is what that does:
	for range 2 {
		if err := handle(ctx, &ticketing.Delivery[Deposit]{Event: Deposit{"A", 10}, ID: "deposit-1"}); err != nil {
			log.Fatal(err)
		}
	}

	var amount int
	if err := db.QueryRowContext(ctx, `SELECT amount FROM balances WHERE account = 'A'`).Scan(&amount); err != nil {
		log.Fatal(err)
	}
	fmt.Println(amount)
	// Output: 10
}
