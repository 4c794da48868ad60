package stanwrap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

// published are the payloads of one test's publishes by what is known of them.
type published struct {
	mu      sync.Mutex
	acked   []string
	unknown map[string]bool
}

func (p *published) add(t testing.TB, data string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.acked = append(p.acked, data)
	case errors.Is(err, ticketing.ErrUnknown):
		p.unknown[data] = true
	case !errors.Is(err, ticketing.ErrNotSent):
		t.Errorf("publish %q: %v, want an outcome of a server that is away", data, err)
	}
}

func (p *published) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// Without the recovery in lose the publishers would be refused for ever after
// the first crash: a killed server's sessions end with its pings.
func TestEveryAcknowledgedEventOutlivesAServerThatIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := stanserver.RunProcess(t, "stan")
	var lines testlog.Buffer
	c := connect(t, s.URL(), func(c *stanwrap.Config) {
		quickPings(c)
		c.Logger = lines.Logger()
	})
	in := receive(t, c, subscription())
	log := published{unknown: make(map[string]bool)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var publishers sync.WaitGroup
	for p := range 4 {
		publishers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				data := fmt.Sprintf("%d/%d", p, i)
				err := await(t, start(context.Background(), c, message(data)))
				log.add(t, data, err)
				if err != nil { // nothing else tells when to try again
					until(t, "connected again", func() bool { return c.Healthy() || ctx.Err() != nil })
				}
			}
		})
	}
	var mu sync.Mutex
	seen := make(map[string]bool)
	done := make(chan struct{})
	var listener sync.WaitGroup
	listener.Go(func() {
		for {
			select {
			case m := <-in.msgs:
				mu.Lock()
				seen[string(m.Data)] = true
				mu.Unlock()
				_ = m.Settle(ticketing.Verdict{Kind: ticketing.Ack}) // while the server is away it is an error
			case <-in.ctxs:
			case <-done:
				return
			}
		}
	})
	for crash := range 3 {
		before := log.acknowledged()
		until(t, "publishes go on", func() bool { return log.acknowledged() > before+100 })
		s.Kill()
		if crash == 1 { // away for longer than the pings' patience
			until(t, "the session is lost", func() bool { return strings.Contains(lines.String(), "session lost") })
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	before := log.acknowledged()
	until(t, "publishes go on", func() bool { return log.acknowledged() > before+100 })
	stop()
	publishers.Wait()
	// What a killed server had under way comes again after the ack wait, behind
	// what was published later.
	missing := func() (list []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, data := range log.acked {
			if !seen[data] {
				list = append(list, data)
			}
		}
		return list
	}
	t.Cleanup(func() {
		if list := missing(); len(list) > 0 {
			t.Errorf("acknowledged and never delivered: %q", list)
		}
	})
	until(t, "every acknowledged event is delivered", func() bool { return len(missing()) == 0 })
	in.stop()
	close(done)
	listener.Wait()

	for data := range seen {
		if !log.unknown[data] && !slices.Contains(log.acked, data) {
			t.Errorf("%q was delivered although it was not sent", data)
		}
	}
	t.Logf("%d acknowledged, %d of unknown outcome", len(log.acked), len(log.unknown))
}

// A process that hangs keeps its connections, and only the pings find it. See
// stan.Pings in stanConnect.
func TestAServerThatHangsIsFoundAndComesBackAsIfItHadNot(t *testing.T) {
	t.Parallel()
	s := stanserver.RunProcess(t, "stan")
	c := connect(t, s.URL(), quickPings)
	in := receive(t, c, subscription())
	send(t, c, "one")
	held := in.want("one")
	if err := s.Suspend(); err != nil {
		t.Fatal(err)
	}
	until(t, "the session is lost", func() bool { return !c.Healthy() })
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	until(t, "a new session", c.Healthy)
	send(t, c, "two")
	in.ack(in.want("two"))
	in.ack(held)
	in.stop()
}

// What the killed server did not hear is held, and absorbed when it delivers it
// again: see deliver.
func TestWhatFillsTheWindowStaysHeldWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	s := stanserver.RunProcess(t, "stan")
	c := connect(t, s.URL(), quickPings)
	in := receive(t, c, subscription())
	var window []*ticketing.Inbound
	for i := range subscription().Window + 2 {
		send(t, c, strconv.Itoa(i))
	}
	for i := range subscription().Window {
		window = append(window, in.want(strconv.Itoa(i)))
	}
	before := c.Stan()
	s.Kill()
	until(t, "the server's end is noticed", func() bool { return !c.Healthy() })
	is(t, window[0].Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrNotConnected)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "connected again", c.Healthy)
	// The first has freed its place for the next one. Everything else the
	// server delivers again.
	in.ack(in.want(strconv.Itoa(subscription().Window)))
	last := in.want(strconv.Itoa(subscription().Window + 1))
	select {
	case m := <-in.msgs:
		t.Errorf("%q was handed over a second time", m.Data)
	case <-time.After(2 * subscription().AckWait):
	}
	for _, m := range append(window[1:], last) {
		in.ack(m)
	}
	in.stop()
	t.Logf("the session outlived the crash: %v", c.Stan() == before)
}

// NATS answers and NATS Streaming does not: the publisher's ctx is what ends
// the wait.
func TestAPublishEndsWithItsContextWhileOnlyNATSAnswers(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), nil)
	s.Streaming().Shutdown()
	p := ticketing.NewPublisher[created](c, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	is(t, p.Publish(ctx, created{}), ticketing.ErrUnknown, context.DeadlineExceeded)
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("Publish took %v", d)
	}
}

type created struct{}

func (created) Subject() ticketing.Subject { return subject }

// There is nothing that NATS Streaming could tell a second publish of an event
// by, which the documentation says.
func TestTheSameIDTwiceIsStoredTwice(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "same", "same")
	in.ack(in.want("same"))
	in.ack(in.want("same"))
}

// Publishers that go on trying while there is no server pile up nothing:
// nothing is buffered, see natsconn.Dial and obstacle.
func TestMemoryIsBoundedWhileTheServerIsAwayAndPublishersKeepTrying(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), nil)
	send(t, c, "before")
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var wg sync.WaitGroup
	var refused atomic.Int64
	payload := make([]byte, 1024)
	const publishers, each = 8, 10_000
	for range publishers {
		wg.Go(func() {
			for range each {
				m := message("large")
				m.Data = bytes.Clone(payload)
				c.Send(t.Context(), m, func(err error) {
					if errors.Is(err, ticketing.ErrNotSent) {
						refused.Add(1)
					}
				})
			}
		})
	}
	wg.Wait()
	if n := refused.Load(); n != publishers*each {
		t.Errorf("%d of %d publishes were refused", n, publishers*each)
	}
	if grown := int64(heap()) - int64(before); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes for %d of payload", grown, publishers*each*len(payload))
	}
	p.Heal()
	until(t, "connected again", c.Healthy)
	send(t, c, "after")
}
