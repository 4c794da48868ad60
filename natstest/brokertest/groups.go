package brokertest

import (
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func testGroupShares(s *suite) {
	a, b := s.connect(), s.connect()
	sub := s.subscription()
	sub.Window = 4
	sub.AckWait = 30 * time.Second // what comes twice is no redelivery
	members := []*intake{s.receive(a, sub), s.receive(b, sub)}
	const n = 100
	s.feedMeanwhile(a, s.subject, numbered(n)...)
	seen := map[string]int{}
	for range n {
		in, m := s.either(members)
		seen[string(m.Data)]++
		in.ack(m)
	}
	for d, times := range seen {
		if times != 1 {
			s.Errorf("message %s came %d times", d, times)
		}
	}
	for _, in := range members {
		in.stop()
	}
}

// either waits for a message at one of two members.
func (s *suite) either(members []*intake) (*intake, *ticketing.Inbound) {
	s.Helper()
	select {
	case m := <-members[0].msgs:
		return members[0], m
	case m := <-members[1].msgs:
		return members[1], m
	case <-time.After(s.Patience):
		s.Fatalf("no message at either member within %v", s.Patience)
		return nil, nil
	}
}

// testBacklogIsShared has a backlog before the members come, with the window
// that the broker chooses itself, and a handler that takes its time: each
// member gets its share. Neither handles anything before both have come, so
// that a window as large as the backlog shows.
func testBacklogIsShared(s *suite) {
	const n, work = 200, 5 * time.Millisecond
	a, b := s.connect(), s.connect()
	s.feed(a, s.subject, numbered(n)...)
	sub := s.subscription()
	sub.Window = 0
	sub.Concurrency = 1
	sub.AckWait = 30 * time.Second
	members := []*intake{s.receive(a, sub), s.receive(b, sub)}
	first := []*ticketing.Inbound{members[0].next(), members[1].next()}

	type handled struct {
		member int
		data   string
	}
	done := make(chan handled, n)
	for member, in := range members {
		s.meanwhile(func() {
			for m := first[member]; ; {
				time.Sleep(work) // what the handler does
				if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
					s.complain("acknowledge %s: %v", m.Data, err)
					return
				}
				done <- handled{member, string(m.Data)}
				select {
				case m = <-in.msgs:
				case <-s.Context().Done():
					return
				}
			}
		})
	}
	seen := map[string]bool{}
	share := [2]int{}
	for range n {
		select {
		case h := <-done:
			if seen[h.data] {
				s.Errorf("message %s came twice", h.data)
			}
			seen[h.data] = true
			share[h.member]++
		case <-time.After(s.Patience):
			s.Fatalf("only %d of %d were handled within %v", len(seen), n, s.Patience)
		}
	}
	s.Logf("shares of %d: %v", n, share)
	if min(share[0], share[1]) < n/5 {
		s.Errorf("shares %v: want each member at least %d", share, n/5)
	}
	for _, in := range members {
		in.stop()
	}
}

func testTwoGroups(s *suite) {
	c := s.connect()
	one, other := s.subscription(), s.subscription()
	other.Group = "other_group"
	data := numbered(20)
	intakes := []*intake{s.receive(c, one), s.receive(c, other)}
	s.feed(c, s.subject, data...)
	for _, in := range intakes {
		for _, d := range data {
			in.ack(in.want(d))
		}
		in.stop()
	}
}

func testOneGroupTwoSubjects(s *suite) {
	c := s.connect()
	one, other := s.subscription(), s.subscription()
	other.Subject = second(s.subject)
	intakes := []*intake{s.receive(c, one), s.receive(c, other)}
	data := numbered(20)
	s.feed(c, one.Subject, data...)
	s.feed(c, other.Subject, data...)
	for i, in := range intakes {
		for _, d := range data {
			m := in.want(d)
			if want := []ticketing.Subject{one.Subject, other.Subject}[i]; m.Subject != want {
				s.Fatalf("a message of %s came to the subscription of %s", m.Subject, want)
			}
			in.ack(m)
		}
		in.stop()
	}
}
