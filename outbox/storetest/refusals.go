package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/race"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// Without ErrInvalidEvent in the term's complete it is tried for ever. Without the
// parked keys in the pending query, or with those behind it left in the queue by
// park, they are published before it.
func testRejected(s *suite) {
	const n, keys = 3000, 50
	b := s.broker()
	bad := fmt.Sprint("e", 10*keys+7) // the eleventh of its key
	b.setFault(func(m *ticketing.Message) error {
		if m.ID == bad {
			return invalid(m)
		}
		return nil
	})
	s.addMany("e", n, keys)
	r := s.relay(s.Store, b, nil)
	behind := n/keys - 10
	s.eventually("all others are published", func() bool { return b.count() == n-behind })
	s.eventually("it is parked, and the rest of its key waits", func() bool {
		st := s.stats()
		return st.Parked == 1 && st.Waiting == int64(behind-1) && st.Pending == 0
	})
	s.add(message("more", "e-key7"))
	s.eventually("a new one of its key waits too", func() bool { return s.stats().Waiting == int64(behind) })
	if b.tried(bad) != 1 {
		s.Errorf("the rejected event was sent %d times, want once", b.tried(bad))
	}
	list, err := r.parked()
	if err != nil || len(list) != 1 || list[0].Message.ID != bad || !strings.Contains(list[0].Reason, ticketing.ErrTooLarge.Error()) {
		s.Fatalf("parked: %+v, %v", list, err)
	}
	b.setFault(nil)
	if k, err := s.Open(s.T).Requeue(s.Context(), bad); k != 1 || err != nil {
		s.Fatalf("requeue: %d, %v", k, err)
	}
	s.eventually("all are published", func() bool { return b.count() == n+1 })
	var want []string
	for i := 7; i < n; i += keys {
		want = append(want, fmt.Sprint("e", i))
	}
	if got := b.order("e-key7"); got != strings.Join(append(want, "more"), " ") {
		s.Errorf("order: %s", got)
	}
}

func (r *relay) parked() ([]outbox.Parked, error) { return r.s.Store.Parked(r.s.Context(), 0, 10) }

// With ErrRejected in place of ErrInvalidEvent in complete they are parked.
func testNeverParks(s *suite) {
	b := s.broker()
	faults := []struct {
		o   ticketing.Outcome
		err error
	}{
		{ticketing.OutcomeNotSent, ticketing.ErrNotConnected},
		{ticketing.OutcomeBusy, errors.New("the stream is full")},
		{ticketing.OutcomeUnknown, errors.New("no acknowledgement")},
		{ticketing.OutcomeRejected, ticketing.ErrNoStream},
		{ticketing.OutcomeRejected, ticketing.ErrPermission},
		{ticketing.OutcomeRejected, errors.New("something else")},
	}
	var calls atomic.Int32
	b.setFault(func(m *ticketing.Message) error {
		n := int(calls.Add(1)) - 1
		switch {
		case n < len(faults):
			return ticketing.NewPublishError(faults[n].o, m, faults[n].err)
		case n == len(faults):
			return errors.New("no PublishError at all")
		case n == len(faults)+1:
			return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, errStored)
		}
		return nil
	})
	s.relay(s.Store, b, nil)
	s.add(message("a", "k"), message("b", "k"))
	s.eventually("both are published, and gone", func() bool { return b.count() == 2 && len(s.all()) == 0 })
	if st := s.stats(); st.Parked != 0 {
		s.Errorf("%d are parked", st.Parked)
	}
	if b.tried("a") != len(faults)+3 {
		s.Errorf("the first was tried %d times, want %d", b.tried("a"), len(faults)+3)
	}
	if got := b.order("k"); got != "a b" {
		s.Errorf("order: %s", got)
	}
}

func testOneSubject(s *suite) {
	const missing ticketing.Subject = "no:stream"
	b := s.broker()
	noStream := func(m *ticketing.Message) error {
		if m.Subject == missing {
			return ticketing.NewPublishError(ticketing.OutcomeRejected, m, ticketing.ErrNoStream)
		}
		return nil
	}
	b.setFault(noStream)
	var batch []*ticketing.Message
	for i := range 500 {
		m := message(fmt.Sprint("x", i), fmt.Sprint("key", i%100))
		m.Subject = missing
		batch = append(batch, m)
	}
	for k := range 100 {
		batch = append(batch, message(fmt.Sprint("behind", k), fmt.Sprint("key", k)))
	}
	batch = append(batch, message("other", "other"), message("none", ""))
	s.add(batch...)
	release := b.setHold()
	s.relay(s.Store, b, &outbox.RelayOptions{MaxRows: 64})
	s.eventually("they have taken all the memory", func() bool { return b.sends() == 64 })
	release()
	s.eventually("what does not stand behind them is published", func() bool { return b.count() == 2 })
	s.addMany("e", 200, 20)
	s.eventually("and so is what comes then", func() bool { return b.count() == 202 })
	for k := range 100 {
		if b.tried(fmt.Sprint("behind", k)) != 0 {
			s.Errorf("an event of key%d overtook one that waits for its stream", k)
		}
	}
	b.setFault(nil)
	s.eventually("all are published", func() bool { return b.count() == 802 })
	for k := range 100 {
		var want []string
		for i := k; i < 500; i += 100 {
			want = append(want, fmt.Sprint("x", i))
		}
		want = append(want, fmt.Sprint("behind", k))
		if got := b.order(fmt.Sprint("key", k)); got != strings.Join(want, " ") {
			s.Errorf("key%d: order %s", k, got)
		}
	}
}

// testBrokerAway has 100 000 rows pending while the broker is away. Without outage
// in the pass's fetchAt, or pause in the queue, the relay is busy. Without the
// bounds in room, admit and spill it takes all into memory.
func testBrokerAway(s *suite) {
	n := 100_000
	if race.Enabled {
		n = 10_000 // it is ten times as slow
	}
	b := s.broker()
	b.setFault(away)
	s.addQuickly("e", n, n/2)
	idle := heap()
	h := &hooked{Store: s.Store}
	var seen atomic.Bool // the end of the backlog
	h.onPending = func(q outbox.Query) error {
		if q.After > 0 && q.After > q.Last()-int64(n/10) {
			seen.Store(true)
		}
		return nil
	}
	s.relay(h, b, &outbox.RelayOptions{Backoff: 100 * time.Millisecond, MaxBackoff: 500 * time.Millisecond})
	s.eventually("it tries", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.tries) > 0 })
	<-time.After(time.Second)
	calls, sends := h.calls.Load(), b.sends()
	<-time.After(2 * time.Second)
	if got := h.calls.Load() - calls; got > 20 {
		s.Errorf("%d calls of the store in 2 s while nothing can be done", got)
	}
	if got := b.sends() - sends; got > 20 {
		s.Errorf("%d events were tried in 2 s while the broker is away", got)
	}
	// It looks for events of other subjects.
	b.setFault(func(m *ticketing.Message) error {
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, ticketing.ErrNoStream)
	})
	s.eventuallyWithin(4*patience, "it has looked at all", seen.Load)
	if more := heap() - idle; more > 16<<20 {
		s.Errorf("the relay takes %d MiB", more>>20)
	}
	b.setFault(nil)
	s.eventuallyWithin(4*patience, "all are published", func() bool { return b.stored1() == n })
	s.eventually("and gone", func() bool { return s.stats().Pending == 0 })
}

// addQuickly is addMany for those who do not care for the order.
func (s *suite) addQuickly(prefix string, n, keys int) {
	s.Helper()
	writers := 4
	if s.OneWriter {
		writers = 1
	}
	errs := make(chan error)
	for w := range writers {
		go func() {
			errs <- s.InTx(s.Context(), func(tx ticketing.Sender) error {
				for i := w; i < n; i += writers {
					if err := send(s.Context(), tx, message(fmt.Sprint(prefix, i), fmt.Sprint(prefix, "-key", i%keys))); err != nil {
						return err
					}
				}
				return nil
			})
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			s.Error(err)
		}
	}
}

func (b *broker) sends() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.tries {
		n += k
	}
	return n
}

// stored1 is how many were stored, copies included.
func (b *broker) stored1() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.stored)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
