package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// quiet keeps failures on purpose out of the test's output.
func quiet() *ticketing.ListenerOptions {
	return &ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler)}
}

// takeEffect is a handler that makes the event's effect.
func takeEffect(_ context.Context, exec func(string) error, d *ticketing.Delivery[event]) error {
	return exec(effect(d.ID))
}

func TestADuplicateIsAcknowledgedWithoutEffect(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		var r natstest.Recorder
		natstest.Listen(t, ticketing.NewListener(&r, "group", h.handler(l, nil, takeEffect), quiet()))
		for range 3 {
			if res := natstest.Deliver(t, &r, event{}, natstest.WithID("e")); !res.Acked() {
				t.Fatal(res)
			}
		}
		if n := h.effects(t, "e"); n != 1 {
			t.Errorf("it took effect %d times", n)
		}
	})
}

func TestNothingIsAcknowledgedBeforeTheCommit(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		lost := errors.New("connection lost")
		var r natstest.Recorder
		var fail func(error) error
		after := func(err error) error { return fail(err) }
		natstest.Listen(t, ticketing.NewListener(&r, "group", h.handler(l, after, takeEffect), quiet()))

		// The result of the commit is not known, and it was a commit.
		fail = func(error) error { return lost }
		if res := natstest.Deliver(t, &r, event{}, natstest.WithID("e")); !res.Retried() || !errors.Is(res.Err, lost) {
			t.Fatal(res)
		}
		fail = func(err error) error { return err }
		if res := natstest.Deliver(t, &r, event{}, natstest.WithID("e"), natstest.WithAttempt(2)); !res.Acked() {
			t.Fatal(res)
		}
		if n := h.effects(t, "e"); n != 1 {
			t.Errorf("it took effect %d times", n)
		}
	})
}

func TestAFailedHandlersEffectIsRolledBack(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		failed := errors.New("failed")
		var r natstest.Recorder
		how := "error"
		natstest.Listen(t, ticketing.NewListener(&r, "group", h.handler(l, nil,
			func(ctx context.Context, exec func(string) error, d *ticketing.Delivery[event]) error {
				if err := takeEffect(ctx, exec, d); err != nil {
					return err
				}
				switch how {
				case "error":
					return failed
				case "panic":
					panic(failed)
				}
				return nil
			}), quiet()))
		for _, how = range []string{"error", "panic"} {
			if res := natstest.Deliver(t, &r, event{}, natstest.WithID("e")); !res.Retried() || !errors.Is(res.Err, failed) {
				t.Fatal(res)
			}
			if n := h.effects(t, "e"); n != 0 {
				t.Errorf("after the %s it has taken effect", how)
			}
		}
		how = ""
		if res := natstest.Deliver(t, &r, event{}, natstest.WithID("e")); !res.Acked() || h.effects(t, "e") != 1 {
			t.Fatal(res)
		}
	})
}

func TestHandlersThatMeetRunAgainByThemselves(t *testing.T) {
	everyLevel(t, func(t *testing.T, h *harness, l sql.IsolationLevel) {
		h.exec(t, `CREATE TABLE IF NOT EXISTS balances (account varchar(8) PRIMARY KEY, amount int)`)
		h.exec(t, `DELETE FROM balances`)
		h.exec(t, `INSERT INTO balances VALUES ('A', 0)`)
		handle := h.handler(l, nil, func(ctx context.Context, exec func(string) error, d *ticketing.Delivery[event]) error {
			return exec(`UPDATE balances SET amount = amount + 1 WHERE account = 'A'`)
		})
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := range 5 {
					for range 2 { // each of them twice, and each worker has the same
						d := &ticketing.Delivery[event]{ID: fmt.Sprint((i + w) % 5)}
						// What is left after its tries the listener would try again.
						err := handle(context.Background(), d)
						for errors.Is(err, inbox.ErrTryAgain) {
							err = handle(context.Background(), d)
						}
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		if n := h.count(t, `SELECT amount FROM balances`); n != 5 {
			t.Errorf("the balance is %d, want 5", n)
		}
	})
}

func TestAnEventIsTriedAgainAFewTimesThenLeftToTheListener(t *testing.T) {
	conflict := fmt.Errorf("update: %w", inbox.ErrTryAgain)
	calls := 0
	var fails int
	handle := inbox.Handler(func(_ context.Context, _, _ string, fn func(int) error) (bool, error) {
		if calls++; calls <= fails {
			return false, conflict
		}
		return true, fn(0)
	}, consumer, func(context.Context, int, *ticketing.Delivery[event]) error { return nil })

	fails = 7
	if err := handle(t.Context(), &ticketing.Delivery[event]{ID: "e"}); err != nil || calls != 8 {
		t.Errorf("%v after %d calls, want nil after 8", err, calls)
	}
	calls, fails = 0, 8
	if err := handle(t.Context(), &ticketing.Delivery[event]{ID: "e"}); !errors.Is(err, inbox.ErrTryAgain) || calls != 8 {
		t.Errorf("%v after %d calls, want ErrTryAgain after 8", err, calls)
	}
	calls = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := handle(ctx, &ticketing.Delivery[event]{ID: "e"}); !errors.Is(err, inbox.ErrTryAgain) || calls != 1 {
		t.Errorf("%v after %d calls with a context that has ended, want ErrTryAgain after 1", err, calls)
	}
}

func TestAnEventThatCannotBeNotedDownIsADeadLetterAtOnce(t *testing.T) {
	h := openSQLite(t)
	var r natstest.Recorder
	natstest.Listen(t, ticketing.NewListener(&r, "group", h.handler(sql.LevelDefault, nil, takeEffect), quiet()))
	if res := natstest.Deliver(t, &r, event{}, natstest.WithID(strings.Repeat("x", inbox.MaxIDLen+1))); !res.DeadLettered() {
		t.Error(res)
	}
}

func TestMistakesInTheProgramPanic(t *testing.T) {
	h := func(context.Context, int, *ticketing.Delivery[event]) error { return nil }
	inTx := func(context.Context, string, string, func(int) error) (bool, error) { return true, nil }
	for name, mistake := range map[string]func(){
		"no consumer":    func() { inbox.Handler(inTx, "", h) },
		"no transaction": func() { inbox.Handler(nil, consumer, h) },
		"no handler": func() {
			inbox.Handler[event](inTx, consumer, nil)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
}

func TestStoreTransactionsWaitWithinTheirContext(t *testing.T) {
	h := openSQLite(t)
	s := h.store.(*sqlite.Store)
	ran, err := s.InTx(t.Context(), consumer, "e", func(*sql.Tx) error {
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		cancel(stopped)
		if _, err := s.InTx(ctx, consumer, "f", func(*sql.Tx) error { return nil }); !errors.Is(err, stopped) {
			t.Errorf("%v, want the context's cause", err)
		}
		return nil
	})
	result{ran, err}.want(t, true)
}

// TestEffectsHappenOnceWhateverTheBrokerRedelivers runs two members of a group
// over JetStream. Handlers fail before and after their commit, and members
// stop right after one, so that the event goes to the other.
func TestEffectsHappenOnceWhateverTheBrokerRedelivers(t *testing.T) {
	const events = 60
	everyRoad(t, func(t *testing.T, h *harness) {
		server := natsserver.Run(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		client, err := natswrap.Connect(ctx, natswrap.Config{URLs: []string{server.URL()}, ClientID: "accounts", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		publisher := ticketing.NewPublisher[event](client, nil)
		for i := range events {
			if err := publisher.Publish(ctx, event{fmt.Sprint(i)}, ticketing.WithID(fmt.Sprint("event-", i))); err != nil {
				t.Fatal(err)
			}
		}

		var acked, again atomic.Int64
		done := make(chan struct{})
		handle := h.handler(sql.LevelDefault, nil, func(ctx context.Context, exec func(string) error, d *ticketing.Delivery[event]) error {
			if err := takeEffect(ctx, exec, d); err != nil {
				return err
			}
			if rand.N(4) == 0 {
				return ticketing.RetryAfter(0, errors.New("failed before the commit"))
			}
			return nil
		})
		member := func(ctx context.Context) error {
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			return ticketing.NewListener(client, "accounts", func(ctx context.Context, d *ticketing.Delivery[event]) error {
				if d.Attempt > 1 {
					again.Add(1)
				}
				if err := handle(ctx, d); err != nil {
					return err
				}
				switch rand.N(6) {
				case 0:
					return ticketing.RetryAfter(0, errors.New("failed after the commit"))
				case 1:
					stop()
					return errors.New("stopped after the commit")
				}
				if acked.Add(1) == events {
					close(done)
				}
				return nil
			}, &ticketing.ListenerOptions{
				Concurrency: 4, MaxAttempts: 1000, MinBackoff: time.Millisecond, AckWait: time.Second,
				Logger: slog.New(slog.DiscardHandler),
			}).Listen(ctx)
		}
		listening, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for listening.Err() == nil {
					if err := member(listening); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		select {
		case <-done:
		case <-ctx.Done():
			t.Errorf("%d of %d events were acknowledged", acked.Load(), events)
		}
		stop()
		wg.Wait()
		if n := h.count(t, `SELECT count(DISTINCT event_id) FROM effects`); n != events {
			t.Errorf("%d events took effect, want %d", n, events)
		}
		if n := h.count(t, `SELECT count(*) FROM effects`); n != events {
			t.Errorf("there are %d effects, want %d", n, events)
		}
		if again.Load() == 0 {
			t.Error("nothing was delivered again")
		}
	})
}

// Write skew: each reads what the other writes, and the conflict may come to
// light with the commit only.
func TestAConflictThatTheCommitFindsIsRunAgain(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harness{"postgres": openPostgres, "pgx": openPgx} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			var meet sync.WaitGroup // both have read before either commits
			meet.Add(2)
			var attempts atomic.Int64
			handle := h.handler(sql.LevelSerializable, nil, func(ctx context.Context, exec func(string) error, d *ticketing.Delivery[event]) error {
				first := attempts.Add(1) <= 2
				if err := exec(`INSERT INTO effects SELECT '` + d.ID + `' WHERE (SELECT count(*) FROM effects) < 100`); err != nil {
					return err
				}
				if first {
					meet.Done()
					meet.Wait()
				}
				return nil
			})
			var wg sync.WaitGroup
			for _, id := range []string{"a", "b"} {
				wg.Go(func() {
					if err := handle(context.Background(), &ticketing.Delivery[event]{ID: id}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if h.effects(t, "a") != 1 || h.effects(t, "b") != 1 || attempts.Load() < 3 {
				t.Errorf("a: %d, b: %d, want one each, after a conflict: %d attempts", h.effects(t, "a"), h.effects(t, "b"), attempts.Load())
			}
		})
	}
}
