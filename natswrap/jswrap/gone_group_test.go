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

// Protection: trouble.verify after a reconnect, and adopt, which compares the
// start with what is held.
func TestAMemberThatHoldsALowerMessageMakesTheConsumerStartThere(t *testing.T) {
	t.Parallel()
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	p := netfault.Run(t, url)
	away := connect(t, config(p.URL()))
	s := group
	s.Window = 1
	s.DrainTimeout = 100 * time.Millisecond
	fill(t, admin, 3)
	ours := receive(t, away, s)
	first := ours.want("1")
	theirs := receive(t, admin, s)
	theirs.settle(theirs.want("2"), ticketing.Ack)
	theirs.want("3") // and keeps it

	p.Cut()
	until(t, "the client notices", func() bool { return !away.Healthy() })
	deleteConsumer(t, admin)
	makeConsumer(t, admin, 3) // as the other member does, which holds 3
	p.Heal()
	healed := time.Now()
	until(t, "it starts at what is held", func() bool { return startOf(t, admin) == 1 })
	if took := time.Since(healed); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	away.Conn().Close() // as in a crash
	if err := ours.wait(); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
	if err := first.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err == nil {
		t.Error("a message of a closed client was settled")
	}
	s.Window = 10
	last := receive(t, connect(t, config(url)), s)
	for string(last.next().Data) != "1" { // it would be lost
		continue
	}
}

// makeConsumer makes the group's consumer as a member does that holds seq.
func makeConsumer(t testing.TB, c *jswrap.Client, seq uint64) {
	t.Helper()
	if _, err := c.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, jetstream.ConsumerConfig{
		Durable: consumerName, FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq, AckWait: group.AckWait,
		Metadata: map[string]string{"ticketing-restarted-at": fmt.Sprint(seq)},
	}); err != nil {
		t.Fatal(err)
	}
}

// Protection: lookAround, for a member whose window is full, which no answer to
// a request can tell, and bonus, without which it does not ask for what it
// holds, and another member gets that.
func TestAConsumerThatAnotherMadeIsNoticedWhileTheWindowIsFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes the time of five signs of life")
	}
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.Window = 1
	in := receive(t, c, s)
	fill(t, c, 2)
	in.want("1")
	deleteConsumer(t, c)
	makeConsumer(t, c, 2)
	until(t, "it starts at what is held", func() bool { return startOf(t, c) == 1 })
	until(t, "what is held has come again", func() bool { return consumerInfo(t, c, s).NumAckPending == 1 })
	if len(in.msgs) != 0 {
		t.Errorf("%q was handed over again", (<-in.msgs).Data)
	}
}

// Protection: unable in remake, which looks again where another member was
// faster.
func TestNothingIsLostWhileTheConsumerIsDeletedUnderAGroup(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	const n, members = 600, 3
	var mu sync.Mutex
	acked := map[string]int{}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	for range members {
		c := connect(t, config(url))
		running.Go(func() {
			s := group
			s.Concurrency = 4
			err := c.Receive(ctx, s, func(_ context.Context, in *ticketing.Inbound) {
				time.AfterFunc(rand.N(5*time.Millisecond), func() {
					if in.Settle(ticketing.Verdict{Kind: ticketing.Ack}) != nil {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if acked[string(in.Data)]++; len(acked) == n && acked[string(in.Data)] == 1 {
						close(done)
					}
				})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for i := range n {
		mustSend(t, admin, subject, fmt.Sprint(i))
		if i%100 == 50 {
			_ = admin.JetStream().DeleteConsumer(testContext(t), jswrap.DefaultStream, consumerName)
		}
	}
	await(t, done, "all messages")
	until(t, "the consumer is at the end", func() bool {
		i := consumerInfo(t, admin, group)
		return i.NumPending == 0 && i.NumAckPending == 0
	})
	cancel()
	running.Wait()
}
