package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

var tablesTests = []test{
	{name: "EverythingSaysThatTheyAreMissing", run: func(s *suite) {
		store := s.Empty(s.T)
		for name, call := range map[string]func(ctx context.Context) error{
			"Run":     outbox.NewRelay(store, s.broker(), nil).Run,
			"Acquire": func(ctx context.Context) error { _, _, err := store.Acquire(ctx, "a", time.Minute); return err },
			"Horizon": func(ctx context.Context) error { _, err := store.Horizon(ctx); return err },
			"Pending": func(ctx context.Context) (err error) {
				for _, err = range store.Pending(ctx, outbox.Query{Limit: 1}) {
					break
				}
				return err
			},
			"Parked":  func(ctx context.Context) error { _, err := store.Parked(ctx, 0, 1); return err },
			"Requeue": func(ctx context.Context) error { _, err := store.Requeue(ctx, "a"); return err },
			"Discard": func(ctx context.Context) error { _, err := store.Discard(ctx, "a"); return err },
			"Replay":  func(ctx context.Context) error { _, err := store.Replay(ctx, time.Hour); return err },
			"Stats":   func(ctx context.Context) error { _, err := store.Stats(ctx); return err },
		} {
			if err := call(s.Context()); !errors.Is(err, outbox.ErrNotMigrated) {
				s.Errorf("%s: %v, want ErrNotMigrated", name, err)
			}
		}
	}},
	{name: "SeveralMayMakeThemAtTheSameTime", run: func(s *suite) {
		store := s.Empty(s.T)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := store.Migrate(s.Context()); err != nil {
					s.Errorf("Migrate: %v", err)
				}
			})
		}
		wg.Wait()
		if _, ok, err := store.Acquire(s.Context(), "a", time.Minute); err != nil || !ok {
			s.Errorf("Acquire: %v, %v", ok, err)
		}
	}},
}
