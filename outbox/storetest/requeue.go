package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// requeueTests requeue an event at the moments at which what the relay has in
// memory and what the table says differ. The order of the key has to hold.
var requeueTests = []test{
	{name: "InALongPass", run: testRequeueInPass},
	{name: "BeforeThoseBehindAreNotedDown", run: testRequeueBeforeNoted},
	{name: "BeforeTheRelayKnowsThatItIsParked", run: testRequeueBeforeKnown},
}

// testRequeueInPass requeues an event when a pass has gone past it, with
// another of its key before it.
func testRequeueInPass(s *suite) {
	s.add(message("k1", "k"))
	s.addMany("e", 400, 400)
	s.add(message("k2", "k"), message("last", "last")) // within the pass's bounds
	rows := s.all()
	lease := s.acquire("r")
	s.park(lease, rows[0].Ref(), rows[len(rows)-2].Ref())
	if err := s.Store.Release(s.Context(), lease); err != nil {
		s.Fatal(err)
	}
	b := s.broker()
	var once atomic.Bool
	h := &hooked{Store: s.Store}
	h.onPending = func(q outbox.Query) error {
		if q.After > 0 && once.CompareAndSwap(false, true) {
			s.requeue("k1")
			s.add(message("k3", "k"))
		}
		return nil
	}
	s.relay(h, b, &outbox.RelayOptions{MaxRows: 32})
	s.eventually("all are published", func() bool { return b.count() == 404 })
	if got := b.order("k"); got != "k1 k2 k3" {
		s.Errorf("order: %s", got)
	}
}

// testRequeueBeforeNoted requeues an event whose successors are about to be
// noted down as waiting, with another one behind them.
func testRequeueBeforeNoted(s *suite) {
	b := s.broker()
	b.setFault(invalid)
	var reads atomic.Int32
	noting, noted := make(chan struct{}), make(chan struct{})
	note := sync.OnceFunc(func() { close(noted) })
	s.Cleanup(note)
	entered := sync.OnceFunc(func() { close(noting) })
	h := &hooked{Store: s.Store}
	h.onPending = func(outbox.Query) error { reads.Add(1); return nil }
	h.onSettle = func(_ context.Context, st outbox.Settlement) error {
		if len(st.Waiting) > 0 {
			entered()
			<-noted
		}
		return nil
	}
	s.add(message("k1", "k"))
	s.relay(h, b, nil)
	s.eventually("the first is parked", func() bool { return s.stats().Parked == 1 })
	s.add(message("k2", "k"), message("k3", "k"))
	<-noting

	b.setFault(nil)
	s.requeue("k1")
	s.add(message("k4", "k"))
	before := reads.Load()
	s.eventually("the table was read after that", func() bool { return reads.Load() >= before+3 })
	note()
	s.wantKey(b, "k", 4)
}

// testRequeueBeforeKnown requeues an event as soon as it is parked, so that a
// pass of several reads meets it while the relay still waits to hear so, and
// goes on when it has.
func testRequeueBeforeKnown(s *suite) {
	b := s.broker()
	b.setFault(invalid)
	parked, known := make(chan struct{}), make(chan struct{})
	know := sync.OnceFunc(func() { close(known) })
	s.Cleanup(know)
	entered := sync.OnceFunc(func() { close(parked) })
	h := &hooked{Store: s.Store}
	h.after = func(st outbox.Settlement) error {
		if len(st.Parked) > 0 {
			entered()
			<-known
		}
		return nil
	}
	h.onPending = func(q outbox.Query) error {
		if q.After > 0 {
			know()
		}
		return nil
	}
	s.add(message("k1", "k"))
	s.relay(h, b, &outbox.RelayOptions{MaxRows: 8})
	<-parked

	b.setFault(nil)
	s.requeue("k1")
	var behind []*ticketing.Message
	for i := 2; i <= 20; i++ {
		behind = append(behind, message(fmt.Sprint("k", i), "k"))
	}
	s.add(behind...)
	s.wantKey(b, "k", 20)
}

// requeue makes a parked event pending again, as another process does.
func (s *suite) requeue(id string) {
	s.Helper()
	if n, err := s.Open(s.T).Requeue(s.Context(), id); n != 1 || err != nil {
		s.Errorf("requeue: %d, %v", n, err)
	}
}

// wantKey waits for the events 1 to n of a key, and compares their order.
func (s *suite) wantKey(b *broker, key string, n int) {
	s.Helper()
	s.eventually("all are published", func() bool { return b.count() == n })
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(key, i+1))
	}
	if got := b.order(key); got != strings.Join(want, " ") {
		s.Errorf("published in the order %s", got)
	}
}
