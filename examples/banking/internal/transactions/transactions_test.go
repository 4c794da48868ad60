package transactions_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/transactions"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type fixture struct {
	*transactions.Service
	store  *sqlite.Store
	broker natstest.Recorder
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "transactions.db")
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := new(fixture)
	if f.store, err = sqlite.New(db, nil); err != nil {
		t.Fatal(err)
	}
	if f.Service, err = transactions.New(t.Context(), db, f.store, &f.broker, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return f
}

var deposit = transactions.Deposit{ID: "D-1", Account: "alice", Amount: 100}

// requireBooked wants the table of deposits to have these.
func (f *fixture) requireBooked(t *testing.T, want map[string]int64) {
	t.Helper()
	got, err := f.Booked(t.Context())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("booked %v, error %v, want %v", got, err, want)
	}
}

// requirePending wants the outbox to have so many events.
func (f *fixture) requirePending(t *testing.T, want int64) {
	t.Helper()
	stats, err := f.store.Stats(t.Context())
	if err != nil || stats.Pending != want {
		t.Errorf("%d events are pending, error %v, want %d", stats.Pending, err, want)
	}
}

func TestADepositIsBookedWithItsEventWhileTheBrokerIsAway(t *testing.T) {
	f := newFixture(t)
	f.broker.FailNext(ticketing.OutcomeNotSent) // which is not asked
	if err := f.Deposit(t.Context(), deposit); err != nil {
		t.Fatal(err)
	}
	f.requireBooked(t, map[string]int64{"D-1": 100})
	f.requirePending(t, 1)
}

// relay runs the relay until the deposit's event is published.
func (f *fixture) relay(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- f.Run(ctx) }()
	natstest.Await(t.Context(), t, &f.broker, func(d bank.DepositReceived) bool { return d == bank.DepositReceived(deposit) })
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

func TestTheRelayPublishesTheEventUnderTheDepositsID(t *testing.T) {
	f := newFixture(t)
	if err := f.Deposit(t.Context(), deposit); err != nil {
		t.Fatal(err)
	}
	f.relay(t)
	if id := f.broker.Messages()[0].ID; id != deposit.ID {
		t.Errorf("id %q", id)
	}
	f.requirePending(t, 0)
}

func TestADepositThatIsAskedForAgainIsBookedAndReportedOnce(t *testing.T) {
	f := newFixture(t)
	for _, pending := range []int64{1, 1, 0} {
		if pending == 0 {
			f.relay(t) // which takes the event out of the outbox
		}
		if err := f.Deposit(t.Context(), deposit); err != nil {
			t.Fatal(err)
		}
		f.requireBooked(t, map[string]int64{"D-1": 100})
		f.requirePending(t, pending)
	}
}

func TestADepositWhoseEventIsRefusedIsNotBooked(t *testing.T) {
	f := newFixture(t)
	tooLarge := deposit
	tooLarge.Account = string(make([]byte, 2<<20))
	if err := f.Deposit(t.Context(), tooLarge); !errors.Is(err, ticketing.ErrInvalidEvent) {
		t.Errorf("error %v", err)
	}
	f.requireBooked(t, nil)
	f.requirePending(t, 0)
}

func TestTheWrongWaysLoseTheEvent(t *testing.T) {
	for name, tt := range map[string]struct {
		deposit func(*transactions.Service, context.Context, transactions.Deposit) error
		told    error
	}{
		"not awaited": {(*transactions.Service).DepositNotAwaited, nil},
		"awaited":     {(*transactions.Service).DepositAwaited, ticketing.ErrNotSent},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.broker.FailNext(ticketing.OutcomeNotSent)
			if err := tt.deposit(f.Service, t.Context(), deposit); !errors.Is(err, tt.told) {
				t.Errorf("error %v, want %v", err, tt.told)
			}
			f.requireBooked(t, map[string]int64{"D-1": 100})
			f.requirePending(t, 0)
			natstest.RequireNonePublished[bank.DepositReceived](t, &f.broker)
		})
	}
}
