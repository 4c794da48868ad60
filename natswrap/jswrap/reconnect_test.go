package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// Protection: owe and payAll, for what was settled meanwhile, and wake, which
// asks for messages again.
func TestListenThroughAServerRestartedMidConsume(t *testing.T) {
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
	t.Parallel()
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

// Protection: troubled, which has messages asked for again.
func TestListenThroughALeaderStepdown(t *testing.T) {
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
