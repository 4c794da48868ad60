package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// patience bounds every wait. Databases on busy machines are slow.
const patience = 60 * time.Second

const subject = ticketing.SubjectTicketCreated

// message is an event for a test.
func message(id, key string) *ticketing.Message {
	return &ticketing.Message{ID: id, Key: key, Subject: subject, Time: time.Now(), Data: []byte(`{"id":"` + id + `"}`)}
}

// send calls a synchronous sender.
func send(ctx context.Context, s ticketing.Sender, m *ticketing.Message) (err error) {
	called := 0
	s.Send(ctx, m, func(e error) { called++; err = e })
	if called != 1 {
		return fmt.Errorf("done was called %d times before Send returned", called)
	}
	return err
}

func (s *suite) begin() Tx {
	s.Helper()
	tx, err := s.Begin(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = tx.Rollback() }) // if the test did not get further
	return tx
}

func (s *suite) write(tx Tx, messages ...*ticketing.Message) {
	s.Helper()
	for _, m := range messages {
		if err := send(s.Context(), tx.Sender(), m); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *suite) commit(tx Tx) {
	s.Helper()
	if err := tx.Commit(); err != nil {
		s.Fatal(err)
	}
}

// add commits events in one transaction.
func (s *suite) add(messages ...*ticketing.Message) {
	s.Helper()
	err := s.InTx(s.Context(), func(tx ticketing.Sender) error {
		for _, m := range messages {
			if err := send(s.Context(), tx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// addMany commits n events with ids of the prefix and a number from 0, over
// a number of keys.
func (s *suite) addMany(prefix string, n, keys int) {
	s.Helper()
	var batch []*ticketing.Message
	for i := range n {
		batch = append(batch, message(fmt.Sprintf("%s%d", prefix, i), fmt.Sprintf("%s-key%d", prefix, i%keys)))
	}
	for part := range slices.Chunk(batch, 5000) {
		s.add(part...)
	}
}

// pending reads with a query.
func (s *suite) pending(q outbox.Query) []outbox.Row {
	s.Helper()
	var rows []outbox.Row
	for r, err := range s.Store.Pending(s.Context(), q) {
		if err != nil {
			s.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

func (s *suite) all() []outbox.Row {
	s.Helper()
	return s.pending(outbox.Query{Limit: 1_000_000})
}

// ids are the ids of rows, in order, with a '!' behind those that are blocked.
func ids(rows []outbox.Row) string {
	var b []string
	for _, r := range rows {
		id := r.Message.ID
		if r.Blocked {
			id += "!"
		}
		b = append(b, id)
	}
	return strings.Join(b, " ")
}

func (s *suite) wantPending(want string) {
	s.Helper()
	if got := ids(s.all()); got != want {
		s.Fatalf("pending: %q, want %q", got, want)
	}
}

func (s *suite) acquire(holder string) outbox.Lease {
	s.Helper()
	lease, ok, err := s.Store.Acquire(s.Context(), holder, time.Minute)
	if err != nil || !ok {
		s.Fatalf("Acquire: %v, %v", ok, err)
	}
	return lease
}

func (s *suite) settle(lease outbox.Lease, st outbox.Settlement) {
	s.Helper()
	if err := s.Store.Settle(s.Context(), lease, st); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) stats() outbox.Stats {
	s.Helper()
	st, err := s.Store.Stats(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return st
}

// eventually waits until ok.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	s.eventuallyWithin(patience, what, ok)
}

func (s *suite) eventuallyWithin(d time.Duration, what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(d); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			s.Fatalf("not within %v: %s", d, what)
		}
	}
}

// relay runs a relay until stop is called, or the test ends.
type relay struct {
	*outbox.Relay
	s    *suite
	stop func()
}

func (s *suite) relay(store outbox.Store, to ticketing.Sender, opts *outbox.RelayOptions) *relay {
	s.Helper()
	var o outbox.RelayOptions
	if opts != nil {
		o = *opts
	}
	if o.Backoff == 0 {
		o.Backoff, o.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(s.Output(), nil))
	}
	r := outbox.NewRelay(store, to, &o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					s.Errorf("Run: %v", err)
				}
			case <-time.After(patience):
				s.Error("Run did not return after its ctx ended")
			}
		})
	}
	s.Cleanup(stop)
	return &relay{r, s, stop}
}
