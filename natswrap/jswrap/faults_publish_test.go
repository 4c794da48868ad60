package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// load is publishers that publish one message after the other, each again with
// the same id until it is acknowledged.
type load struct {
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	acked    map[string]bool
	outcomes map[ticketing.Outcome]int // of those that failed
	rejected error
}

func publishFrom(c *jswrap.Client, publishers int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, acked: map[string]bool{}, outcomes: map[ticketing.Outcome]int{}}
	for range publishers {
		l.running.Go(func() {
			for ctx.Err() == nil {
				m := message(subject, "")
				m.Data = []byte(m.ID)
				for l.publish(c, m) != nil {
					_ = c.Conn().FlushTimeout(5 * time.Millisecond) // do not spin
				}
			}
		})
	}
	return l
}

func (l *load) publish(c *jswrap.Client, m *ticketing.Message) error {
	result := make(chan error, 1)
	c.Send(context.Background(), m, func(err error) { result <- err })
	err := <-result
	l.mu.Lock()
	defer l.mu.Unlock()
	var pe *ticketing.PublishError
	switch {
	case err == nil:
		l.acked[m.ID] = true
	case errors.As(err, &pe):
		l.outcomes[pe.Outcome]++
		if pe.Outcome == ticketing.OutcomeRejected {
			l.rejected = err
		}
	}
	return err
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits until n more are acknowledged.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	n += l.count()
	until(t, "publishes go on", func() bool { return l.count() >= n })
}

// check ends the load: every acknowledged id must be stored, and none twice.
func (l *load) check(t *testing.T, c *jswrap.Client) {
	t.Helper()
	l.stop()
	l.running.Wait()
	times := map[string]int{}
	for _, id := range stored(t, c.JetStream(), jswrap.DefaultStream) {
		if times[id]++; times[id] > 1 {
			t.Errorf("%s is stored %d times", id, times[id])
		}
	}
	for id := range l.acked {
		if times[id] == 0 {
			t.Errorf("%s is acknowledged and not stored", id)
		}
	}
	if l.rejected != nil {
		t.Errorf("a publish was rejected: %v", l.rejected)
	}
	t.Logf("%d acknowledged, failed on the way: %v", len(l.acked), l.outcomes)
}

// Protection: onLost, which keeps open what was written, for the outcome; the
// unchanged Nats-Msg-Id in wire.publish for "none twice".
func TestPublishWhileTheServerIsRestartedUnderLoad(t *testing.T) {
	s := natsserver.Run(t)
	cfg := config(s.URL())
	cfg.WaitForConnection = true
	cfg.AckTimeout = patience
	c := connect(t, cfg)
	l := publishFrom(c, 16)
	for range 3 {
		l.more(t, 200)
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	l.more(t, 200)
	l.check(t, c)
	if len(l.outcomes) != 0 {
		t.Errorf("publishes failed on the way: %v", l.outcomes)
	}
}

// Protection: pending.due, for an answer that was lost with the old leader.
func TestPublishThroughALeaderStepdown(t *testing.T) {
	t.Parallel()
	cfg := config(natsserver.RunCluster(t, 3).URL())
	cfg.Replicas = 3
	c := connect(t, cfg)
	l := publishFrom(c, 8)
	for range 3 {
		l.more(t, 100)
		until(t, "the leader steps down", func() bool {
			_, err := c.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+jswrap.DefaultStream, nil, time.Second)
			return err == nil
		})
	}
	l.more(t, 100)
	l.check(t, c)
	if len(l.outcomes) != 0 {
		t.Errorf("publishes failed on the way: %v", l.outcomes)
	}
}

// Protection: onLost for those whose connection was to the leader, pending.due
// for the others, and stalled while nobody leads.
func TestPublishWhileTheLeaderIsKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("an election takes seconds")
	}
	cluster := natsserver.RunProcessCluster(t, "nats", 3)
	cfg := config(cluster.URL())
	cfg.Replicas = 3
	cfg.WaitForConnection = true
	cfg.AckTimeout = patience
	c := connect(t, cfg)
	l := publishFrom(c, 8)
	l.more(t, 100)
	killLeader(t, c, cluster)
	l.more(t, 100)
	l.check(t, c)
	if len(l.outcomes) != 0 {
		t.Errorf("publishes failed on the way: %v", l.outcomes)
	}
}

// killLeader kills the server that leads the stream.
func killLeader(t *testing.T, c *jswrap.Client, cluster *natsserver.ProcessCluster) {
	t.Helper()
	s, err := c.JetStream().Stream(testContext(t), jswrap.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	leader := s.CachedInfo().Cluster.Leader
	for _, s := range cluster.Servers() {
		if s.Name() == leader {
			s.Kill()
			return
		}
	}
	t.Fatalf("no server %q", leader)
}

// Protection: Receipt.Wait, which says unknown, and flights, which keep the
// publish open all the same.
func TestPublishWhoseContextEndsMidFlight(t *testing.T) {
	url := natsserver.Run(t).URL()
	p := netfault.Run(t, url)
	cfg := config(p.URL())
	cfg.Subjects = []ticketing.Subject{benchEvent{}.Subject()}
	c := connect(t, cfg)
	admin := connect(t, config(url))
	publisher := ticketing.NewPublisher[benchEvent](c, nil)
	p.BlackHole(netfault.ToClient)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- publisher.Publish(ctx, benchEvent{}, ticketing.WithID("mid-flight")) }()
	until(t, "it is stored", func() bool { return len(stored(t, admin.JetStream(), jswrap.DefaultStream)) == 1 })
	cancel()
	start := time.Now()
	wantOutcome(t, await(t, result, "the outcome"), ticketing.ErrUnknown, context.Canceled)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	p.Heal()
	if err := publisher.Publish(testContext(t), benchEvent{}, ticketing.WithID("mid-flight")); err != nil {
		t.Error(err)
	}
	if n := len(stored(t, admin.JetStream(), jswrap.DefaultStream)); n != 1 {
		t.Errorf("%d are stored, want one", n)
	}
}

// Protection: flights.admit's bound, and its look at ctx.
func TestPublishWithTheAckWindowFull(t *testing.T) {
	p := netfault.Run(t, natsserver.Run(t).URL())
	cfg := config(p.URL())
	cfg.MaxPending = 4
	c := connect(t, cfg)
	p.BlackHole(netfault.ToClient)
	_, results := numbered(c, subject, 0, cfg.MaxPending)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	wantOutcome(t, await(t, sendAsync(ctx, c, message(subject, "refused")), "the outcome"), ticketing.ErrBusy, context.DeadlineExceeded)
	if took := time.Since(start); took < 50*time.Millisecond || took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	next := make(chan error, 1)
	go c.Send(context.Background(), message(subject, "waits"), func(err error) { next <- err })
	p.Heal()
	for _, r := range append(results, next) {
		if err := await(t, r, "the outcome"); err != nil {
			t.Error(err)
		}
	}
	if got := stored(t, c.JetStream(), jswrap.DefaultStream); fmt.Sprint(got) != "[0 1 2 3 waits]" {
		t.Errorf("stored are %v", got)
	}
}

// Protection: the header Nats-Msg-Id in wire.publish, and decodeAck, to which a
// duplicate is an acknowledgement.
func TestPublishOfTheSameIDTwice(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	m := message(subject, "{}")
	for range 2 {
		if err := send(t, c, m); err != nil {
			t.Error(err)
		}
	}
	if n := len(stored(t, c.JetStream(), jswrap.DefaultStream)); n != 1 {
		t.Errorf("%d are stored, want one", n)
	}
}

// Protection: shutdown, which stops the receivers before it refuses publishes,
// and waits for both.
func TestPublishDuringDrainAndAfterClose(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.DrainTimeout = patience
	mustSend(t, c, subject, "one")
	in := receive(t, c, s)
	m := in.want("one") // its handler runs
	closed := make(chan error, 1)
	go func() { closed <- c.Close(testContext(t)) }()
	until(t, "the client closes", func() bool {
		return errors.Is(c.Receive(t.Context(), group, func(context.Context, *ticketing.Inbound) {}), ticketing.ErrClosed)
	})
	mustSend(t, c, other, "during the drain")
	in.settle(m, ticketing.Ack)
	if err := await(t, closed, "Close"); err != nil {
		t.Errorf("Close = %v", err)
	}
	start := time.Now()
	wantOutcome(t, send(t, c, message(subject, "{}")), ticketing.ErrNotSent, ticketing.ErrClosed)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Protection: usable, which refuses before anything is kept, and admit, in
// which those who wait have no place.
func TestPublishMemoryIsBoundedWhileTheBrokerIsAway(t *testing.T) {
	for name, wait := range map[string]bool{"fail at once": false, "wait for the connection": true} {
		t.Run(name, func(t *testing.T) {
			s := natsserver.Run(t)
			cfg := config(s.URL())
			cfg.WaitForConnection = wait
			cfg.MaxPending = 64
			c := connect(t, cfg)
			s.Shutdown()
			until(t, "the client notices", func() bool { return !c.Healthy() })
			large := strings.Repeat("x", 64<<10)
			keepTrying := func(rounds int) {
				var publishers sync.WaitGroup
				for range 100 {
					publishers.Go(func() {
						for range rounds {
							ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
							result := make(chan error, 1)
							c.Send(ctx, message(subject, large), func(err error) { result <- err })
							if err := <-result; !errors.Is(err, ticketing.ErrNotSent) {
								t.Errorf("Send = %v, want it not sent", err)
							}
							cancel()
						}
					})
				}
				publishers.Wait()
			}
			keepTrying(1)
			before := heap()
			keepTrying(20) // 128 MB in all
			if after := heap(); after > before+4<<20 {
				t.Errorf("the heap grew from %d to %d bytes", before, after)
			}
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Protection: refused, to which a limit that is reached is no rejection.
func TestPublishToAStreamThatIsFullWithDiscardNew(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	if _, err := c.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{
		Name: "FULL", Subjects: []string{"full:stream"}, MaxMsgs: 1, Discard: jetstream.DiscardNew,
	}); err != nil {
		t.Fatal(err)
	}
	mustSend(t, c, "full:stream", "first")
	err := send(t, c, message("full:stream", "second"))
	wantOutcome(t, err, ticketing.ErrBusy)
	if !strings.Contains(err.Error(), "FULL") {
		t.Errorf("%v does not name the stream", err)
	}
}

// Protection: wireSize, which counts what the client adds.
func TestPublishOfAPayloadAtTheLimitAndOneByteOver(t *testing.T) {
	const limit = 1000
	c := connect(t, config(natsserver.Run(t, natsserver.MaxPayload(limit)).URL()))
	for over := range 2 {
		m := message(subject, "")
		m.Header = map[string][]string{"Trace": {"abc"}}
		headers := len("NATS/1.0\r\nTicketing-Id: \r\nNats-Msg-Id: \r\nTrace: abc\r\n\r\n") + 2*len(m.ID)
		m.Data = make([]byte, limit-headers+over)
		err := send(t, c, m)
		if over == 0 {
			if err != nil {
				t.Errorf("at the limit: %v", err)
			}
			continue
		}
		wantOutcome(t, err, ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge)
		for _, want := range []string{"it has 1001 bytes", "takes 1000"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %v", want, err)
			}
		}
	}
	mustSend(t, c, subject, "the connection lives")
}
