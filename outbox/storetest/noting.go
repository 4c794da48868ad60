package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// testLostCommits lets the database lose an event that is published already
// and about to be noted down, and gives its number to another one.
func testLostCommits(s *suite) {
	b := s.broker()
	noting, noted := make(chan struct{}), make(chan struct{})
	note := sync.OnceFunc(func() { close(noted) })
	s.Cleanup(note)
	entered := sync.OnceFunc(func() { close(noting) })
	h := &hooked{Store: s.Store}
	h.onSettle = func(context.Context, outbox.Settlement) error {
		entered()
		<-noted
		return nil
	}
	s.add(message("old", "k"))
	seq := s.all()[0].Seq
	s.relay(h, b, nil)
	<-noting
	if err := s.Lose(s.Context(), seq); err != nil {
		s.Fatal(err)
	}
	s.add(message("new", "k"))
	if rows := s.all(); len(rows) != 1 || rows[0].Seq != seq {
		s.Fatalf("%+v, want the number %d again", rows, seq)
	}
	note()
	s.eventually("the new one is published, and gone", func() bool { return b.order("k") == "old new" && len(s.all()) == 0 })
}

// testReason parks events for reasons of which no text is made.
func testReason(s *suite) {
	b := s.broker()
	b.setFault(func(m *ticketing.Message) error {
		if m.Key == "" {
			return nil
		}
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m,
			fmt.Errorf("%w: \x00\xff\x1b[2J\n%s", ticketing.ErrInvalidEvent, strings.Repeat("é", 1000)))
	})
	s.add(message("a", "k"), message("bb", "l"), message("c", "")) // for one of the two it is cut within an é
	s.relay(s.Store, b, nil)
	s.eventually("they are parked, and the other is gone", func() bool { return s.stats().Parked == 2 && len(s.all()) == 0 })
	list, err := s.Store.Parked(s.Context(), 0, 9)
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range list {
		if !utf8.ValidString(p.Reason) || strings.ContainsFunc(p.Reason, unicode.IsControl) || !strings.Contains(p.Reason, "[2J éé") {
			s.Errorf("the reason is %q", p.Reason)
		}
	}
}

// testUnparkable has a database that does not let one of the rows be parked.
func testUnparkable(s *suite) {
	b := s.broker()
	b.setFault(func(m *ticketing.Message) error {
		if strings.HasPrefix(m.ID, "bad") {
			return invalid(m)
		}
		return nil
	})
	h := &hooked{Store: s.Store}
	h.onSettle = func(_ context.Context, st outbox.Settlement) error {
		if slices.ContainsFunc(st.Parked, func(p outbox.Parking) bool { return p.ID == "bad7" }) {
			return errors.New("index row size 9624 exceeds maximum 2704")
		}
		return nil
	}
	for i := range 20 {
		key := fmt.Sprint("key", i)
		s.add(message(fmt.Sprint("bad", i), key), message(fmt.Sprint("behind", i), key))
	}
	r := s.relay(h, b, nil)
	s.addMany("e", 3000, 50)
	s.eventually("the others are published, and gone, and the other bad ones are parked", func() bool {
		st := s.stats()
		return b.count() == 3000 && st.Pending == 2 && st.Parked == 19 && st.Waiting == 19
	})
	s.add(message("later", "k"))
	s.eventually("so are later ones", func() bool { return b.count() == 3001 && s.stats().Pending == 2 })
	s.wantPending("bad7 behind7")
	r.stop()
	if st := s.stats(); st.Lease != 0 {
		s.Error("the lease was not given back")
	}
}
