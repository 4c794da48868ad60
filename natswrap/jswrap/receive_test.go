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

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
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
	if got.ID != "TICKETING/2" || got.Header != nil {
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

func TestTheConsumerIsDurableExplicitAndWithoutALimit(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	in := receive(t, c, group)
	mustSend(t, c, subject, "{}")
	in.settle(in.want("{}"), ticketing.Ack)
	cfg := consumerInfo(t, c, group).Config
	if cfg.Durable != "g_ticket--created" || cfg.AckPolicy != jetstream.AckExplicitPolicy || cfg.DeliverPolicy != jetstream.DeliverAllPolicy ||
		cfg.MaxDeliver != -1 || cfg.AckWait != time.Second || cfg.FilterSubject != string(subject) || cfg.MaxAckPending != -1 {
		t.Errorf("consumer %+v", cfg)
	}
}

func TestAConsumerThatCannotServeIsRefusedByField(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	name := jswrap.ConsumerName(group.Group, group.Subject)
	for field, cfg := range map[string]jetstream.ConsumerConfig{
		"filter_subject is order:created":             {FilterSubject: string(other), AckPolicy: jetstream.AckExplicitPolicy},
		"filter_subject is ticket:created,order:crea": {FilterSubjects: []string{string(subject), string(other)}, AckPolicy: jetstream.AckExplicitPolicy},
		"ack_policy is AckNone":                       {FilterSubject: string(subject), AckPolicy: jetstream.AckNonePolicy},
		"deliver_policy is new":                       {FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy},
		"headers_only is true":                        {FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true},
	} {
		cfg.Durable = name
		if _, err := c.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, cfg); err != nil {
			t.Fatal(err)
		}
		err := receive(t, c, group).wait()
		if err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), name) {
			t.Errorf("Receive = %v, want %q", err, field)
		}
		if err := c.JetStream().DeleteConsumer(testContext(t), jswrap.DefaultStream, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.JetStream().CreatePushConsumer(testContext(t), jswrap.DefaultStream, jetstream.ConsumerConfig{
		Durable: name, DeliverSubject: "push", FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy,
	}); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, c, group).wait(); err == nil || !strings.Contains(err.Error(), "it has a deliver_subject") {
		t.Errorf("Receive = %v, want the push consumer refused", err)
	}
}

func TestSettingsOfAConsumerThatDifferAreChangedAndReportedByField(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	cfg := jetstream.ConsumerConfig{
		Durable: jswrap.ConsumerName(group.Group, group.Subject), FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 10 * time.Second, MaxDeliver: 3, MaxAckPending: 5, MaxRequestBatch: 1, MaxRequestExpires: time.Minute, MaxRequestMaxBytes: 1 << 20,
		InactiveThreshold: time.Hour, BackOff: []time.Duration{2 * time.Second},
	}
	if _, err := admin.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, cfg); err != nil {
		t.Fatal(err)
	}
	verify := config(url)
	verify.VerifyOnly = true
	err := receive(t, connect(t, verify), group).wait()
	if err == nil || !strings.Contains(err.Error(), "max_deliver is 3, not -1") {
		t.Errorf("Receive = %v, want the difference reported and nothing changed", err)
	}

	var log logs
	c := config(url)
	c.Logger = log.logger()
	client := connect(t, c)
	in := receive(t, client, group)
	mustSend(t, client, subject, "{}")
	in.settle(in.want("{}"), ticketing.Ack)
	have := consumerInfo(t, client, group).Config
	if have.AckWait != time.Second || have.MaxDeliver != -1 || have.MaxAckPending != -1 || have.MaxRequestBatch != 0 || have.InactiveThreshold != 0 || len(have.BackOff) != 0 {
		t.Errorf("consumer %+v", have)
	}
	for _, field := range []string{"ack_wait", "max_deliver", "max_ack_pending", "max_batch", "max_expires", "max_bytes", "inactive_threshold", "backoff"} {
		if !strings.Contains(log.String(), "field="+field+" ") {
			t.Errorf("%s is not reported in:\n%s", field, &log)
		}
	}
}

func TestVerifyOnlyLivesWithAnotherAckWait(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	other := group
	other.AckWait = 3 * time.Second
	in := receive(t, admin, other)
	mustSend(t, admin, subject, "{}", "{}")
	in.settle(in.want("{}"), ticketing.Ack)
	in.stop()
	_ = in.wait()
	verify := config(url)
	verify.VerifyOnly = true
	c := connect(t, verify)
	in = receive(t, c, group)
	in.settle(in.want("{}"), ticketing.Ack)
	if have := consumerInfo(t, c, group).Config.AckWait; have != 3*time.Second {
		t.Errorf("the ack wait was changed to %v", have)
	}
}

func TestAConsumerThatIsDeletedEndsReceiveWithItsName(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	in := receive(t, c, group)
	mustSend(t, c, subject, "{}")
	in.settle(in.want("{}"), ticketing.Ack)
	if err := c.JetStream().DeleteConsumer(testContext(t), jswrap.DefaultStream, "g_ticket--created"); err != nil {
		t.Fatal(err)
	}
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "consumer g_ticket--created of stream TICKETING: it was deleted") {
		t.Errorf("Receive = %v", err)
	}
}

func TestAStreamThatIsDeletedEndsReceiveWithItsName(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	in := receive(t, c, group)
	mustSend(t, c, subject, "{}")
	in.settle(in.want("{}"), ticketing.Ack)
	if err := c.JetStream().DeleteStream(testContext(t), jswrap.DefaultStream); err != nil {
		t.Fatal(err)
	}
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "stream TICKETING: it was deleted") {
		t.Errorf("Receive = %v", err)
	}
}

func TestAConsumerThatIsDeletedWhileTheWindowIsFullIsNoticedAfterwards(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	one := group
	one.Window = 1
	in := receive(t, c, one)
	mustSend(t, c, subject, "{}")
	m := in.want("{}") // nothing is asked for now
	if err := c.JetStream().DeleteConsumer(testContext(t), jswrap.DefaultStream, "g_ticket--created"); err != nil {
		t.Fatal(err)
	}
	in.settle(m, ticketing.Ack)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "it was deleted") {
		t.Errorf("Receive = %v", err)
	}
}

func TestReceiveWithoutPermissionSaysSo(t *testing.T) {
	for name, deny := range map[string]string{
		"to create the consumer": "$JS.API.CONSUMER.CREATE.>",
		"to ask for messages":    "$JS.API.CONSUMER.MSG.NEXT.>",
	} {
		t.Run(name, func(t *testing.T) {
			admin, user := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{deny}}})
			connect(t, config(admin))
			if err := receive(t, connect(t, config(user)), group).wait(); !errors.Is(err, ticketing.ErrPermission) {
				t.Errorf("Receive = %v, want ErrPermission", err)
			}
		})
	}
}

func TestReceiveGoesOnAfterARestartOfTheServer(t *testing.T) {
	s := natsserver.Run(t)
	c := connect(t, config(s.URL()))
	group := group
	group.AckWait = time.Minute // nothing comes again by itself
	in := receive(t, c, group)
	mustSend(t, c, subject, "one", "two")
	in.settle(in.want("one"), ticketing.Ack)
	held := in.want("two")
	until(t, "the first is acknowledged", func() bool { return consumerInfo(t, c, group).AckFloor.Stream == 1 })
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	in.settle(held, ticketing.Ack) // kept until the server is back
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "the client is back", c.Healthy)
	mustSend(t, c, subject, "three")
	m := in.want("three") // and not "two" again
	in.settle(m, ticketing.Ack)
	until(t, "everything is acknowledged", func() bool {
		i := consumerInfo(t, c, group)
		return i.NumAckPending == 0 && i.AckFloor.Stream == 3
	})
	in.stop()
	if err := in.wait(); err != nil {
		t.Error(err)
	}
	if len(in.msgs) != 0 {
		t.Errorf("%q came again", (<-in.msgs).Data)
	}
}

func TestARetryWhileDisconnectedSaysThatTheServerCannotBeTold(t *testing.T) {
	s := natsserver.Run(t)
	c := connect(t, config(s.URL()))
	in := receive(t, c, group)
	mustSend(t, c, subject, "one")
	held := in.want("one")
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	if err := held.Settle(ticketing.Verdict{Kind: ticketing.Retry}); !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("Settle = %v, want ErrNotConnected", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	m := in.want("one")
	if m.Attempt < 2 {
		t.Errorf("attempt %d, want it counted", m.Attempt)
	}
	in.settle(m, ticketing.Ack)
}

func TestReceiveWaitsForAServerThatIsAway(t *testing.T) {
	s := natsserver.Run(t)
	c := connect(t, config(s.URL()))
	mustSend(t, c, subject, "one")
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	in := receive(t, c, group)
	never := receive(t, c, group)
	never.stop()
	if err := never.wait(); err != nil {
		t.Errorf("Receive = %v when its context ended before the server came, want nil", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	in.settle(in.want("one"), ticketing.Ack)
}

func TestARequestThatTheServerLostIsMadeAgain(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	name := jswrap.ConsumerName(group.Group, group.Subject)
	if _, err := c.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy, AckWait: group.AckWait,
		MaxAckPending: -1, MaxWaiting: 1,
	}); err != nil {
		t.Fatal(err)
	}
	// Another's request takes the only place: ours is dropped without a word.
	sub, err := c.Conn().SubscribeSync(c.Conn().NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Conn().PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+jswrap.DefaultStream+"."+name, sub.Subject, []byte(`{"batch":1,"expires":1000000000}`)); err != nil {
		t.Fatal(err)
	}
	until(t, "the other's request is there", func() bool { return consumerInfo(t, c, group).NumWaiting == 1 })
	in := receive(t, c, group)
	if _, err := sub.NextMsgWithContext(testContext(t)); err != nil { // its request has expired
		t.Fatal(err)
	}
	mustSend(t, c, subject, "one")
	in.settle(in.want("one"), ticketing.Ack)
}

func TestReceiveFollowsAConsumersNewLeader(t *testing.T) {
	cfg := config(natsserver.RunCluster(t, 3).URL())
	cfg.Replicas = 3
	c := connect(t, cfg)
	in := receive(t, c, group)
	mustSend(t, c, subject, "before")
	in.settle(in.want("before"), ticketing.Ack)
	for i := range 2 {
		if _, err := c.Conn().RequestWithContext(testContext(t), "$JS.API.CONSUMER.LEADER.STEPDOWN.TICKETING.g_ticket--created", nil); err != nil {
			t.Fatal(err)
		}
		data := fmt.Sprint("after ", i)
		until(t, "a publish", func() bool { return send(t, c, message(subject, data)) == nil })
		for got := ""; got != data; {
			m := in.next() // an acknowledgement may have been lost with the old leader
			got = string(m.Data)
			in.settle(m, ticketing.Ack)
		}
	}
}

func TestAskedForAndHeldNeverExceedTheWindow(t *testing.T) {
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

func TestAStopHandsBackInOrder(t *testing.T) {
	url := natsserver.Run(t).URL()
	c := connect(t, config(url))
	const n = 40
	for i := range n {
		mustSend(t, c, subject, fmt.Sprint(i))
	}
	s := group
	s.AckWait = time.Minute // nothing comes again by itself
	s.Window = 16
	for handled := 0; handled < n; handled += 10 {
		in := receive(t, connect(t, config(url)), s)
		for i := range 10 {
			m := in.want(fmt.Sprint(handled + i))
			in.settle(m, ticketing.Ack)
		}
		in.stop()
		for done := false; !done; {
			select {
			case m := <-in.msgs:
				_ = m.Settle(ticketing.Verdict{Kind: ticketing.Retry})
			case err := <-in.result:
				if err != nil {
					t.Fatal(err)
				}
				done = true
			}
		}
	}
}

func TestAStopHandsBackWhatTheHandlersKeep(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.AckWait = time.Minute
	s.DrainTimeout = 50 * time.Millisecond
	mustSend(t, c, subject, "one", "two", "three")
	in := receive(t, c, s)
	kept := []*ticketing.Inbound{in.want("one"), in.want("two")}
	in.stop()
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	for _, m := range kept {
		if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
			t.Errorf("Settle = %v, want ErrSettled", err)
		}
	}
	in = receive(t, c, s)
	for _, want := range []string{"one", "two", "three"} {
		in.settle(in.want(want), ticketing.Ack)
	}
}

func TestCloseIsCutShortWhileAHandlerHolds(t *testing.T) {
	url := natsserver.Run(t).URL()
	c := connect(t, config(url))
	s := group
	s.AckWait = time.Minute
	s.DrainTimeout = time.Minute
	mustSend(t, c, subject, "one")
	in := receive(t, c, s)
	in.want("one")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want the context's error", err)
	}
	if err := in.wait(); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	again := receive(t, connect(t, config(url)), s)
	again.settle(again.want("one"), ticketing.Ack)
}

func TestAHandlerMayPublishWhileItsClientCloses(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	mustSend(t, c, subject, "one")
	in := receive(t, c, group)
	m := in.want("one")
	closed := make(chan error, 1)
	go func() { closed <- c.Close(testContext(t)) }()
	until(t, "the intake has stopped", func() bool {
		ended, cancel := context.WithCancel(context.Background())
		defer cancel()
		err := c.Receive(ended, group, func(context.Context, *ticketing.Inbound) {
			t.Error("a message came to a client that closes")
		})
		return errors.Is(err, ticketing.ErrClosed)
	})
	mustSend(t, c, other, "from the handler")
	in.settle(m, ticketing.Ack)
	if err := await(t, closed, "Close"); err != nil {
		t.Errorf("Close = %v", err)
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

func TestARedeliveryOfWhatIsHeldIsAbsorbed(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	p := netfault.Run(t, url)
	c := connect(t, config(p.URL()))
	s := group
	s.AckWait = 300 * time.Millisecond
	in := receive(t, c, s)
	mustSend(t, c, subject, "one")
	held := in.want("one")
	p.BlackHole(netfault.ToServer) // no sign of life gets through
	until(t, "the server delivers it again", func() bool { return consumerInfo(t, admin, s).Delivered.Consumer > 1 })
	p.Heal()
	mustSend(t, c, subject, "two")
	in.settle(in.want("two"), ticketing.Ack) // and not "one" again
	in.settle(held, ticketing.Ack)
	until(t, "both are acknowledged", func() bool { return consumerInfo(t, admin, s).AckFloor.Stream == 2 })
	if len(in.msgs) != 0 {
		t.Errorf("%q came again", (<-in.msgs).Data)
	}
}

func TestAStopWhileDisconnectedDoesNotWaitForTheServer(t *testing.T) {
	s := natsserver.Run(t)
	c := connect(t, config(s.URL()))
	in := receive(t, c, group)
	mustSend(t, c, subject, "one")
	in.settle(in.want("one"), ticketing.Ack)
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	start := time.Now()
	in.stop()
	if err := in.wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := c.Close(testContext(t)); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func TestAHandleThatBlocksIsToldWhenTheDrainTimeoutIsOver(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	mustSend(t, c, subject, "one")
	s := group
	s.DrainTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
			cancel()
			<-ctx.Done()
		})
	}()
	if err := await(t, result, "Receive"); err != nil {
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

func TestAStopLetsHandlersHandBackFirst(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	const n = 8
	for i := range n {
		mustSend(t, c, subject, fmt.Sprint(i))
	}
	s := group
	s.AckWait = time.Minute
	s.Window = n
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, s, func(_ context.Context, in *ticketing.Inbound) {
			until(t, "all have come", func() bool { return consumerInfo(t, c, s).NumAckPending == n })
			cancel() // so that the others are never handed over
			time.AfterFunc(50*time.Millisecond, func() { _ = in.Settle(ticketing.Verdict{Kind: ticketing.Retry}) })
		})
	}()
	if err := await(t, result, "Receive"); err != nil {
		t.Fatal(err)
	}
	in := receive(t, c, s)
	for i := range n {
		in.settle(in.want(fmt.Sprint(i)), ticketing.Ack)
	}
}

func TestStartersOfDifferentStreamsFindOnePlaceForDeadLetters(t *testing.T) {
	url := natsserver.Run(t).URL()
	var log logs
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			cfg := config(url)
			cfg.Logger = log.logger()
			cfg.Stream = fmt.Sprint("STREAM", i)
			cfg.Subjects = []ticketing.Subject{ticketing.Subject(fmt.Sprint("service:", i))}
			c, err := jswrap.Connect(testContext(t), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer closeClient(t, c)
			if err := c.CheckSubject(testContext(t), "dead.g.x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if strings.Contains(log.String(), "no stream for dead letters") {
		t.Errorf("somebody found none:\n%s", &log)
	}
}

func TestNothingIsLostThroughBrokenConnectionsAndRandomVerdicts(t *testing.T) {
	url := natsserver.Run(t).URL()
	p := netfault.Run(t, url)
	sender := connect(t, config(url))
	const n = 1000
	var mu sync.Mutex
	acked := map[string]bool{}
	done := make(chan struct{})
	handle := func(_ context.Context, in *ticketing.Inbound) {
		time.AfterFunc(rand.N(2*time.Millisecond), func() {
			v := ticketing.Verdict{Kind: ticketing.Ack}
			switch rand.IntN(10) {
			case 0:
				v = ticketing.Verdict{Kind: ticketing.Retry, After: rand.N(10 * time.Millisecond)}
			case 1:
				v.Kind = ticketing.Abandon
			}
			if err := in.Settle(v); err != nil || v.Kind != ticketing.Ack {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if acked[string(in.Data)] = true; len(acked) == n {
				select {
				case <-done:
				default:
					close(done)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var members sync.WaitGroup
	for range 2 {
		c := connect(t, config(p.URL()))
		members.Go(func() {
			s := group
			s.AckWait = 300 * time.Millisecond
			s.Concurrency = 4
			if err := c.Receive(ctx, s, handle); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range n {
		mustSend(t, sender, subject, fmt.Sprint(i))
		if i%200 == 100 {
			p.Break()
		}
	}
	await(t, done, "all messages")
	cancel()
	members.Wait()
	until(t, "the server knows", func() bool {
		i := consumerInfo(t, sender, group)
		return i.NumPending == 0 // the rest comes again, because its acknowledgement was lost
	})
}
