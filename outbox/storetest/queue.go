package storetest

import (
	"math"
	"slices"
	"time"

	"github.com/ducnguyen96/ticketing-common/outbox"
)

var queueTests = []test{
	{name: "RowsComeInTheOrderOfTheirInsertion", run: func(s *suite) {
		s.add(message("c", "1"), message("a", "2"))
		s.add(message("b", "1"))
		s.wantPending("c a b")
		seqs := []int64{}
		for _, r := range s.all() {
			seqs = append(seqs, r.Seq)
		}
		if !slices.IsSorted(seqs) || seqs[0] <= 0 {
			s.Errorf("sequence numbers %v", seqs)
		}
	}},
	{name: "AQueryIsBounded", run: func(s *suite) {
		s.add(message("a", ""), message("b", ""), message("c", ""), message("d", ""))
		rows := s.all()
		h, err := s.Store.Horizon(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		if h.Last != rows[3].Seq || h.Generation <= 0 {
			s.Errorf("horizon %+v, the last row is %d", h, rows[3].Seq)
		}
		s.add(message("e", ""))
		for _, tt := range []struct {
			q    outbox.Query
			want string
		}{
			{outbox.Query{Limit: 2}, "a b"},
			{outbox.Query{Limit: 2, After: rows[1].Seq}, "c d"},
			{outbox.Query{Limit: 9, After: rows[1].Seq}, "c d e"},
			{outbox.Query{Limit: 9, Horizon: h}, "a b c d"},
			{outbox.Query{Limit: 9, Horizon: h, After: rows[2].Seq}, "d"},
			{outbox.Query{Limit: 9, Horizon: outbox.Horizon{Last: rows[1].Seq, Generation: h.Generation}}, "a b"},
			{outbox.Query{Limit: 9, Horizon: outbox.Horizon{Last: rows[1].Seq, Generation: h.Generation + 1}}, ""},
			{outbox.Query{Limit: 9, After: math.MaxInt64}, ""},
		} {
			if got := ids(s.pending(tt.q)); got != tt.want {
				s.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
			}
		}
	}},
	{name: "AReadCanBeLeft", run: func(s *suite) {
		s.addMany("e", 100, 100)
		for range 10 {
			for _, err := range s.Store.Pending(s.Context(), outbox.Query{Limit: 100}) {
				if err != nil {
					s.Fatal(err)
				}
				break
			}
		}
		if n := len(s.all()); n != 100 {
			s.Errorf("%d rows, want 100", n)
		}
	}},
	{name: "AnEmptyTableHasAHorizon", run: func(s *suite) {
		h, err := s.Store.Horizon(s.Context())
		if err != nil || h.Last != 0 || h.Generation <= 0 {
			s.Errorf("%+v, %v", h, err)
		}
		if got := s.pending(outbox.Query{Limit: 9, Horizon: h}); len(got) != 0 {
			s.Errorf("%d rows", len(got))
		}
	}},
	{name: "SentRowsAreGone", run: func(s *suite) {
		s.add(message("a", ""), message("b", ""), message("c", ""))
		rows := s.all()
		lease := s.acquire("r")
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{rows[0].Ref(), rows[2].Ref()}})
		s.wantPending("b")
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{rows[0].Ref(), rows[2].Ref()}}) // a retry
		s.wantPending("b")
		s.add(message("d", "")) // its number is above all before
		if again := s.all(); again[1].Seq <= rows[2].Seq {
			s.Errorf("sequence number %d was drawn after %d", again[1].Seq, rows[2].Seq)
		}
		if n, err := s.Store.Replay(s.Context(), time.Hour); n != 0 || err != nil {
			s.Errorf("%d rows were kept, %v", n, err)
		}
	}},
	{name: "RowsAreKnownByTheirIDsToo", run: func(s *suite) {
		s.add(message("a", "k"), message("b", "k"), message("c", ""))
		rows := s.all()
		// What had the numbers before a database lost its last commits.
		a, b, c := rows[0].Ref(), rows[1].Ref(), rows[2].Ref()
		a.ID, b.ID, c.ID = "b", "c", "d"
		lease := s.acquire("r")
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{a, c}})
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{a, c}, Keep: true})
		s.settle(lease, outbox.Settlement{Parked: []outbox.Parking{{Ref: a}, {Ref: c}}})
		s.wantPending("a b c")
		s.park(lease, rows[0].Ref(), b)
		s.wantPending("b! c")
	}},
	{name: "RowsWithIDsOfAllKindsAreSettled", run: func(s *suite) {
		var want []string
		for _, id := range []string{"a", `"`, `\`, `\"`, `{a,b}`, `{"1":"a"}`, "NULL", "null", "a b", "'", "é", "<&>", "1"} {
			want = append(want, id)
			s.add(message(id, "k"), message(id+" parked", id), message(id+" waits", id))
		}
		rows := s.all()
		lease := s.acquire("r")
		st := outbox.Settlement{Keep: true}
		for i := 0; i < len(rows); i += 3 {
			st.Sent = append(st.Sent, rows[i].Ref())
			st.Parked = append(st.Parked, outbox.Parking{Ref: rows[i+1].Ref()})
			st.Waiting = append(st.Waiting, rows[i+2].Ref())
		}
		s.settle(lease, st)
		s.wantPending("")
		if got := s.stats(); got.Parked != int64(len(want)) || got.Waiting != int64(len(want)) {
			s.Errorf("%+v", got)
		}
		if n, err := s.Store.Replay(s.Context(), time.Hour); n != len(want) || err != nil {
			s.Errorf("%d rows were kept, %v", n, err)
		}
		s.settle(lease, outbox.Settlement{Sent: st.Sent})
		s.wantPending("")
	}},
	{name: "KeptRowsAreReplayedOrPurged", run: func(s *suite) {
		s.add(message("a", ""), message("b", ""), message("c", ""))
		rows := s.all()
		lease := s.acquire("r")
		before, err := s.Store.Horizon(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{rows[0].Ref(), rows[1].Ref()}, Keep: true})
		s.wantPending("c")
		s.add(message("a", "")) // a late retry
		s.wantPending("c")
		if n, err := s.Store.Replay(s.Context(), time.Hour); n != 2 || err != nil {
			s.Errorf("replayed %d, %v, want 2", n, err)
		}
		s.wantPending("a b c")
		if got := s.pending(outbox.Query{Limit: 9, Horizon: before}); len(got) != 0 {
			s.Errorf("a pass that began before the replay goes on with %q", ids(got))
		}
		s.settle(lease, outbox.Settlement{Sent: []outbox.Ref{rows[0].Ref(), rows[1].Ref(), rows[2].Ref()}, Keep: true})
		if n, err := s.Store.Purge(s.Context(), lease, time.Hour, 9); n != 0 || err != nil {
			s.Errorf("purged %d rows that are not an hour old, %v", n, err)
		}
		if n, err := s.Store.Purge(s.Context(), outbox.Lease{Holder: lease.Holder, Epoch: lease.Epoch - 1}, 0, 9); n != 0 || err != nil {
			s.Errorf("purged %d rows with an old lease, %v", n, err)
		}
		left := 3
		s.eventually("the rows are purged, at most two at a time", func() bool {
			n, err := s.Store.Purge(s.Context(), lease, 0, 2)
			if err != nil || n > 2 {
				s.Fatalf("purged %d, %v", n, err)
			}
			left -= n
			return left == 0
		})
		if n, err := s.Store.Replay(s.Context(), time.Hour); n != 0 || err != nil {
			s.Errorf("%d rows are left, %v", n, err)
		}
	}},
	{name: "StatsCount", run: func(s *suite) {
		if st := s.stats(); st.Pending != 0 || st.Oldest != 0 || st.Published != 0 || st.Lease != 0 {
			s.Errorf("empty: %+v", st)
		}
		s.add(message("a", "k"), message("b", "k"), message("c", "k"), message("d", ""))
		rows := s.all()
		lease := s.acquire("r")
		s.settle(lease, outbox.Settlement{
			Sent:    []outbox.Ref{rows[3].Ref()},
			Parked:  []outbox.Parking{{Ref: rows[0].Ref()}},
			Waiting: []outbox.Ref{rows[1].Ref()},
		})
		s.eventually("the oldest has an age", func() bool { return s.stats().Oldest > 0 })
		st := s.stats()
		if st.Pending != 1 || st.Parked != 1 || st.Waiting != 1 || st.Published != 1 || st.Oldest > time.Hour {
			s.Errorf("%+v", st)
		}
	}},
}
