package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

var group = ticketing.Subscription{Subject: subject, Group: "g", AckWait: time.Second, DrainTimeout: 5 * time.Second}

func consumerInfo(t testing.TB, c *jswrap.Client, s ticketing.Subscription) *jetstream.ConsumerInfo {
	t.Helper()
	cons, err := c.JetStream().Consumer(testContext(t), jswrap.DefaultStream, jswrap.ConsumerName(s.Group, s.Subject))
	if err != nil {
		t.Fatal(err)
	}
	return cons.CachedInfo()
}

// TestEightHandlersKeepTheOrderOfEachKey drives Receive as a listener would:
// a lane per key, random failures that are retried in the process.
func TestEightHandlersKeepTheOrderOfEachKey(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	const keys, each, handlers = 50, 20, 8
	var lanes [handlers]chan *ticketing.Inbound
	var wg sync.WaitGroup
	var mu sync.Mutex
	next, left, done := map[string]int{}, keys*each, make(chan struct{})
	for i := range lanes {
		lanes[i] = make(chan *ticketing.Inbound, keys*each)
		wg.Go(func() {
			for in := range lanes[i] {
				for rand.IntN(4) == 0 { // a failed attempt
					if !in.Retain(ticketing.Verdict{Kind: ticketing.Retry}) {
						t.Error("the message was not retained")
					}
				}
				var key string
				var n int
				if _, err := fmt.Sscan(string(in.Data), &key, &n); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if next[key] != n {
					t.Errorf("key %s: message %d came where %d was due", key, n, next[key])
				}
				next[key] = n + 1
				left--
				if left == 0 {
					close(done)
				}
				mu.Unlock()
				if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		s := group
		s.Concurrency = handlers
		result <- c.Receive(ctx, s, func(_ context.Context, in *ticketing.Inbound) {
			key, _, _ := strings.Cut(string(in.Data), " ")
			h := fnv.New32a()
			h.Write([]byte(key))
			lanes[h.Sum32()%handlers] <- in
		})
	}()
	for n := range each {
		for key := range keys {
			mustSend(t, c, subject, fmt.Sprintf("key%d %d", key, n))
		}
	}
	await(t, done, "all messages")
	cancel()
	if err := await(t, result, "Receive"); err != nil {
		t.Error(err)
	}
	for _, lane := range lanes {
		close(lane)
	}
	wg.Wait()
}

func TestReceiveTellsWhatTheMessageCameWith(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	m := message(subject, "{}")
	m.DedupeID = "other"
	m.Header = map[string][]string{"Trace": {"abc"}}
	before := time.Now().Add(-time.Second)
	if err := send(t, c, m); err != nil {
		t.Fatal(err)
	}
	// What others publish may lack our headers.
	if _, err := c.JetStream().Publish(testContext(t), string(subject), []byte("bare")); err != nil {
		t.Fatal(err)
	}
	raw := nats.NewMsg(string(subject))
	raw.Header.Set("Nats-Msg-Id", "theirs")
	raw.Header.Set("Nats-Expected-Stream", jswrap.DefaultStream)
	if _, err := c.JetStream().PublishMsg(testContext(t), raw); err != nil {
		t.Fatal(err)
	}
	in := receive(t, c, group)
	got := in.want("{}")
	if got.ID != m.ID || got.Subject != subject || got.Sequence != 1 || got.Attempt != 1 ||
		got.Time.Before(before) || got.Time.After(time.Now().Add(time.Second)) || got.Key != "" || got.DedupeID != "" {
		t.Errorf("got %+v", got)
	}
	if len(got.Header) != 1 || got.Header["Trace"][0] != "abc" {
		t.Errorf("header %v", got.Header)
	}
	in.settle(got, ticketing.Ack)
	got = in.want("bare")
	if want := fmt.Sprintf("TICKETING/2/%d", got.Time.UnixNano()); got.ID != want || got.Header != nil {
		t.Errorf("a bare message has id %q and header %v", got.ID, got.Header)
	}
	in.settle(got, ticketing.Ack)
	got = in.want("")
	if got.ID != "theirs" || got.Header != nil {
		t.Errorf("a raw message has id %q and header %v", got.ID, got.Header)
	}
	in.settle(got, ticketing.Ack)
}

func TestReceiveRefusesWhatItCannotDo(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	handle := func(context.Context, *ticketing.Inbound) {}
	if err := c.Receive(nil, group, handle); err == nil {
		t.Error("Receive accepts a nil context")
	}
	if err := c.Receive(context.Background(), group, nil); err == nil {
		t.Error("Receive accepts a nil handle")
	}
	bad := group
	bad.Group = "a:b"
	if err := c.Receive(context.Background(), bad, handle); !errors.Is(err, ticketing.ErrInvalidGroup) {
		t.Errorf("Receive = %v, want ErrInvalidGroup", err)
	}
	missing := group
	missing.Subject = "no:stream"
	err := receive(t, c, missing).wait()
	if !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("Receive = %v, want ErrNoStream", err)
	}
}

// Protection: window.free, which counts what is asked for and what is held.
func TestListenWithEveryMessageUnackedAtMaxInFlight(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	for n := range 100 {
		mustSend(t, c, subject, fmt.Sprint(n))
	}
	s := group
	s.Window = 7
	s.AckWait = 30 * time.Second
	in := receive(t, c, s)
	for done := uint64(0); done < 100; done += 5 {
		until(t, "the window is full", func() bool {
			return len(in.msgs) == min(s.Window, 100-int(done))
		})
		// A second look, once the server has done whatever was asked of it.
		if info := consumerInfo(t, c, s); info.NumAckPending > s.Window || len(in.msgs) > s.Window {
			t.Fatalf("%d are held and %d unacknowledged, the window is %d", len(in.msgs), info.NumAckPending, s.Window)
		}
		for n := range uint64(5) {
			in.settle(in.want(fmt.Sprint(done+n)), ticketing.Ack)
		}
		until(t, "they are acknowledged", func() bool { return consumerInfo(t, c, s).AckFloor.Stream >= done+5 })
	}
}

func TestMessagesThatWaitForAnotherAttemptDoNotStopTheOthers(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	const n = 20
	for i := range n {
		mustSend(t, c, subject, fmt.Sprint(i))
	}
	s := group
	s.Concurrency = 1 // the window that is chosen begins at two
	in := receive(t, c, s)
	var parked []*ticketing.Inbound
	for i := range n {
		m := in.want(fmt.Sprint(i))
		if !m.Retain(ticketing.Verdict{Kind: ticketing.Retry, After: time.Minute}) {
			t.Fatal("not retained")
		}
		parked = append(parked, m)
	}
	for _, m := range parked {
		in.settle(m, ticketing.Ack)
	}
}

func TestADropTerminatesTheMessage(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	advisory, err := c.Conn().SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
	if err != nil {
		t.Fatal(err)
	}
	mustSend(t, c, subject, "one")
	in := receive(t, c, group)
	in.settle(in.want("one"), ticketing.Drop)
	if _, err := advisory.NextMsgWithContext(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestASlowMemberDoesNotTakeTheBacklog(t *testing.T) {
	url := natsserver.Run(t).URL()
	c := connect(t, config(url))
	for n := range 50 {
		mustSend(t, c, subject, fmt.Sprint(n))
	}
	s := group
	s.AckWait = time.Minute
	in := receive(t, c, s)
	in.want("0") // whose handler takes its time
	other := receive(t, connect(t, config(url)), s)
	for range 48 {
		other.settle(other.next(), ticketing.Ack)
	}
}
