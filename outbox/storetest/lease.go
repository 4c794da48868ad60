package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

var leaseTests = []test{
	{name: "OneHolderAtATime", run: func(s *suite) {
		first := s.acquire("a")
		if _, ok, err := s.Store.Acquire(s.Context(), "b", time.Minute); ok || err != nil {
			s.Errorf("a second holder: %v, %v", ok, err)
		}
		if st := s.stats(); st.Holder != "a" || st.Epoch != first.Epoch || st.Lease <= 0 || st.Lease > time.Minute {
			s.Errorf("stats: %+v", st)
		}
	}},
	{name: "TakingOverRaisesTheEpochAndRenewingDoesNot", run: func(s *suite) {
		first := s.acquire("a")
		if err := s.Store.Renew(s.Context(), first, time.Minute); err != nil {
			s.Fatal(err)
		}
		if st := s.stats(); st.Epoch != first.Epoch {
			s.Errorf("renewing made epoch %d of %d", st.Epoch, first.Epoch)
		}
		if second := s.acquire("a"); second.Epoch != first.Epoch+1 {
			s.Errorf("its holder acquired again with epoch %d, want %d", second.Epoch, first.Epoch+1)
		}
		if err := s.Store.Renew(s.Context(), first, time.Minute); !errors.Is(err, outbox.ErrLeaseLost) {
			s.Errorf("renewing an old epoch: %v", err)
		}
	}},
	{name: "AnExpiredLeaseIsFree", run: func(s *suite) {
		first, ok, err := s.Store.Acquire(s.Context(), "a", 50*time.Millisecond)
		if !ok || err != nil {
			s.Fatal(ok, err)
		}
		var second outbox.Lease
		s.eventually("b gets the lease", func() bool {
			second, ok, err = s.Store.Acquire(s.Context(), "b", time.Minute)
			return ok && err == nil
		})
		if second.Epoch != first.Epoch+1 {
			s.Errorf("epoch %d after %d", second.Epoch, first.Epoch)
		}
		if err := s.Store.Renew(s.Context(), first, time.Minute); !errors.Is(err, outbox.ErrLeaseLost) {
			s.Errorf("renewing a lease that another has: %v", err)
		}
	}},
	{name: "RenewingExtendsTheLease", run: func(s *suite) {
		lease, _, err := s.Store.Acquire(s.Context(), "a", time.Second)
		if err != nil {
			s.Fatal(err)
		}
		if err := s.Store.Renew(s.Context(), lease, time.Hour); err != nil {
			s.Fatal(err)
		}
		if st := s.stats(); st.Lease < time.Minute {
			s.Errorf("the lease lasts %v, want an hour", st.Lease)
		}
	}},
	{name: "AReleasedLeaseIsFreeAtOnce", run: func(s *suite) {
		first := s.acquire("a")
		if err := s.Store.Release(s.Context(), outbox.Lease{Holder: "a", Epoch: first.Epoch + 1}); err != nil {
			s.Fatal(err)
		}
		if _, ok, _ := s.Store.Acquire(s.Context(), "b", time.Minute); ok {
			s.Fatal("a release with another epoch freed the lease")
		}
		if err := s.Store.Release(s.Context(), first); err != nil {
			s.Fatal(err)
		}
		if st := s.stats(); st.Lease != 0 {
			s.Errorf("released, the lease lasts %v", st.Lease)
		}
		s.acquire("b")
	}},
	{name: "OfManyAtTheSameTimeOneAcquires", run: func(s *suite) {
		var wg sync.WaitGroup
		var won atomic.Int32
		for range 8 {
			other := s.Open(s.T)
			for _, holder := range []string{"a", "b", "c", "d"} {
				wg.Go(func() {
					_, ok, err := other.Acquire(s.Context(), holder+time.Now().String(), time.Minute)
					if err != nil {
						s.Error(err)
					}
					if ok {
						won.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			s.Errorf("%d acquired, want 1", n)
		}
	}},
	{name: "BookkeepingIsFencedByTheEpoch", run: func(s *suite) {
		old := s.acquire("a")
		s.add(message("a", "k"), message("b", "l"), message("c", "m"))
		rows := s.all()
		lease := s.acquire("a")
		st := outbox.Settlement{
			Sent:   []outbox.Ref{rows[0].Ref()},
			Parked: []outbox.Parking{{Ref: rows[1].Ref(), Reason: "why"}},
		}
		if err := s.Store.Settle(s.Context(), old, st); !errors.Is(err, outbox.ErrLeaseLost) {
			s.Errorf("Settle with an old epoch: %v", err)
		}
		if err := s.Store.Settle(s.Context(), old, outbox.Settlement{Sent: st.Sent, Keep: true}); !errors.Is(err, outbox.ErrLeaseLost) {
			s.Errorf("Settle with an old epoch, keeping: %v", err)
		}
		s.wantPending("a b c")
		s.settle(lease, st)
		s.wantPending("c")
		if st := s.stats(); st.Published != 1 {
			s.Errorf("published %d, want 1", st.Published)
		}
	}},
	// As after a failover to a copy that lacks the last commits: a has got the
	// epoch, that was lost, and b has got it again.
	{name: "AnEpochThatWasDrawnAgainIsAnothersLease", run: func(s *suite) {
		lease := s.acquire("b")
		lost := outbox.Lease{Holder: "a", Epoch: lease.Epoch}
		s.add(message("a", "k"), message("b", "l"), message("c", "m"), message("d", "n"))
		rows := s.all()
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{rows[3].Ref()}, Keep: true})
		if err := s.Store.Renew(s.Context(), lost, time.Hour); !errors.Is(err, outbox.ErrLeaseLost) {
			s.Errorf("Renew: %v", err)
		}
		for what, st := range map[string]outbox.Settlement{
			"sent":   {Sent: []outbox.Ref{rows[0].Ref()}},
			"kept":   {Sent: []outbox.Ref{rows[0].Ref()}, Keep: true},
			"parked": {Parked: []outbox.Parking{{Ref: rows[1].Ref(), Reason: "why"}}},
		} {
			if err := s.Store.Settle(s.Context(), lost, st); !errors.Is(err, outbox.ErrLeaseLost) {
				s.Errorf("Settle what is %s: %v", what, err)
			}
		}
		if n, err := s.Store.Purge(s.Context(), lost, -time.Hour, 10); n != 0 || err != nil {
			s.Errorf("Purge = %d, %v", n, err)
		}
		if err := s.Store.Release(s.Context(), lost); err != nil {
			s.Errorf("Release: %v", err)
		}
		s.wantPending("a b c")
		if st := s.stats(); st.Lease <= 0 || st.Lease > time.Minute || st.Published != 1 {
			s.Errorf("stats: %+v", st)
		}
		if n, err := s.Store.Purge(s.Context(), lease, -time.Hour, 10); n != 1 || err != nil {
			s.Errorf("the holder's Purge = %d, %v", n, err)
		}
	}},
}
