package storetest

import (
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

// park parks a row and lets others wait.
func (s *suite) park(lease outbox.Lease, parked outbox.Ref, waiting ...outbox.Ref) {
	s.Helper()
	s.settle(lease, outbox.Settlement{Parked: []outbox.Parking{{Ref: parked, Reason: "too large"}}, Waiting: waiting})
}

var parkedTests = []test{
	{name: "AParkedRowBlocksItsKey", run: func(s *suite) {
		s.add(message("a", "k"), message("b", "l"), message("c", "k"), message("d", "k"), message("e", ""), message("f", ""))
		rows := s.all()
		lease := s.acquire("r")
		s.park(lease, rows[0].Ref())
		s.wantPending("b c! d! e f")
		s.park(lease, rows[4].Ref()) // without a key
		s.wantPending("b c! d! f")
		s.settle(lease, outbox.Settlement{Waiting: []outbox.Ref{rows[2].Ref(), rows[3].Ref()}})
		s.wantPending("b f")
		s.add(message("g", "k"))
		s.wantPending("b f g!")
	}},
	{name: "ParkedRowsAreListed", run: func(s *suite) {
		s.add(message("a", "k"), message("b", "l"), message("c", "m"))
		rows := s.all()
		lease := s.acquire("r")
		s.park(lease, rows[0].Ref())
		s.park(lease, rows[2].Ref())
		list, err := s.Store.Parked(s.Context(), 0, 9)
		if err != nil || len(list) != 2 {
			s.Fatalf("%v, %v", list, err)
		}
		p := list[0]
		if p.Seq != rows[0].Seq || p.Message.ID != "a" || p.Message.Key != "k" || len(p.Message.Data) == 0 || p.Reason != "too large" || p.Age < 0 || p.Age > time.Hour {
			s.Errorf("%+v", p)
		}
		if list, err = s.Store.Parked(s.Context(), p.Seq, 9); err != nil || len(list) != 1 || list[0].Message.ID != "c" {
			s.Errorf("after the first: %v, %v", list, err)
		}
		if list, err = s.Store.Parked(s.Context(), 0, 1); err != nil || len(list) != 1 {
			s.Errorf("one of them: %v, %v", list, err)
		}
	}},
	{name: "RequeueLetsTheKeyGoOnWhereItWas", run: func(s *suite) {
		s.add(message("a", "k"), message("b", "k"), message("c", "k"), message("d", "l"), message("e", "l"))
		rows := s.all()
		lease := s.acquire("r")
		s.park(lease, rows[0].Ref(), rows[1].Ref(), rows[2].Ref())
		s.park(lease, rows[3].Ref(), rows[4].Ref())
		before, err := s.Store.Horizon(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		s.add(message("f", "k"))
		if n, err := s.Store.Requeue(s.Context(), "a", "b", "nobody"); n != 1 || err != nil {
			s.Errorf("requeued %d, %v, want 1", n, err)
		}
		s.wantPending("a b c f")
		if got := s.pending(outbox.Query{Limit: 9, Horizon: before}); len(got) != 0 {
			s.Errorf("a pass that began before goes on with %q: it would skip a", ids(got))
		}
		if n, err := s.Store.Requeue(s.Context()); n != 0 || err != nil {
			s.Errorf("requeued %d, %v, want none", n, err)
		}
	}},
	{name: "DiscardDeletesAndLetsTheKeyGoOn", run: func(s *suite) {
		s.add(message("a", "k"), message("b", "k"), message("c", "l"))
		rows := s.all()
		lease := s.acquire("r")
		s.park(lease, rows[0].Ref(), rows[1].Ref())
		if n, err := s.Store.Discard(s.Context(), "c", "b", "a"); n != 1 || err != nil {
			s.Errorf("discarded %d, %v, want the parked one alone", n, err)
		}
		s.wantPending("b c")
		if st := s.stats(); st.Parked != 0 || st.Waiting != 0 || st.Pending != 2 {
			s.Errorf("%+v", st)
		}
	}},
	{name: "ARowWaitsOnlyWhileItsKeyIsParked", run: func(s *suite) {
		s.add(message("a", "k"), message("b", "k"))
		rows := s.all()
		lease := s.acquire("r")
		s.park(lease, rows[0].Ref())
		if _, err := s.Store.Requeue(s.Context(), "a"); err != nil {
			s.Fatal(err)
		}
		s.settle(lease, outbox.Settlement{Waiting: []outbox.Ref{rows[1].Ref()}}) // too late
		s.wantPending("a b")
	}},
	{name: "RequeueWakesTheRelayOfItsStore", run: func(s *suite) {
		s.add(message("a", "k"))
		lease := s.acquire("r")
		s.park(lease, s.all()[0].Ref())
		woken := 0
		defer s.Store.Subscribe(func() { woken++ })()
		if _, err := s.Store.Requeue(s.Context(), "a"); err != nil {
			s.Fatal(err)
		}
		if woken == 0 {
			s.Error("not woken")
		}
	}},
}
