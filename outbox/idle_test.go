package outbox_test

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// table is a store in memory that counts what it is asked. Another process
// writes into it: nobody is woken.
type table struct {
	outbox.Store // nil: the relay of this test needs no more
	mu           sync.Mutex
	rows         []outbox.Row
	calls        int
}

func (s *table) add(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, outbox.Row{Seq: seq, Message: ticketing.Message{ID: "e", Subject: ticketing.SubjectTicketCreated}})
}

func (s *table) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *table) Acquire(context.Context, string, time.Duration) (outbox.Lease, bool, error) {
	return outbox.Lease{Epoch: 1}, true, nil
}

func (s *table) Renew(context.Context, outbox.Lease, time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return nil
}

func (s *table) Release(context.Context, outbox.Lease) error { return nil }

func (s *table) Pending(context.Context, outbox.Query) iter.Seq2[outbox.Row, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	rows := slices.Clone(s.rows)
	return func(yield func(outbox.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s *table) Settle(_ context.Context, _ outbox.Lease, st outbox.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.rows = slices.DeleteFunc(s.rows, func(r outbox.Row) bool { return slices.Contains(st.Sent, r.Ref()) })
	return nil
}

func (s *table) Subscribe(func()) (cancel func()) { return func() {} }

func TestARelayAsksLessTheLongerThereIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(table)
		var rec natstest.Recorder
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := outbox.NewRelay(s, &rec, &outbox.RelayOptions{Logger: slog.New(slog.DiscardHandler)}).Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer wg.Wait()
		defer cancel()
		wait := func(d time.Duration) int {
			before := s.asked()
			time.Sleep(d) // the bubble's time
			synctest.Wait()
			return s.asked() - before
		}
		wait(time.Second)
		if n := wait(10 * time.Second); n > 50 {
			t.Errorf("%d calls in 10 s while there was never anything, want at most 5 a second", n)
		}
		s.add(1)
		wait(outbox.DefaultMaxPoll)
		if n := len(rec.Messages()); n != 1 {
			t.Errorf("%d events are published a poll later, want the one", n)
		}
		if n := wait(100 * time.Millisecond); n < 100/5/2 {
			t.Errorf("%d calls in 100 ms right after an event, want one every 5 to 10 ms", n)
		}
		wait(5 * time.Second) // twenty times the slowest poll
		if n := wait(10 * time.Second); n > 50 {
			t.Errorf("%d calls in 10 s, want at most 5 a second", n)
		}
	})
}
