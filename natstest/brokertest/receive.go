package brokertest

import (
	"errors"
	"strings"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func testInvalidSubscription(s *suite) {
	c := s.connect()
	for _, test := range []struct {
		subject ticketing.Subject
		group   string
		want    error
	}{
		{"a b", "group", ticketing.ErrInvalidSubject},
		{"a.>", "group", ticketing.ErrInvalidSubject},
		{s.subject, "", ticketing.ErrInvalidGroup},
		{s.subject, "a:b", ticketing.ErrInvalidGroup},
		{s.subject, "a.b", ticketing.ErrInvalidGroup},
		{s.subject, strings.Repeat("g", ticketing.MaxGroupLen+1), ticketing.ErrInvalidGroup},
	} {
		in := s.receive(c, ticketing.Subscription{Subject: test.subject, Group: test.group})
		if err := in.wait(); !errors.Is(err, test.want) {
			s.Errorf("Receive(%q, %q) = %v, want %v", test.subject, test.group, err, test.want)
		}
	}
}

func testHandOverOrder(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	data := numbered(200)
	s.feedMeanwhile(c, s.subject, data...)
	for _, d := range data {
		in.ack(in.want(d))
	}
	in.stop()
}

// checkGone restarts the receiver of what was settled with kind, and expects
// nothing before what is published then.
func (s *suite) checkGone(kind ticketing.VerdictKind) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "first")
	in.settle(in.want("first"), ticketing.Verdict{Kind: kind})
	in.stop()
	s.feed(c, s.subject, "second")
	in = s.receive(c, s.subscription())
	in.ack(in.want("second"))
	s.quiet(in, 1300*time.Millisecond) // longer than the ack wait
	in.stop()
}

func testAck(s *suite)  { s.checkGone(ticketing.Ack) }
func testDrop(s *suite) { s.checkGone(ticketing.Drop) }

func testRetry(s *suite) {
	c := s.connect()
	sub := s.subscription()
	in := s.receive(c, sub)
	start := time.Now()
	s.feed(c, s.subject, "again")
	id, last := "", 0
	for attempt := 1; attempt <= 3; attempt++ {
		m := in.want("again")
		if id == "" {
			id = m.ID
		} else if m.ID != id {
			s.Errorf("attempt %d has id %q, the first had %q", attempt, m.ID, id)
		}
		switch {
		case s.has.Attempts && m.Attempt <= last:
			s.Errorf("attempt %d after attempt %d", m.Attempt, last)
		case s.has.Attempts && m.Attempt > attempt+int(time.Since(start)/sub.AckWait):
			// On a machine that stood still the ack wait counts, too.
			s.Errorf("attempt %d after %v, want %d", m.Attempt, time.Since(start), attempt)
		case attempt > 1 && m.Attempt < 2:
			s.Errorf("a redelivery says it is attempt %d", m.Attempt)
		}
		last = m.Attempt
		if attempt < 3 {
			in.settle(m, ticketing.Verdict{Kind: ticketing.Retry})
		} else {
			in.ack(m)
		}
	}
	in.stop()
}

func testRetryDelay(s *suite) {
	const delay = 300 * time.Millisecond
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "later")
	m := in.want("later")
	start := time.Now()
	in.settle(m, ticketing.Verdict{Kind: ticketing.Retry, After: delay})
	in.ack(in.want("later"))
	// Jitter may shorten the delay by a fifth.
	if d := time.Since(start); d < delay*8/10 {
		s.Errorf("it came again after %v, want %v", d, delay)
	}
	in.stop()
}

func testAbandon(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "left")
	m := in.want("left")
	in.settle(m, ticketing.Verdict{Kind: ticketing.Abandon})
	again := in.want("left")
	if again.Sequence != m.Sequence {
		s.Errorf("sequence %d came again as %d", m.Sequence, again.Sequence)
	}
	in.ack(again)
	in.stop()
}

func testSettleOnce(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "once")
	m := in.want("once")
	in.ack(m)
	for _, kind := range []ticketing.VerdictKind{ticketing.Ack, ticketing.Retry} {
		if err := m.Settle(ticketing.Verdict{Kind: kind}); !errors.Is(err, ticketing.ErrSettled) {
			s.Errorf("a second settlement (%v) = %v, want ErrSettled", kind, err)
		}
	}
	in.stop()
}

func testWindow(s *suite) {
	const window = 4
	c := s.connect()
	sub := s.subscription()
	sub.Window = window
	sub.AckWait = 30 * time.Second
	in := s.receive(c, sub)
	data := numbered(3 * window)
	s.feedMeanwhile(c, s.subject, data...)
	var held []*ticketing.Inbound
	for _, d := range data {
		if len(held) == window {
			s.quiet(in, 20*time.Millisecond)
			in.ack(held[0])
			held = held[1:]
		}
		held = append(held, in.want(d))
	}
	for _, m := range held {
		in.ack(m)
	}
	in.stop()
}

// testHeldIsAbsorbed holds a message over several ack waits.
func testHeldIsAbsorbed(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "held")
	m := in.want("held")
	s.quiet(in, 2500*time.Millisecond)
	in.ack(m)
	s.feed(c, s.subject, "next")
	in.ack(in.want("next"))
	in.stop()
}

func testHeldIsKept(s *suite) {
	c, other := s.connect(), s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "kept")
	m := in.want("kept")
	peer := s.receive(other, s.subscription())
	s.quiet(peer, 2500*time.Millisecond)
	in.ack(m)
	s.quiet(peer, 1200*time.Millisecond)
	in.stop()
	peer.stop()
}

// quiet watches for d that nothing is handed over.
func (s *suite) quiet(in *intake, d time.Duration) {
	s.Helper()
	select {
	case m := <-in.msgs:
		s.Fatalf("message %q (attempt %d) was handed over", clip(string(m.Data)), m.Attempt)
	case err := <-in.result:
		s.Fatalf("Receive returned: %v", err)
	case <-time.After(d):
	}
}

func testCrash(s *suite) {
	if s.Crash == nil {
		s.Skip("not tested: the harness has no Crash")
	}
	c := s.connect()
	sub := s.subscription()
	sub.DrainTimeout = 100 * time.Millisecond // nobody will settle what is lost
	in := s.receive(c, sub)
	s.feed(c, s.subject, "lost", "unseen")
	lost := in.want("lost")
	s.Crash(c)
	peer := s.receive(s.connect(), s.subscription())
	seen := map[string]bool{}
	for len(seen) < 2 {
		m := peer.next()
		seen[string(m.Data)] = true
		if string(m.Data) == "lost" && m.ID != lost.ID {
			s.Errorf("id %q at the redelivery, %q before", m.ID, lost.ID)
		}
		peer.ack(m)
	}
	if !seen["lost"] || !seen["unseen"] {
		s.Errorf("the peer got %v, want lost and unseen", seen)
	}
	peer.stop()
}
