package stanwrap_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

func TestAMessageIsKnownByChannelSequenceAndTimestamp(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "one", "two")
	for i := range 2 {
		m := in.next()
		if want := fmt.Sprintf("%s/%d/%d", subject, i+1, m.Time.UnixNano()); m.ID != want {
			t.Errorf("id %q, want %q", m.ID, want)
		}
		if d := time.Since(m.Time); d < 0 || d > patience {
			t.Errorf("stored at %v, %v ago", m.Time, d)
		}
		in.ack(m)
	}
	in.stop()
}

func TestHandleHasTheValuesOfReceivesContext(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	got := make(chan any, 1)
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, subscription(), func(ctx context.Context, m *ticketing.Inbound) {
			got <- ctx.Value(key{})
			_ = m.Settle(ticketing.Verdict{Kind: ticketing.Ack})
		})
	}()
	send(t, c, "{}")
	if v := <-got; v != "value" {
		t.Errorf("the value is %v", v)
	}
	cancel()
	if err := await(t, result); err != nil {
		t.Error(err)
	}
}

func TestTheAckWaitIsWholeSeconds(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	sub := subscription()
	sub.AckWait = time.Millisecond // the server refuses zero seconds
	in := receive(t, c, sub)
	send(t, c, "one")
	begin := time.Now()
	_ = in.want("one").Settle(ticketing.Verdict{Kind: ticketing.Retry})
	in.ack(in.want("one"))
	if d := time.Since(begin); d < 900*time.Millisecond {
		t.Errorf("it came again after %v, want a second", d)
	}
	in.stop()
}

func TestReceiveWaitsForAConnection(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), nil)
	send(t, c, "one")
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	in := receive(t, c, subscription())
	p.Heal()
	in.ack(in.want("one"))
	in.stop()
}

func TestReceiveWaitsForAStreamingServerThatRestarts(t *testing.T) {
	s := stanserver.Run(t, stanserver.FileStore())
	c := connect(t, s.URL(), nil)
	send(t, c, "one")
	s.Streaming().Shutdown()
	in := receive(t, c, subscription())
	if err := s.RestartStreaming(); err != nil {
		t.Fatal(err)
	}
	in.ack(in.want("one"))
	in.stop()
}

func TestReceiveThatWaitsForAConnectionEndsWithItsContext(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), nil)
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	receive(t, c, subscription()).stop()

	in := receive(t, c, subscription())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	is(t, in.wait(), ticketing.ErrClosed)
}

// The subscription is asked for, and its answer does not come.
func TestReceiveEndsWithItsContextWhileItSubscribes(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), nil)
	send(t, c, "one")
	p.BlackHole(netfault.Both)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	sub := subscription()
	sub.AckWait = time.Hour
	begin := time.Now()
	err := c.Receive(ctx, sub, func(context.Context, *ticketing.Inbound) {
		t.Error("a message was handed over after the end")
	})
	if err != nil {
		t.Errorf("Receive = %v, want nil", err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("Receive took %v to notice", d)
	}
	p.Heal()
	// The subscription that came late was closed: another gets the message
	// at once.
	in := receive(t, c, sub)
	in.ack(in.want("one"))
	in.stop()
}

func TestAnAckThatCouldNotBeSentIsSentAtTheRedelivery(t *testing.T) {
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	c := connect(t, p.URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "one")
	m := in.want("one")
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	is(t, m.Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrNotConnected)
	is(t, m.Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrSettled)
	p.Heal()
	until(t, "reconnected", c.Healthy)
	until(t, "the server has the acknowledgement", func() bool { return pending(t, s) == 0 })
	send(t, c, "two")
	in.ack(in.want("two"))
	in.stop()
}

func TestAnAckThatWasLostIsSentAgainAtTheRedelivery(t *testing.T) {
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	c := connect(t, p.URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "one")
	m := in.want("one")
	p.BlackHole(netfault.Both)
	before := c.Conn().Stats().OutMsgs
	in.ack(m)
	until(t, "the acknowledgement is written", func() bool { return c.Conn().Stats().OutMsgs > before })
	p.Cut()
	p.Heal()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	p.Heal()
	until(t, "the server has the acknowledgement", func() bool { return pending(t, s) == 0 })
	send(t, c, "two")
	in.ack(in.want("two"))
	in.stop()
}

func TestAnAckThatCouldNotBeSentIsSentWhenReceiveStops(t *testing.T) {
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	c := connect(t, p.URL(), nil)
	sub := subscription()
	sub.AckWait = time.Hour
	in := receive(t, c, sub)
	send(t, c, "one")
	m := in.want("one")
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	is(t, m.Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrNotConnected)
	p.Heal()
	until(t, "reconnected", c.Healthy)
	in.stop()
	if n := pending(t, s); n != 0 {
		t.Errorf("the server waits for %d acknowledgements", n)
	}
}

// members returns how many members the server counts in the channel's groups,
// and how many messages it waits to have settled.
func members(t testing.TB, s *stanserver.Server) (active, unsettled int) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Streaming().HandleChannelsz(w, httptest.NewRequest("GET", "/?subs=1&channel="+string(subject), nil))
	if w.Code == http.StatusNotFound {
		return 0, 0 // nobody has subscribed yet, nor published
	}
	var channel stand.Channelz
	if err := json.Unmarshal(w.Body.Bytes(), &channel); err != nil {
		t.Fatal(err)
	}
	for _, sub := range channel.Subscriptions {
		unsettled += sub.PendingCount
		if !sub.IsOffline {
			active++
		}
	}
	return active, unsettled
}

func pending(t testing.TB, s *stanserver.Server) int {
	_, n := members(t, s)
	return n
}

func TestReceiveLeavesTheGroupOnceThereIsAConnectionAgain(t *testing.T) {
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	c := connect(t, p.URL(), nil)
	sub := subscription()
	sub.AckWait = time.Hour
	in := receive(t, c, sub)
	send(t, c, "one")
	in.ack(in.want("one"))
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	in.stop()
	peer := connect(t, s.URL(), clientID("peer"))
	other := receive(t, peer, sub)
	until(t, "both are members", func() bool { n, _ := members(t, s); return n == 2 })
	p.Heal()
	until(t, "the member is gone", func() bool { n, _ := members(t, s); return n == 1 })
	send(t, peer, "two", "three", "four")
	for _, want := range []string{"two", "three", "four"} {
		other.ack(other.want(want))
	}
	other.stop()
}

// The unsettled messages of a member that leaves go to the others beyond their
// max in flight.
func TestTheWindowHoldsWhenAMemberLeaves(t *testing.T) {
	s := stanserver.Run(t)
	sub := subscription()
	sub.Window = 2
	sub.DrainTimeout = time.Millisecond
	a := receive(t, connect(t, s.URL(), clientID("a")), sub)
	b := receive(t, connect(t, s.URL(), clientID("b")), sub)
	c := connect(t, s.URL(), clientID("c"))
	until(t, "both are members", func() bool { n, _ := members(t, s); return n == 2 })
	send(t, c, "1", "2", "3", "4")
	b1, b2 := b.next(), b.next()
	a.next()
	a.next()
	a.stop() // gives two back, of which b has no room for one
	select {
	case m := <-b.msgs:
		t.Fatalf("message %q was handed over beyond the window", m.Data)
	case <-time.After(1500 * time.Millisecond): // they come twice in that time
	}
	b.ack(b1)
	b.ack(b2)
	seen := map[string]bool{}
	for range 2 {
		m := b.next()
		seen[string(m.Data)] = true
		if m.Attempt < 2 {
			t.Errorf("a redelivery says it is attempt %d", m.Attempt)
		}
		b.ack(m)
	}
	if len(seen) != 2 {
		t.Errorf("got %v, want both of those that a gave back", seen)
	}
	b.stop()
}

func TestAMessageGivenBackByAMemberComesToAnotherAtOnce(t *testing.T) {
	s := stanserver.Run(t)
	sub := subscription()
	sub.AckWait = time.Hour
	sub.DrainTimeout = time.Millisecond
	a := receive(t, connect(t, s.URL(), clientID("a")), sub)
	send(t, connect(t, s.URL(), clientID("c")), "one")
	m := a.want("one")
	b := receive(t, connect(t, s.URL(), clientID("b")), sub)
	until(t, "both are members", func() bool { n, _ := members(t, s); return n == 2 })
	a.stop()
	is(t, m.Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrSettled)
	again := b.want("one")
	if again.ID != m.ID || again.Attempt != 2 {
		t.Errorf("id %q, attempt %d; want %q and 2", again.ID, again.Attempt, m.ID)
	}
	b.ack(again)
	b.stop()
}

func TestReceiveIsPartOfTheRawDurableQueueGroup(t *testing.T) {
	s := stanserver.Run(t)
	c := connect(t, s.URL(), nil)
	send(t, c, "one", "two")
	in := receive(t, c, subscription())
	in.ack(in.want("one"))
	in.ack(in.want("two"))
	in.stop()
	send(t, c, "three")
	got := make(chan string, 1)
	sub, err := c.Stan().QueueSubscribe(string(subject), "group", func(m *stan.Msg) { got <- string(m.Data) }, stan.DurableName("group"))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if d := <-got; d != "three" {
		t.Errorf("another client's member got %q, want the group's next message", d)
	}
}

// Without relink in OnReconnect nothing would go on.
func TestTheServersRestartWithAFileStoreIsSurvived(t *testing.T) {
	s := stanserver.Run(t, stanserver.FileStore())
	c := connect(t, s.URL(), nil)
	in := receive(t, c, subscription())
	send(t, c, "one")
	m := in.want("one")
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "reconnected", c.Healthy)
	in.ack(m)
	send(t, c, "two")
	in.ack(in.want("two"))
	in.stop()
}

func TestEventsOfAKeyStayInOrderThroughFailuresAndTheRestartOfAListener(t *testing.T) {
	const keys, each, handlers = 50, 20, 8
	c := connect(t, stanserver.Run(t, stanserver.FileStore()).URL(), nil)
	var mu sync.Mutex
	next := make(map[string]int, keys)
	left, calls := keys*each, 0
	done, half := make(chan struct{}), make(chan struct{})
	handle := func(_ context.Context, d *ticketing.Delivery[orderEvent]) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == keys*each/2 {
			close(half)
		}
		if calls%5 == 0 {
			return errors.New("scripted")
		}
		switch e := d.Event; {
		case e.N > next[e.ID]:
			t.Errorf("key %s: event %d came where %d was due", e.ID, e.N, next[e.ID])
		case e.N < next[e.ID]:
			return nil // handled before the restart, and its ack did not get through
		}
		next[d.Event.ID]++
		if left--; left == 0 {
			close(done)
		}
		return nil
	}
	listen := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		l := ticketing.NewListener(c, "group", handle, &ticketing.ListenerOptions{
			Concurrency: handlers, MaxAttempts: 1000, MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond, Logger: quiet,
		})
		go func() { result <- l.Listen(ctx) }()
		return func() {
			cancel()
			if err := await(t, result); err != nil {
				t.Errorf("Listen = %v, want nil", err)
			}
		}
	}
	stop := listen()
	p := ticketing.NewPublisher[orderEvent](c, nil)
	var receipts []*ticketing.Receipt
	for n := range each {
		for key := range keys {
			receipts = append(receipts, p.PublishAsync(t.Context(), orderEvent{ID: fmt.Sprint(key), N: n}))
		}
	}
	for _, r := range receipts {
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, "half of the attempts are made", half)
	stop()
	stop = listen()
	closed(t, "all events are handled", done)
	stop()
}

type orderEvent struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (orderEvent) Subject() ticketing.Subject { return "order:created" }
func (e orderEvent) Key() string              { return e.ID }
