package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

var faultTests = []test{
	{name: "TheLowerNumberCommitsLast", manyWriters: true, run: func(s *suite) {
		b := s.broker()
		s.relay(s.Store, b, nil)
		late := s.begin()
		s.write(late, message("late", "k"))
		s.add(message("early", "l"))
		s.eventually("the early one is published", func() bool { return b.count() == 1 })
		s.eventually("and gone", func() bool { return len(s.all()) == 0 })
		s.commit(late)
		s.eventually("the late one is published", func() bool { return b.count() == 2 })
	}},
	{name: "ARowThatCommitsBehindALongPassGoesBeforeItsSuccessor", manyWriters: true, run: testLateInPass},
	{name: "ALongForeignTransactionHoldsNothingUp", manyWriters: true, run: func(s *suite) {
		long := s.begin()
		s.write(long, message("long", "k"))
		b := s.broker()
		s.relay(s.Store, b, nil)
		s.addMany("e", 3000, 100)
		s.eventually("the others are published", func() bool { return b.count() == 3000 })
		s.commit(long)
		s.eventually("at last the long one too", func() bool { return b.count() == 3001 })
	}},
	{name: "SameKeyInvertedStartOrder", manyWriters: true, run: func(s *suite) {
		b := s.broker()
		s.relay(s.Store, b, nil)
		first, second := s.begin(), s.begin()
		if err := second.Lock(s.Context(), "k"); err != nil {
			s.Fatal(err)
		}
		s.write(second, message("second", "k"))
		locked := make(chan error, 1)
		go func() { locked <- first.Lock(s.Context(), "k") }()
		s.commit(second)
		if err := <-locked; err != nil {
			s.Fatal(err)
		}
		s.write(first, message("first", "k"))
		s.commit(first)
		s.eventually("both are published", func() bool { return b.count() == 2 })
		if got := b.order("k"); got != "second first" {
			s.Errorf("order: %s, want that of the commits", got)
		}
	}},
	{name: "ACrashBetweenPublishAndBookkeepingPublishesAgain", run: func(s *suite) {
		b := s.broker()
		s.addMany("e", 300, 30)
		h := &hooked{Store: s.Store, onSettle: func(context.Context, outbox.Settlement) error { return errors.New("crashed") }}
		r := s.relay(h, b, &outbox.RelayOptions{Window: 50, Lease: 300 * time.Millisecond, DrainTimeout: time.Millisecond, MaxRows: 100})
		s.eventually("some are published", func() bool { return b.count() >= 100 })
		r.stop()
		if n := len(s.all()); n != 300 {
			s.Fatalf("%d rows are left, want 300: nothing was noted down", n)
		}
		s.relay(s.Open(s.T), b, nil)
		s.eventually("all are published, and gone", func() bool { return b.count() == 300 && len(s.all()) == 0 })
		s.wantOrder(b, "e", 300, 30)
	}},
	{name: "BookkeepingWhoseResultIsUnknownIsDoneAgain", run: func(s *suite) {
		b := s.broker()
		var n atomic.Int32
		h := &hooked{Store: s.Store, after: func(outbox.Settlement) error {
			if n.Add(1)%2 == 1 {
				return errors.New("the connection was lost after the commit")
			}
			return nil
		}}
		s.relay(h, b, nil)
		s.addMany("e", 300, 30)
		s.eventually("all are gone", func() bool { return b.count() == 300 && len(s.all()) == 0 })
		for _, id := range b.ids() {
			if b.copies(id) != 1 {
				s.Errorf("%s was published %d times", id, b.copies(id))
			}
		}
	}},
	{name: "ADatabaseThatFailsForAWhile", run: func(s *suite) {
		b := s.broker()
		var broken atomic.Bool
		fail := func() error {
			if broken.Load() {
				return errors.New("the database is away")
			}
			return nil
		}
		h := &hooked{
			Store:     s.Store,
			onPending: func(outbox.Query) error { return fail() },
			onSettle:  func(context.Context, outbox.Settlement) error { return fail() },
			onRenew:   func(context.Context) error { return fail() },
		}
		s.relay(h, b, &outbox.RelayOptions{Lease: 300 * time.Millisecond})
		s.addMany("a", 100, 10)
		s.eventually("it works", func() bool { return b.count() >= 10 })
		release := b.setHold()
		s.addMany("b", 100, 10)
		s.eventually("ten more are in flight", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.inFlight >= 10 })
		broken.Store(true)
		release()                            // they are published, and cannot be noted down
		<-time.After(400 * time.Millisecond) // beyond the lease
		broken.Store(false)
		s.eventually("all are published, and gone", func() bool { return b.count() == 200 && len(s.all()) == 0 })
		s.wantOrder(b, "a", 100, 10)
		s.wantOrder(b, "b", 100, 10)
		for _, id := range b.ids() {
			if b.copies(id) != 1 {
				s.Errorf("%s was published %d times, though the relay knew that the broker has it", id, b.copies(id))
			}
		}
	}},
	{name: "TwoRelaysTakeOverFromEachOtherUnderLoad", run: testTakeovers},
	{name: "ARelayWithoutItsLeaseStopsByItsOwnClock", run: testStalled},
	{name: "TheApplicationsClockIsAnHourOff", run: func(s *suite) {
		b := s.broker()
		s.relay(s.Store, b, nil)
		for i, off := range []time.Duration{-time.Hour, time.Hour, -time.Hour, 0} {
			m := message(fmt.Sprint("e", i), "k")
			m.Time = m.Time.Add(off)
			s.add(m)
			if st := s.stats(); st.Oldest > time.Minute {
				s.Errorf("an event is %v old by the time that the application says", st.Oldest)
			}
		}
		s.eventually("all are published", func() bool { return b.count() == 4 })
		if got := b.order("k"); got != "e0 e1 e2 e3" {
			s.Errorf("order: %s", got)
		}
	}},
	{name: "OneRejectedEventAmongThousands", run: testRejected},
	{name: "NothingElseParks", run: testNeverParks},
	{name: "ASubjectWithoutAStreamLeavesTheOthersAlone", run: testOneSubject},
	{name: "TheBrokerIsAwayForLong", run: testBrokerAway},
}

// wantOrder checks the order of addMany's events.
func (s *suite) wantOrder(b *broker, prefix string, n, keys int) {
	s.Helper()
	orders := b.orders()
	for k := range keys {
		var want []string
		for i := k; i < n; i += keys {
			want = append(want, fmt.Sprint(prefix, i))
		}
		key := fmt.Sprintf("%s-key%d", prefix, k)
		if got := orders[key]; got != strings.Join(want, " ") {
			s.Errorf("%s: published in the order %s", key, got)
		}
	}
}

// testLateInPass lets a row commit when a pass of several reads has gone past
// it, and its successor before the pass reaches that.
func testLateInPass(s *suite) {
	late := s.begin()
	s.write(late, message("k1", "k"))
	s.addMany("e", 400, 400)
	b := s.broker()
	var once atomic.Bool
	h := &hooked{Store: s.Store}
	h.onPending = func(q outbox.Query) error {
		if q.After > 0 && once.CompareAndSwap(false, true) {
			s.commit(late)
			s.add(message("k2", "k"))
		}
		return nil
	}
	s.relay(h, b, &outbox.RelayOptions{MaxRows: 32})
	s.eventually("all are published", func() bool { return b.count() == 402 })
	if got := b.order("k"); got != "k1 k2" {
		s.Errorf("order: %s", got)
	}
	if !once.Load() {
		s.Error("there was no pass of several reads")
	}
}

// testTakeovers runs two relays whose leases keep ending.
func testTakeovers(s *suite) {
	b := s.broker()
	opts := &outbox.RelayOptions{Lease: 150 * time.Millisecond, Window: 20, MaxRows: 64}
	hang := func() func(context.Context) error {
		var n atomic.Int32
		return func(ctx context.Context) error {
			if n.Add(1)%3 == 0 {
				<-ctx.Done() // until the lease is over
				return ctx.Err()
			}
			return nil
		}
	}
	for _, name := range []string{"one", "other"} {
		s.relay(&hooked{Store: s.Open(s.T), onRenew: hang()}, b.connection(name), opts)
	}
	n := 0
	var want []string
	s.eventually("the relays take over from each other", func() bool {
		for range 20 {
			n++
			id := fmt.Sprint("e", n)
			want = append(want, id)
			s.add(message(id, "k"), message(id+"l", "l"), message(id+"none", ""))
		}
		return s.stats().Epoch >= 6
	})
	s.eventually("all are published, and gone", func() bool { return s.stats().Pending == 0 })
	if got := b.order("k"); got != strings.Join(want, " ") {
		s.Errorf("order: %s", got)
	}
	if got := b.order("l"); got != strings.Join(want, "l ")+"l" {
		s.Errorf("order: %s", got)
	}
	if got := b.count(); got != 3*n {
		s.Errorf("%d were published, want %d", got, 3*n)
	}
}

// testStalled takes the database away from a relay that has work to do, and
// lets another take over.
func testStalled(s *suite) {
	const lease = 400 * time.Millisecond
	first := s.broker()
	var stuck atomic.Bool
	h := &hooked{Store: s.Store}
	h.onAcquire = func() error {
		if stuck.Load() {
			return errors.New("the database is away")
		}
		return nil
	}
	h.onRenew = func(ctx context.Context) error {
		if stuck.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	h.onSettle = func(context.Context, outbox.Settlement) error { return h.onAcquire() }
	// The first goes on with what it has in memory, one after the other.
	var last atomic.Int64
	base := time.Now()
	slow := ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		last.Store(int64(time.Since(base)))
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, ctx.Err())
		}
		return send1(ctx, first, m)
	})
	s.addMany("e", 1000, 1)
	s.relay(h, slow, &outbox.RelayOptions{Lease: lease})
	s.eventually("the first works", func() bool { return first.count() > 3 })
	stuck.Store(true)
	second := s.broker()
	var begun atomic.Int64
	s.relay(s.Open(s.T), ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		begun.CompareAndSwap(0, int64(time.Since(base)))
		return send1(ctx, second, m)
	}), &outbox.RelayOptions{Lease: time.Minute})
	s.eventually("the second takes over", func() bool { return second.count() > 100 })
	if last.Load() >= begun.Load() {
		s.Errorf("the first sent %v after the second had begun", time.Duration(last.Load()-begun.Load()))
	}
	s.eventually("the second goes on to the end", func() bool { return len(s.all()) == 0 })
}

// send1 sends and waits.
func send1(ctx context.Context, b ticketing.Sender, m *ticketing.Message) error {
	done := make(chan error, 1)
	b.Send(ctx, m, func(err error) { done <- err })
	return <-done
}
