package faults

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func TestMain(m *testing.M) {
	process.Dispatch(process.Roles{"service": service, "decoder": decoder})
	// The tests wait more than they work. A flag still goes first.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// patience bounds every wait for what has to happen.
const patience = 60 * time.Second

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// broker is a server of one of the two kinds.
type broker struct {
	url     string
	cluster string               // of NATS Streaming; empty: JetStream
	options func(*natsd.Options) // of the NATS server, at each start
	restart func() error
}

// config is the configuration of a service that reaches b by a URL.
func (b *broker) config(url string) natswrap.Config {
	return natswrap.Config{URLs: []string{url}, ClientID: "tickets-0", ClusterID: b.cluster, Logger: quiet}
}

// onBoth runs a test on both brokers, whose stores outlive a restart.
func onBoth(t *testing.T, test func(t *testing.T, b *broker)) {
	t.Helper()
	onBothWith(t, func(*natsd.Options) {}, test)
}

// onBothWith is onBoth with other options of the NATS server.
func onBothWith(t *testing.T, options func(*natsd.Options), test func(t *testing.T, b *broker)) {
	t.Helper()
	t.Run("JetStream", func(t *testing.T) {
		t.Parallel()
		b := &broker{options: options}
		s := natsserver.Run(t, natsserver.Configure(func(o *natsd.Options) { b.options(o) }))
		b.url, b.restart = s.URL(), s.Restart
		test(t, b)
	})
	t.Run("NATS Streaming", func(t *testing.T) {
		t.Parallel()
		b := &broker{options: options}
		s := stanserver.Run(t, stanserver.FileStore(), stanserver.ConfigureNATS(func(o *natsd.Options) { b.options(o) }))
		b.url, b.cluster, b.restart = s.URL(), s.ClusterID(), s.Restart
		test(t, b)
	})
}

// connect connects until the end of the test.
func connect(t *testing.T, cfg natswrap.Config) *natswrap.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// publish publishes a ticket whose title is what a handler does with it.
func publish(t *testing.T, s ticketing.Sender, id, title string) {
	t.Helper()
	if err := tryPublish(t.Context(), s, id, title); err != nil {
		t.Fatal(err)
	}
}

func tryPublish(ctx context.Context, s ticketing.Sender, id, title string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return ticketing.NewPublisher[events.TicketCreated](s, nil).Publish(ctx, events.TicketCreated{ID: id, Title: title})
}

// inbox is a listener that keeps what it handled.
type inbox struct {
	t     *testing.T
	got   chan string // ids
	stop  context.CancelFunc
	ended chan error

	mu  sync.Mutex
	all []string
}

// listen listens until the end of the test.
func listen(t *testing.T, r ticketing.Receiver, group string, o ticketing.ListenerOptions) *inbox {
	t.Helper()
	in := &inbox{t: t, got: make(chan string, 1000), ended: make(chan error, 1)}
	if o.Logger == nil {
		o.Logger = quiet
	}
	l := ticketing.NewListener(r, group, func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
		in.mu.Lock()
		in.all = append(in.all, d.Event.ID)
		in.mu.Unlock()
		in.got <- d.Event.ID
		return nil
	}, &o)
	ctx, stop := context.WithCancel(context.Background())
	in.stop = stop
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.ended <- l.Listen(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return in
}

// want waits until an event was handled, whatever is handled meanwhile.
func (in *inbox) want(id string) {
	in.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-in.got:
			if got == id {
				return
			}
		case err := <-in.ended:
			in.t.Fatalf("Listen ended with %v before %q was handled", err, id)
		case <-deadline:
			in.t.Fatalf("%q was not handled", id)
		}
	}
}

// ids returns what was handled so far, sorted.
func (in *inbox) ids() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Sorted(slices.Values(in.all))
}

// await waits for a value.
func await[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("waited for %s in vain", what)
	}
	return v
}

// until waits until ok is true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never came true that %s", what)
		}
	}
}
