package brokertest

import (
	"context"
	"errors"
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
)

// testPositionSurvives settles a part of the messages in each of three runs.
// What is handed back may come again in any order.
func testPositionSurvives(s *suite) {
	const runs, each = 3, 10
	data := numbered(runs * each)
	s.feed(s.connect(), s.subject, data...)
	done := map[string]bool{}
	for range runs {
		in := s.receive(s.connect(), s.subscription())
		for range each {
			m := in.next()
			if done[string(m.Data)] {
				s.Errorf("%s came again after its acknowledgement", m.Data)
			}
			done[string(m.Data)] = true
			in.ack(m)
		}
		// What was handed over beyond those goes back at the stop.
		in.cancel()
		for more := true; more; {
			select {
			case m := <-in.msgs:
				_ = m.Settle(ticketing.Verdict{Kind: ticketing.Retry})
			case err := <-in.result:
				if err != nil {
					s.Fatal(err)
				}
				more = false
			}
		}
	}
	if len(done) != len(data) {
		s.Errorf("%d of %d messages came", len(done), len(data))
	}
}

func testStopDrains(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "one", "two")
	one, two := in.want("one"), in.want("two")
	ctx := <-in.ctxs
	in.cancel()
	in.ack(one)
	select {
	case err := <-in.result:
		s.Fatalf("Receive returned (%v) while a message was held", err)
	case <-ctx.Done():
		s.Fatal("the handler's context ended with Receive's")
	case <-time.After(50 * time.Millisecond):
	}
	in.ack(two)
	if err := in.wait(); err != nil {
		s.Fatalf("Receive = %v, want nil", err)
	}
	if !s.has.Durable {
		return
	}
	s.feed(c, s.subject, "three")
	in = s.receive(c, s.subscription())
	in.ack(in.want("three"))
	in.stop()
}

func testStopHandsBack(s *suite) {
	c := s.connect()
	sub := s.subscription()
	sub.DrainTimeout = 50 * time.Millisecond
	in := s.receive(c, sub)
	s.feed(c, s.subject, "stuck")
	m := in.want("stuck")
	ctx := <-in.ctxs
	in.stop()
	if ctx.Err() == nil {
		s.Error("the handler's context has not ended with the drain timeout")
	}
	if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
		s.Errorf("settling what was handed back = %v, want ErrSettled", err)
	}
	if !s.has.Durable {
		return
	}
	in = s.receive(s.connect(), s.subscription())
	in.ack(in.want("stuck"))
	in.stop()
}

func testReceiveWithEndedContext(s *suite) {
	c := s.connect()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, s.subscription(), func(context.Context, *ticketing.Inbound) {
			s.Error("a message was handed over after the end")
		})
	}()
	if err := s.await(result); err != nil {
		s.Errorf("Receive = %v, want nil", err)
	}
}

func testCloseEndsReceive(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	s.feed(c, s.subject, "one")
	in.ack(in.want("one"))
	closeConn(s.T, c, s.Patience)
	if err := in.wait(); !errors.Is(err, ticketing.ErrClosed) {
		s.Errorf("Receive = %v after Close, want ErrClosed", err)
	}
	again := s.receive(c, s.subscription())
	if err := again.wait(); !errors.Is(err, ticketing.ErrClosed) {
		s.Errorf("Receive on a closed connection = %v, want ErrClosed", err)
	}
}

func testCloseConcurrently(s *suite) {
	c := s.connect()
	result := s.sendAsync(s.Context(), c, s.message("{}"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { closeConn(s.T, c, s.Patience) })
	}
	wg.Wait()
	if err := s.await(result); err != nil {
		s.Errorf("a publish before Close = %v, want it awaited", err)
	}
	if err := c.Close(s.Context()); err != nil {
		s.Errorf("another Close = %v, want nil", err)
	}
}

func testNothingLeaks(s *suite) {
	use := func() {
		c := s.connect()
		in := s.receive(c, s.subscription())
		s.feed(c, s.subject, "one")
		in.ack(in.want("one"))
		in.stop()
		closeConn(s.T, c, s.Patience)
	}
	use() // an embedded server keeps goroutines for a channel or consumer that is new
	defer leaktest.Check(s)()
	for range 3 {
		use()
	}
}
