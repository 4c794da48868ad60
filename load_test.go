package ticketing_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/race"
)

// consume lets a listener handle n messages with a window of 4096.
func consume(t *testing.T, n int, data func(i int) []byte, h ticketing.Handler[note], opts ticketing.ListenerOptions) {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	if opts.DeadLetters == nil {
		opts.DeadLetters = new(capture)
	}
	r := &endless{n: n, data: data, window: make(chan struct{}, 4096)}
	if err := ticketing.NewListener(r, "group", h, &opts).Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// slower is n, or a tenth of it under the race detector.
func slower(n int) int {
	if race.Enabled {
		return n / 10
	}
	return n
}

// live is how much memory is in use by what can be reached.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Without the release of a lane that is empty each key would take some 200
// bytes for ever.
func TestAMillionKeysTakeTheMemoryOfTheWindow(t *testing.T) {
	n := slower(1_000_000)
	measure := func(n int, data func(int) []byte) (most int64) {
		before := live()
		var handled int
		consume(t, n, data, func(context.Context, *ticketing.Delivery[note]) error {
			if handled++; handled%(n/5) == 0 {
				most = max(most, live()-before)
			}
			return nil
		}, ticketing.ListenerOptions{})
		return most
	}
	one := measure(n/10, func(i int) []byte { return fmt.Appendf(nil, `{"id":"key","n":%d}`, i) })
	many := measure(n, func(i int) []byte { return fmt.Appendf(nil, `{"id":"key-%d"}`, i) })
	t.Logf("%d keys: %d KiB, one key: %d KiB", n, many>>10, one>>10)
	if over := many - one; over > 4<<20 {
		t.Errorf("%d keys take %d KiB more than one, want no more than 4096", n, over>>10)
	}
}

func TestAHundredThousandEventsOfOneKeyAreHandledInOrder(t *testing.T) {
	n := slower(100_000)
	next := 0
	consume(t, n, func(i int) []byte { return fmt.Appendf(nil, `{"id":"key","n":%d}`, i) },
		func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Event.N != next {
				t.Errorf("event %d came where %d was due", d.Event.N, next)
			}
			next++
			return nil
		}, ticketing.ListenerOptions{Concurrency: 8})
	if next != n {
		t.Errorf("%d of %d events were handled", next, n)
	}
}

// Each version but the first is tried when it comes, and when its turn is.
func TestAWindowFullOfEarlyVersionsIsAppliedWithOneMoreTryEach(t *testing.T) {
	const n = 4096
	versions := rand.Perm(n - 1) // from 0, for those from 2 on
	var tries atomic.Int64
	store := newCopies()
	consume(t, n, func(i int) []byte {
		v := 1
		if i < n-1 {
			v = versions[i] + 2
		}
		return fmt.Appendf(nil, `{"id":"key","n":%d}`, v)
	}, func(ctx context.Context, d *ticketing.Delivery[note]) error {
		tries.Add(1)
		return store.apply(ctx, d)
	}, ticketing.ListenerOptions{MinBackoff: time.Hour, MaxBackoff: time.Hour, MaxWait: -1, Concurrency: 4})
	if got := len(store.applied["key"]); got != n {
		t.Errorf("%d of %d versions were applied", got, n)
	}
	if got := tries.Load(); got != 2*n-1 {
		t.Errorf("%d tries, want %d", got, 2*n-1)
	}
}

func TestGarbageAtFullSpeedIsPutAwayOnceEachAndTheOthersGoOn(t *testing.T) {
	n := slower(50_000)
	var buried, handled atomic.Int64
	consume(t, n, func(i int) []byte {
		if i%10 == 0 {
			return fmt.Appendf(nil, `{"id":"key-%d"}`, i%7)
		}
		return fmt.Appendf(nil, `{"id":%d`, i)
	}, func(context.Context, *ticketing.Delivery[note]) error {
		handled.Add(1)
		return nil
	}, ticketing.ListenerOptions{
		Concurrency: 4,
		DeadLetters: ticketing.SendFunc(func(context.Context, *ticketing.Message) error {
			buried.Add(1)
			return nil
		}),
	})
	if handled.Load() != int64(n/10) || buried.Load() != int64(n-n/10) {
		t.Errorf("%d handled and %d stored as dead letters, want %d and %d", handled.Load(), buried.Load(), n/10, n-n/10)
	}
}

// Without the backoff in bury the garbage would be sent as fast as it can be
// refused, and the good events would wait for their turn among it.
func TestGarbageThatCannotBePutAwayIsNoRetryStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const garbage, good = 500, 50
		const outage = time.Hour
		start := time.Now()
		var mu sync.Mutex
		refused := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			if time.Since(start) != 0 {
				t.Error("a good event had to wait")
			}
			return nil
		}, ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler)})
		l.broker.sendErr = func(m *ticketing.Message) error {
			if time.Since(start) > outage {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			refused++
			return ticketing.NewPublishError(ticketing.OutcomeBusy, m, errScripted)
		}
		for i := range garbage {
			l.broker.deliver("garbage")
			if i%(garbage/good) == 0 {
				l.broker.deliverNote("a", i)
			}
		}
		for range good {
			l.want(ticketing.Ack)
		}
		for range garbage {
			l.want(ticketing.Drop)
		}
		// Six tries while the backoff grows, and then one a minute, within a
		// fifth.
		if most := garbage * (7 + 75); refused > most {
			t.Errorf("%d tries to store %d dead letters, want no more than %d", refused, garbage, most)
		}
		l.stop()
	})
}
