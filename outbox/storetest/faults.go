package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

var faultTests = []test{
	// With a cursor instead of the pass in fetch, which begins at the lowest
	// number, the late one is never found.
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
	// Without the Horizon of a long pass its successor goes first.
	{name: "ARowThatCommitsBehindALongPassGoesBeforeItsSuccessor", manyWriters: true, run: testLateInPass},
	// With a bound of pg_snapshot_xmin in the pending query, in place of the pass,
	// all would wait for the long one; with a cursor that one is never found.
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
	// With an order by the transactions' beginnings, instead of the number that is
	// drawn at the insert, the first goes first.
	{name: "SameKeyInvertedStartOrder", manyWriters: true, run: func(s *suite) {
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
		b := s.broker()
		s.relay(s.Store, b, nil)
		s.eventually("both are published", func() bool { return b.count() == 2 })
		if got := b.order("k"); got != "second first" {
			s.Errorf("order: %s, want that of the commits", got)
		}
	}},
	// With a fatal error in onSettled the relay ends at once.
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
	// With the bookkeeping in dispatch, instead of onSent, the first is lost.
	{name: "NothingIsNotedDownBeforeItsAnswer", run: func(s *suite) {
		b := s.broker()
		b.setHold() // until the test ends
		// A lease that is lost, as on a busy machine, has the relay wait for what is held.
		opts := &outbox.RelayOptions{Lease: 5 * time.Second, DrainTimeout: time.Millisecond}
		s.add(message("a", "a"))
		r := s.relay(s.Store, b, opts)
		s.eventually("the first is in flight", func() bool { return b.count() == 1 })
		b.goOn()
		s.add(message("b", "b"))
		s.eventually("the second is noted down", func() bool { return s.stats().Published > 0 })
		s.wantPending("a")
		r.stop()
		again := s.broker()
		s.relay(s.Open(s.T), again, opts)
		s.eventually("the first is published again", func() bool { return again.count() == 1 && len(s.all()) == 0 })
	}},
	// With the numbers alone in the books, the new event is deleted for the old one.
	{name: "ADatabaseThatLostItsLastCommitsDrawsANumberAgain", loses: true, run: testLostCommits},
	// Without the batch that onSettled takes back, what was not noted down stays.
	{name: "BookkeepingWhoseResultIsUnknownIsDoneAgain", run: func(s *suite) {
		b := s.broker()
		var n atomic.Int32
		lost := func(when int32) error {
			if n.Load()%3 == when {
				return errors.New("the connection was lost")
			}
			return nil
		}
		h := &hooked{
			Store:    s.Store,
			onSettle: func(context.Context, outbox.Settlement) error { n.Add(1); return lost(1) }, // before the commit
			after:    func(outbox.Settlement) error { return lost(2) },                            // or after it
		}
		s.relay(h, b, nil)
		s.addMany("e", 300, 30)
		s.eventually("all are gone", func() bool { return b.count() == 300 && len(s.all()) == 0 })
		for _, id := range b.ids() {
			if b.copies(id) != 1 {
				s.Errorf("%s was published %d times", id, b.copies(id))
			}
		}
	}},
	// Without the drain of a lost lease, or what a term leaves to the next one,
	// events are published again. With a fatal error instead of the backoff in
	// acquire, onFetched or onSettled Run ends.
	{name: "ADatabaseThatFailsForAWhile", run: func(s *suite) {
		b := s.broker()
		var broken atomic.Bool
		fail := func() error {
			if broken.Load() {
				return errors.New("the database is away")
			}
			return nil
		}
		var asks atomic.Int32
		h := &hooked{
			Store:     s.Store,
			onAcquire: func() error { asks.Add(1); return fail() },
			onPending: func(outbox.Query) error { return fail() },
			onSettle:  func(context.Context, outbox.Settlement) error { return fail() },
			onRenew:   func(context.Context) error { return fail() },
		}
		s.relay(h, b, &outbox.RelayOptions{Lease: 300 * time.Millisecond})
		s.addMany("a", 100, 10)
		s.eventually("it works", func() bool { return b.count() >= 10 })
		release := b.setHold()
		s.addMany("b", 100, 10)
		// All ten keys, unless it loses its lease just now: then it sends no more.
		s.eventually("more are in flight", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.inFlight > 0 })
		broken.Store(true)
		s.eventually("the lease is over", func() bool { return s.stats().Lease == 0 })
		release() // they are published, and cannot be noted down
		s.eventually("the lease is asked for", func() bool { return asks.Load() > 1 })
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
	// Without the condition in the store's acquire, or the lease's valid, a relay
	// sends when the other has begun.
	{name: "TwoRelaysTakeOverFromEachOtherUnderLoad", run: testTakeovers},
	// Without valid in the lease's keep the first never gives up; without valid in
	// dispatch it goes on while its renewal hangs.
	{name: "ARelayWithoutItsLeaseStopsByItsOwnClock", run: func(s *suite) { testStalled(s, false) }},
	{name: "ARelayWhoseRenewalHangsStopsByItsOwnClock", run: func(s *suite) { testStalled(s, true) }},
	// With an order by the event's time, or the age of the oldest from it, instead
	// of the number and created_at, both are wrong.
	{name: "TheApplicationsClockIsAnHourOff", run: func(s *suite) {
		for i, off := range []time.Duration{-time.Hour, time.Hour, -time.Hour, 0} {
			m := message(fmt.Sprint("e", i), "k")
			m.Time = m.Time.Add(off)
			s.add(m)
			if st := s.stats(); st.Oldest > time.Minute {
				s.Errorf("an event is %v old by the time that the application says", st.Oldest)
			}
		}
		b := s.broker()
		s.relay(s.Store, b, nil)
		s.eventually("all are published", func() bool { return b.count() == 4 })
		if got := b.order("k"); got != "e0 e1 e2 e3" {
			s.Errorf("order: %s", got)
		}
	}},
	// Without what reason makes of the error it cannot be stored.
	{name: "AReasonIsTextWhateverTheBrokerSays", run: testReason},
	// In one settlement with those that were sent, or all at a time, it holds up
	// everything.
	{name: "ARowThatCannotBeParkedHoldsUpNoOther", run: testUnparkable},
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
	opts := &outbox.RelayOptions{Lease: 500 * time.Millisecond, Window: 20, MaxRows: 64}
	hang := func() func(context.Context) error {
		var n atomic.Int32
		return func(ctx context.Context) error {
			if n.Add(1)%2 == 0 {
				<-ctx.Done() // until the lease is over
				return ctx.Err()
			}
			return nil
		}
	}
	for _, name := range []string{"one", "other"} {
		h := &hooked{Store: s.Open(s.T), onRenew: hang()}
		s.relay(h, b.connection(name, h), opts)
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
		return s.stats().Epoch >= 5
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
// lets another take over. The first one's Renew fails at its deadline, or hangs
// beyond it.
func testStalled(s *suite, hangs bool) {
	const lease = 400 * time.Millisecond
	var stuck atomic.Bool
	back := make(chan struct{})
	h := &hooked{Store: s.Store}
	away := func() error {
		if stuck.Load() {
			return errors.New("the database is away")
		}
		return nil
	}
	var asks atomic.Int32
	h.onAcquire = func() error { asks.Add(1); return away() }
	h.onSettle = func(context.Context, outbox.Settlement) error { return away() }
	h.onRenew = func(ctx context.Context) error {
		switch {
		case !stuck.Load():
			return nil
		case hangs:
			<-back
		default:
			<-ctx.Done()
		}
		return errors.New("the database was away")
	}
	first, second := s.broker(), s.broker()
	paced := func(ctx context.Context, b *broker, m *ticketing.Message, pause time.Duration) error {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, ctx.Err())
		}
		return send1(ctx, b, m)
	}
	// The first goes on with what it has in memory, one after the other. The
	// second takes so long that the first would send once more.
	var last, begun atomic.Int64
	base := time.Now()
	s.addMany("e", 400, 1)
	s.relay(h, ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		last.Store(int64(time.Since(base)))
		return paced(ctx, first, m, 5*time.Millisecond)
	}), &outbox.RelayOptions{Lease: lease})
	comeBack := sync.OnceFunc(func() { close(back) })
	s.Cleanup(comeBack)
	s.eventually("the first works", func() bool { return first.count() > 3 })
	stuck.Store(true)
	s.relay(s.Open(s.T), ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		begun.CompareAndSwap(0, int64(time.Since(base)))
		return paced(ctx, second, m, time.Millisecond)
	}), &outbox.RelayOptions{Lease: time.Minute})
	s.eventually("the second goes on to the end", func() bool { return len(s.all()) == 0 })
	comeBack()
	s.eventually("the first asks for the lease again", func() bool { return asks.Load() > 1 })
	if last.Load() >= begun.Load() {
		s.Errorf("the first sent %v after the second had begun", time.Duration(last.Load()-begun.Load()))
	}
}

// send1 sends and waits.
func send1(ctx context.Context, b ticketing.Sender, m *ticketing.Message) error {
	done := make(chan error, 1)
	b.Send(ctx, m, func(err error) { done <- err })
	return <-done
}
