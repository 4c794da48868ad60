package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ducnguyen96/ticketing-common/inbox"
	"github.com/ducnguyen96/ticketing-common/inbox/sqlite"
)

func newPurger(t testing.TB, s inbox.Store, horizon time.Duration, opts *inbox.PurgerOptions) *inbox.Purger {
	t.Helper()
	p, err := inbox.NewPurger(s, horizon, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// note notes n events down, as of age ago.
func (h *harness) note(t testing.TB, name string, n int, age time.Duration) {
	t.Helper()
	at := fmt.Sprintf(`handled_at - interval '%d seconds'`, int(age.Seconds()))
	if _, ok := h.store.(*sqlite.Store); ok {
		at = fmt.Sprintf(`handled_at - %d`, age.Microseconds())
	}
	for i := range n {
		tx := h.mustBegin(t, h.levels[0])
		once(tx, consumer, fmt.Sprint(name, i)).want(t, true)
		commit(t, tx)
	}
	h.exec(t, `UPDATE inbox SET handled_at = `+at+` WHERE event_id LIKE '`+name+`%'`)
}

func TestPurgeDeletesWhatIsOlderThanTheRetention(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		h.note(t, "old", 25, 3*time.Hour)
		h.note(t, "young", 5, time.Hour)
		h.note(t, "new", 5, 0)
		counted := &counting{Store: h.store}
		p := newPurger(t, counted, 90*time.Minute, &inbox.PurgerOptions{Retention: 2 * time.Hour, Step: 10})
		if n, err := p.Purge(t.Context()); n != 25 || err != nil {
			t.Fatalf("Purge: %d, %v, want 25", n, err)
		}
		if counted.steps != 3 {
			t.Errorf("it took %d steps, want 3 of at most 10 rows", counted.steps)
		}
		if n := h.count(t, `SELECT count(*) FROM inbox WHERE event_id NOT LIKE 'old%'`); n != 10 {
			t.Errorf("%d rows are left, want 10", n)
		}
		tx := h.mustBegin(t, h.levels[0])
		once(tx, consumer, "young0").want(t, false)
		once(tx, consumer, "old0").want(t, true)
	})
}

type counting struct {
	inbox.Store
	steps int
}

func (c *counting) Purge(ctx context.Context, age time.Duration, limit int) (int, error) {
	c.steps++
	return c.Store.Purge(ctx, age, limit)
}

func TestPurgersAtTheSameTimeDeleteEachRowOnce(t *testing.T) {
	everyRoad(t, func(t *testing.T, h *harness) {
		h.note(t, "old", 60, 3*time.Hour)
		p := newPurger(t, h.store, time.Hour, &inbox.PurgerOptions{Retention: time.Hour, Step: 7})
		var mu sync.Mutex
		total := 0
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				n, err := p.Purge(context.Background())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += n
			})
		}
		wg.Wait()
		// One that skipped what others held may have ended early.
		n, err := p.Purge(t.Context())
		if err != nil || total+n != 60 {
			t.Errorf("%d rows were deleted, %v, want 60", total+n, err)
		}
	})
}

func TestPurgeDoesNotHoldUpAnOpenTransaction(t *testing.T) {
	h := openPostgres(t)
	h.note(t, "old", 3, 3*time.Hour)
	tx := h.mustBegin(t, sql.LevelReadCommitted)
	if err := tx.Exec(t.Context(), `SELECT 1 FROM inbox WHERE event_id = 'old1' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	p := newPurger(t, h.store, time.Hour, &inbox.PurgerOptions{Retention: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if n, err := p.Purge(ctx); n != 2 || err != nil {
		t.Errorf("Purge: %d, %v, want the 2 that nobody holds", n, err)
	}
}

func TestARetentionShorterThanTheHorizonIsRefused(t *testing.T) {
	s := new(fakeStore)
	if _, err := inbox.NewPurger(s, 2*time.Hour, &inbox.PurgerOptions{Retention: time.Hour}); !errors.Is(err, inbox.ErrRetention) {
		t.Errorf("NewPurger: %v, want ErrRetention", err)
	}
	for name, o := range map[string]inbox.PurgerOptions{
		"Retention": {Retention: -1}, "Every": {Every: -1}, "Step": {Step: -1},
	} {
		if _, err := inbox.NewPurger(s, time.Hour, &o); err == nil {
			t.Errorf("a negative %s is allowed", name)
		}
	}
	for _, horizon := range []time.Duration{0, -time.Hour} {
		if _, err := inbox.NewPurger(s, horizon, nil); err == nil {
			t.Errorf("the horizon %v is allowed", horizon)
		}
	}
	for _, horizon := range []time.Duration{time.Hour, 1<<63 - 1} {
		p := newPurger(t, s, horizon, nil)
		if _, err := p.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.age < horizon {
			t.Errorf("the default retention of the horizon %v is %v", horizon, s.age)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no store is allowed")
		}
	}()
	_, _ = inbox.NewPurger(nil, time.Hour, nil)
}

// fakeStore is a Store that returns its errors, one with each call.
type fakeStore struct {
	age    time.Duration
	errs   []error
	calls  int
	called func()
}

func (s *fakeStore) Purge(_ context.Context, age time.Duration, _ int) (int, error) {
	s.age = age
	s.calls++
	if s.called != nil {
		s.called()
	}
	if len(s.errs) == 0 {
		return 0, nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	return 0, err
}

func TestRunPurgesUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var log strings.Builder
		s := &fakeStore{errs: []error{nil, errors.New("database away"), nil}}
		s.called = func() {
			if s.calls == 4 {
				cancel()
			}
		}
		began := time.Now()
		p := newPurger(t, s, time.Hour, &inbox.PurgerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
		if passed := time.Since(began); passed != 3*time.Minute {
			t.Errorf("it looked 4 times within %v, want 3 minutes", passed)
		}
		if !strings.Contains(log.String(), "database away") {
			t.Errorf("the log does not say what failed: %s", log.String())
		}
	})
}

func TestRunEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		began := time.Now()
		if err := newPurger(t, new(fakeStore), time.Hour, nil).Run(ctx); err != nil || time.Since(began) != 90*time.Second {
			t.Errorf("Run: %v after %v", err, time.Since(began))
		}
	})
}

func TestRunEndsWithAnErrorWhenTheTableIsMissing(t *testing.T) {
	s := &fakeStore{errs: []error{inbox.ErrNotMigrated}}
	if err := newPurger(t, s, time.Hour, nil).Run(t.Context()); !errors.Is(err, inbox.ErrNotMigrated) {
		t.Errorf("Run: %v, want ErrNotMigrated", err)
	}
}
