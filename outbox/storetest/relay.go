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

var relayTests = []test{
	{name: "EveryEventIsPublishedAndItsRowGoes", run: func(s *suite) {
		b := s.broker()
		s.addMany("before", 100, 10)
		r := s.relay(s.Store, b, nil)
		s.addMany("after", 100, 10)
		s.eventually("all are published", func() bool { return b.count() == 200 })
		s.eventually("the table is empty", func() bool { return len(s.all()) == 0 })
		st, err := r.Stats(s.Context())
		if err != nil || st.Published != 200 || st.Pending != 0 {
			s.Errorf("stats: %+v, %v", st, err)
		}
		s.eventually("they are counted in the rate", func() bool { // after they were settled
			st, err := r.Stats(s.Context())
			return err == nil && st.PerSecond > 0
		})
		r.stop()
		if st := s.stats(); st.Lease != 0 {
			s.Errorf("the lease was not given back: it lasts %v", st.Lease)
		}
		for _, id := range b.ids() {
			if b.copies(id) != 1 {
				s.Errorf("%s was published %d times", id, b.copies(id))
			}
		}
	}},
	{name: "EventsOfAKeyGoOneAtATimeAndThoseOfOthersMeanwhile", run: func(s *suite) {
		b := s.broker()
		release := b.setHold()
		defer release()
		for i := range 10 {
			s.add(message(fmt.Sprint("a", i), "a"), message(fmt.Sprint("b", i), "b"), message(fmt.Sprint("none", i), ""))
		}
		s.relay(s.Store, b, nil)
		s.eventually("one of each key and all without are in flight", func() bool { return b.count() == 12 })
		s.add(message("late", "late")) // the table is read again
		s.eventually("that one too", func() bool { return b.count() == 13 })
		release()
		s.eventually("all are published, and gone", func() bool { return b.count() == 31 && len(s.all()) == 0 })
		for _, id := range b.ids() {
			if b.copies(id) != 1 {
				s.Errorf("%s was published %d times", id, b.copies(id))
			}
		}
		if got := b.order("a"); got != "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9" {
			s.Errorf("order: %s", got)
		}
	}},
	{name: "TheWindowIsNeverExceeded", run: func(s *suite) {
		b := s.broker()
		release := b.setHold()
		defer release()
		s.addMany("e", 100, 100)
		s.relay(s.Store, b, &outbox.RelayOptions{Window: 7})
		s.eventually("the window is full", func() bool { return b.count() == 7 })
		release()
		s.eventually("all are published", func() bool { return b.count() == 100 })
		if b.most != 7 {
			s.Errorf("%d were in flight, the window is 7", b.most)
		}
	}},
	{name: "MoreRowsThanMemoryHolds", run: func(s *suite) {
		b := s.broker()
		s.addMany("e", 1000, 37)
		s.relay(s.Store, b, &outbox.RelayOptions{MaxRows: 16, MaxBytes: 4096})
		s.eventually("all are published", func() bool { return b.count() == 1000 })
		for k := range 37 {
			var want []string
			for i := k; i < 1000; i += 37 {
				want = append(want, fmt.Sprint("e", i))
			}
			key := fmt.Sprint("e-key", k)
			if got := b.order(key); got != strings.Join(want, " ") {
				s.Errorf("%s: %s", key, got)
			}
		}
	}},
	// With half a batch of none a relay reads nothing.
	{name: "HoweverFewRowsMemoryHolds", run: func(s *suite) {
		for rows := 1; rows < 10; rows++ {
			b := s.broker()
			prefix := fmt.Sprint("of", rows, "-")
			s.addMany(prefix, 50, 7)
			r := s.relay(s.Store, b, &outbox.RelayOptions{MaxRows: rows})
			s.eventually("all are published, and gone", func() bool { return b.count() == 50 && len(s.all()) == 0 })
			s.wantOrder(b, prefix, 50, 7)
			r.stop()
		}
	}},
	// Protection: leaveOut. Without narrow the relay waits for what it has. The
	// others come in one transaction each, so that one read brings them: with a
	// part of them on their way the relay would be busy.
	{name: "ABacklogOfOneKeyHoldsUpNoOther", run: func(s *suite) {
		b := s.broker()
		release := b.setHold()
		defer release()
		s.addMany("hot", 2000, 1)
		s.addMany("other", 10, 10)
		s.relay(s.Store, b, &outbox.RelayOptions{MaxRows: 256})
		s.eventually("the first of the backlog and all others are in flight", func() bool { return b.count() == 11 })
		s.addMany("late", 10, 10)
		s.eventually("what comes later, too", func() bool { return b.count() == 21 })
		release()
		s.eventually("all are published, and gone", func() bool { return b.count() == 2020 && len(s.all()) == 0 })
		s.wantOrder(b, "hot", 2000, 1)
	}},
	// Memory is full of bytes long before it is full of rows. Protection: the bytes
	// in full, and in leaveOut.
	{name: "ABacklogOfLargeEventsOfOneKeyHoldsUpNoOther", run: func(s *suite) {
		b := s.broker()
		release := b.setHold()
		defer release()
		for i := range 100 {
			m := message(fmt.Sprint("hot", i), "hot-key0")
			m.Data = make([]byte, 10_000)
			s.add(m)
		}
		s.addMany("other", 10, 10)
		s.relay(s.Store, b, &outbox.RelayOptions{MaxBytes: 200_000})
		s.eventually("the first of the backlog and all others are in flight", func() bool { return b.count() == 11 })
		release()
		s.eventually("all are published, and gone", func() bool { return b.count() == 110 && len(s.all()) == 0 })
		s.wantOrder(b, "hot", 100, 1)
	}},
	{name: "AnEventLargerThanTheMemoryIsPublishedAllTheSame", run: func(s *suite) {
		b := s.broker()
		for i := range 5 {
			m := message(fmt.Sprint("e", i), "k")
			m.Data = make([]byte, 100_000)
			s.add(m)
		}
		s.relay(s.Store, b, &outbox.RelayOptions{MaxBytes: 1000})
		s.eventually("all are published", func() bool { return b.count() == 5 })
	}},
	{name: "PollingFindsWhatAnotherProcessCommitted", run: func(s *suite) {
		b := s.broker()
		s.relay(s.Open(s.T), b, nil) // nobody wakes it
		s.add(message("a", "k"))
		s.eventually("it is published", func() bool { return b.count() == 1 })
		s.add(message("b", "k"))
		s.eventually("it is published", func() bool { return b.count() == 2 })
	}},
	{name: "AnIdleRelayAsksLittle", run: func(s *suite) {
		h := &hooked{Store: s.Store}
		r := s.relay(h, s.broker(), nil) // it never finds anything, and so polls as slowly as it may
		s.eventually("it has looked", func() bool { return h.calls.Load() > 1 })
		before := h.calls.Load()
		<-time.After(2 * time.Second)
		r.stop()
		if n := h.calls.Load() - before; n > 10+2 { // stopping makes calls too
			s.Errorf("%d calls in 2 s, want at most 5 a second", n)
		}
	}},
	{name: "ARelayRunsOnceAtATime", run: func(s *suite) {
		r := s.relay(s.Store, s.broker(), nil)
		s.eventually("it has the lease", func() bool { return s.stats().Lease > 0 })
		if err := r.Run(s.Context()); err == nil {
			s.Error("a second Run returned nil")
		}
	}},
	{name: "AStoppedRelayNotesDownWhatIsInFlight", run: func(s *suite) {
		b := s.broker()
		release := b.setHold()
		s.addMany("e", 50, 50)
		r := s.relay(s.Store, b, &outbox.RelayOptions{Window: 10})
		s.eventually("ten are in flight", func() bool { return b.count() == 10 })
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			r.stop()
		}()
		select {
		case <-stopped:
			s.Error("Run returned with events in flight")
		case <-time.After(50 * time.Millisecond):
		}
		release()
		<-stopped
		if n := len(s.all()); n != 40 {
			s.Errorf("%d rows are left, want 40", n)
		}
		if b.count() != 10 {
			s.Errorf("%d were published, want 10", b.count())
		}
	}},
	{name: "AStopIsBounded", run: func(s *suite) {
		b := s.broker()
		release := b.setHold()
		defer release()
		s.add(message("a", "k"))
		r := s.relay(s.Store, b, &outbox.RelayOptions{DrainTimeout: 50 * time.Millisecond})
		s.eventually("it is in flight", func() bool { return b.count() == 1 })
		r.stop()
		s.wantPending("a")
		if s.stats().Lease == 0 {
			s.Error("the lease was given back with an event in flight")
		}
	}},
	{name: "AClosedSenderEndsRun", run: func(s *suite) {
		b := s.broker()
		b.setFault(func(m *ticketing.Message) error {
			return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, ticketing.ErrClosed)
		})
		s.add(message("a", "k"))
		err := outbox.NewRelay(s.Store, b, nil).Run(s.Context())
		if !errors.Is(err, ticketing.ErrClosed) {
			s.Errorf("Run: %v, want ErrClosed", err)
		}
		s.wantPending("a")
	}},
	{name: "SentRowsAreKeptAndCleanedAway", run: func(s *suite) {
		b := s.broker()
		s.addMany("e", 1200, 10)
		r := s.relay(s.Store, b, &outbox.RelayOptions{Keep: time.Hour})
		s.eventually("all are noted down", func() bool { return s.stats().Published == 1200 })
		r.stop()
		s.wantPending("")
		if n, err := s.Store.Replay(s.Context(), time.Hour); n != 1200 || err != nil {
			s.Fatalf("replayed %d, %v", n, err)
		}
		s.relay(s.Store, b, &outbox.RelayOptions{Keep: time.Millisecond})
		s.eventually("all are noted down again, and gone", func() bool {
			if s.stats().Published != 2400 {
				return false
			}
			n, err := s.Store.Replay(s.Context(), 0)
			return n == 0 && err == nil
		})
		if b.copies("e7") != 2 {
			s.Errorf("e7 was published %d times, want 2", b.copies("e7"))
		}
	}},
	{name: "ASynchronousSenderWillDo", run: func(s *suite) {
		var n atomic.Int32
		s.relay(s.Store, ticketing.SendFunc(func(context.Context, *ticketing.Message) error {
			n.Add(1)
			return nil
		}), nil)
		s.addMany("e", 500, 20)
		s.eventually("all are published", func() bool { return n.Load() == 500 && len(s.all()) == 0 })
	}},
	// With the release before the lease's keeper has ended, the lease lasts.
	{name: "ARenewalThatIsUnderWayDoesNotOutliveTheRelease", run: func(s *suite) {
		renewing, released := make(chan struct{}), make(chan struct{})
		entered := sync.OnceFunc(func() { close(renewing) })
		h := &hooked{Store: s.Store}
		h.onRelease = func() { close(released) }
		h.onRenew = func(ctx context.Context) error {
			entered()
			select {
			case <-released:
			case <-ctx.Done():
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				s.Error("the renewal was given up, and may be done after the release")
			}
			return s.Store.Renew(context.WithoutCancel(ctx), *h.lease.Load(), time.Hour)
		}
		r := s.relay(h, s.broker(), &outbox.RelayOptions{Lease: 500 * time.Millisecond})
		<-renewing
		r.stop()
		if st := s.stats(); st.Lease != 0 {
			s.Errorf("the relay is gone, and its lease lasts %v", st.Lease)
		}
	}},
	{name: "AStandbyTakesOverWhenTheLeaseIsGivenBack", run: func(s *suite) {
		b := s.broker()
		first := s.relay(s.Store, b, nil)
		s.eventually("the first has the lease", func() bool { return s.stats().Lease > 0 })
		s.relay(s.Open(s.T), b, nil)
		first.stop()
		s.add(message("a", "k"))
		s.eventuallyWithin(5*time.Second, "the second publishes", func() bool { return b.count() == 1 })
		if st := s.stats(); st.Epoch != 2 {
			s.Errorf("epoch %d, want 2", st.Epoch)
		}
	}},
	{name: "ListenWakesTheRelay", run: func(s *suite) {
		b := s.broker()
		ready := make(chan func(), 1)
		s.relay(s.Open(s.T), b, &outbox.RelayOptions{
			MinPoll: time.Hour, MaxPoll: time.Hour,
			Listen: func(ctx context.Context, wake func()) error {
				select {
				case ready <- wake:
				default:
				}
				<-ctx.Done()
				return nil
			},
		})
		wake := <-ready
		s.add(message("a", "k"))
		s.eventually("it is published", func() bool { wake(); return b.count() == 1 })
	}},
	{name: "ListenIsCalledAgainAfterAnError", run: func(s *suite) {
		var calls atomic.Int32
		s.relay(s.Store, s.broker(), &outbox.RelayOptions{
			Listen: func(context.Context, func()) error {
				calls.Add(1)
				return errors.New("the connection is gone")
			},
		})
		s.eventually("it is called several times", func() bool { return calls.Load() > 2 })
	}},
}
