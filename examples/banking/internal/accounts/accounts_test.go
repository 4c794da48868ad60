package accounts_test

import (
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/accounts"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fixture is a service that listens.
type fixture struct {
	*accounts.Service
	db     *sql.DB
	broker natstest.Recorder
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.db")
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := sqlite.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{db: db}
	if f.Service, err = accounts.New(t.Context(), db, store, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	natstest.Listen(t, f.Listener(&f.broker))
	return f
}

func (f *fixture) requireBalance(t *testing.T, account string, want int64) {
	t.Helper()
	got, err := f.Balance(t.Context(), account)
	if err != nil || got != want {
		t.Errorf("the balance of %s is %d, error %v, want %d", account, got, err, want)
	}
}

func TestDepositsAreCreditedToTheirAccounts(t *testing.T) {
	f := newFixture(t)
	for _, d := range []bank.DepositReceived{
		{ID: "D-1", Account: "alice", Amount: 100},
		{ID: "D-2", Account: "bob", Amount: 20},
		{ID: "D-3", Account: "alice", Amount: 3},
	} {
		if res := natstest.Deliver(t, &f.broker, d); !res.Acked() {
			t.Fatal(res)
		}
	}
	f.requireBalance(t, "alice", 103)
	f.requireBalance(t, "bob", 20)
	f.requireBalance(t, "carol", 0)
}

func TestADepositIsCreditedOnceUnderWhateverIDItsEventArrives(t *testing.T) {
	f := newFixture(t)
	d := bank.DepositReceived{ID: "D-1", Account: "alice", Amount: 100}
	for _, id := range []string{"D-1", "D-1", "ticketing/deposit:received/7"} { // the last as on NATS Streaming
		if res := natstest.Deliver(t, &f.broker, d, natstest.WithID(id)); !res.Acked() {
			t.Fatal(res)
		}
	}
	f.requireBalance(t, "alice", 100)
}

func TestADepositThatCannotBeCreditedComesAgain(t *testing.T) {
	f := newFixture(t)
	if _, err := f.db.Exec(`ALTER TABLE balances RENAME TO away`); err != nil {
		t.Fatal(err)
	}
	d := bank.DepositReceived{ID: "D-1", Account: "alice", Amount: 100}
	if res := natstest.Deliver(t, &f.broker, d); !res.Retried() {
		t.Fatal(res)
	}
	if _, err := f.db.Exec(`ALTER TABLE away RENAME TO balances`); err != nil {
		t.Fatal(err)
	}
	if res := natstest.Deliver(t, &f.broker, d, natstest.WithAttempt(2)); !res.Acked() {
		t.Fatal(res)
	}
	f.requireBalance(t, "alice", 100)
}
