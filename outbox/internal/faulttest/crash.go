// Package faulttest is what the fault tests of the stores have in common. It
// does to relays in processes of their own what happens to processes: SIGKILL
// and SIGSTOP. The broker is a real JetStream server.
package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

const (
	subject = ticketing.SubjectTicketCreated
	lease   = time.Second
	window  = 64
	keys    = 20
)

// Relay is the role of a child that runs a relay over the store that open
// opens with a name.
func Relay(open func(ctx context.Context, name string) (outbox.Store, error)) process.Role {
	return func(ctx context.Context) error {
		store, err := open(ctx, os.Getenv("STORE"))
		if err != nil {
			return err
		}
		client, err := connect(ctx, os.Getenv("NATS"), "child")
		if err != nil {
			return err
		}
		defer client.Close(context.WithoutCancel(ctx))
		if n, _ := strconv.Atoi(os.Getenv("SETTLE")); n > 0 {
			store = &stuck{Store: store, settle: n}
		}
		process.Ready(ctx, "")
		return relay(store, client).Run(ctx)
	}
}

// stuck cannot note down any more after a number of times.
type stuck struct {
	outbox.Store
	settle int
}

func (s *stuck) Settle(ctx context.Context, l outbox.Lease, st outbox.Settlement) error {
	if s.settle--; s.settle < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Settle(ctx, l, st)
}

func connect(ctx context.Context, url, id string) (*natswrap.Client, error) {
	return natswrap.Connect(ctx, natswrap.Config{URLs: []string{url}, ClientID: id, VerifyOnly: true, Subjects: []ticketing.Subject{subject}})
}

func relay(s outbox.Store, to ticketing.Sender) *outbox.Relay {
	return outbox.NewRelay(s, to, &outbox.RelayOptions{
		Lease: lease, Window: window,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// Harness is an outbox, which other processes open by a name.
type Harness struct {
	Role, Name string
	Store      Store
}

type test struct {
	*testing.T
	Harness
	url    string
	stream jetstream.Stream
	n      int
}

// start makes a broker that forgets what it deduplicates by soon, so that
// what is published twice is seen.
func start(t *testing.T, h Harness, duplicates time.Duration) *test {
	s := natsserver.Run(t)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "TICKETING", Subjects: []string{string(subject)}, Duplicates: duplicates})
	if err != nil {
		t.Fatal(err)
	}
	return &test{T: t, Harness: h, url: s.URL(), stream: stream}
}

func (t *test) child(vars ...string) (*process.Process, *output) {
	t.Helper()
	out := new(output)
	vars = append(vars, "STORE="+t.Name, "NATS="+t.url)
	return process.Run(t.T, t.Role, process.Env(vars...), process.Output(out)), out
}

// output is what a child wrote.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) has(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.buf.String(), text)
}

// own runs a relay in this process until the test ends.
func (t *test) own() {
	t.Helper()
	client, err := connect(t.Context(), t.url, "own")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- relay(t.Store, client).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, client.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

func (t *test) add(n int) {
	t.Helper()
	var batch []*ticketing.Message
	for range n {
		batch = append(batch, Message(fmt.Sprint("e", t.n), fmt.Sprint("key", t.n%keys)))
		t.n++
	}
	if err := Add(t.Context(), t.Store, batch...); err != nil {
		t.Fatal(err)
	}
}

// suspend suspends the child where it does not hold the write lock: SQLite has
// one, and nobody could do anything until the child goes on.
func (t *test) suspend(child *process.Process) {
	t.Helper()
	Eventually(t.T, "the child is suspended outside of a transaction", func() bool {
		if err := child.Suspend(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		// A write that changes nothing.
		if _, err := t.Store.Purge(ctx, outbox.Lease{}, time.Hour, 1); err == nil || errors.Is(err, outbox.ErrLeaseLost) {
			return true
		}
		if err := child.Resume(); err != nil {
			t.Fatal(err)
		}
		// The child comes to the end of its transaction first: suspended again at
		// once it might be in the same one for ever.
		_, _ = t.Store.Purge(t.Context(), outbox.Lease{}, time.Hour, 1)
		return false
	})
}

func (t *test) stored() int {
	info, err := t.stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(info.State.Msgs)
}

func (t *test) drained() {
	t.Helper()
	Eventually(t.T, "the table is empty", func() bool {
		st, err := t.Store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Pending+st.Parked+st.Waiting == 0
	})
}

// check reads the stream: every event is there, those of each key in order,
// and returns how many are there more than once.
func (t *test) check() (again int) {
	t.Helper()
	consumer, err := t.stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	next := make(map[int]int)
	for left := t.stored(); left > 0; {
		batch, err := consumer.Fetch(min(left, 1000))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			left--
			id := m.Headers().Get(ticketing.HeaderID)
			if seen[id] {
				again++
				continue
			}
			seen[id] = true
			n, err := strconv.Atoi(strings.TrimPrefix(id, "e"))
			if err != nil {
				t.Fatal(err)
			}
			if want := n%keys + next[n%keys]*keys; n != want {
				t.Errorf("e%d was published when e%d was due", n, want)
			}
			next[n%keys]++
		}
		if err := batch.Error(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != t.n {
		t.Errorf("%d events were published, %d committed", len(seen), t.n)
	}
	return again
}

// RunCrashes runs the tests; open is called for each.
func RunCrashes(t *testing.T, open func(t *testing.T) Harness) {
	// Without the event's own id, as what the stream deduplicates by, they are there
	// twice.
	t.Run("KilledBetweenPublishAndBookkeeping", func(t *testing.T) {
		x := start(t, open(t), 2*time.Minute)
		x.add(2000)
		child, _ := x.child("SETTLE=1")
		// More are stored than were noted down, and it is stuck.
		Eventually(t, "the child has published", func() bool {
			st, err := x.Store.Stats(t.Context())
			return err == nil && st.Published > 0 && x.stored() > int(st.Published)
		})
		child.Kill()
		st, err := x.Store.Stats(t.Context())
		if err != nil || int(st.Pending) <= x.n-x.stored() {
			t.Fatalf("%d are pending and %d of %d published: nothing is in between, %v", st.Pending, x.stored(), x.n, err)
		}
		x.own()
		x.drained()
		if again := x.check(); again != 0 {
			t.Errorf("%d events are there twice, though the stream deduplicates", again)
		}
	})
	// With rows noted down when they are read, instead of in onSent, some are lost.
	t.Run("KilledUnderLoad", func(t *testing.T) {
		x := start(t, open(t), 2*time.Minute)
		child, _ := x.child()
		for range 3 {
			before := x.stored()
			x.add(1000)
			Eventually(t, "some are published", func() bool { return x.stored() > before+100 })
			if err := child.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		x.drained()
		x.check()
	})
	// Without the end of the lease in the store's acquire nobody takes over. Without
	// the lease's valid the child goes on with what it has in memory, and without the
	// epoch and the holder in the store's renew and count too, it never finds out.
	t.Run("SuspendedBeyondItsLease", func(t *testing.T) {
		x := start(t, open(t), 100*time.Millisecond)
		x.add(10_000)
		child, out := x.child()
		Eventually(t, "the child publishes", func() bool { return x.stored() > 500 })
		x.suspend(child)
		at := x.stored()
		if at > 9000 {
			t.Skip("the child was too quick to be caught")
		}
		x.own()
		x.drained()
		before := x.check() // what was not noted down when it was suspended
		if err := child.Resume(); err != nil {
			t.Fatal(err)
		}
		Eventually(t, "the child finds out", func() bool { return out.has("lost its lease") })
		x.add(100)
		x.drained()
		// What is in the child's hands, and in its socket, may still come: one of
		// each key.
		if again := x.check() - before; again > keys {
			t.Errorf("a relay without a lease published %d events, want at most what was in flight", again)
		}
	})
}
