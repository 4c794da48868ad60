package jswrap_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// changeConsumer changes the group's consumer, as an operator does.
func changeConsumer(t testing.TB, c *jswrap.Client, change func(*jetstream.ConsumerConfig)) {
	t.Helper()
	cfg := consumerInfo(t, c, group).Config
	change(&cfg)
	if _, err := c.JetStream().UpdateConsumer(testContext(t), jswrap.DefaultStream, cfg); err != nil {
		t.Fatal(err)
	}
}

// Protection: repair in check. Without it the requests are refused for ever.
func TestAConsumerThatIsChangedUnderAReceiverIsChangedBack(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.Window, s.AckWait = 10, 30*time.Second
	in := receive(t, c, s)
	mustSend(t, c, subject, "1")
	in.settle(in.want("1"), ticketing.Ack)
	changeConsumer(t, c, func(cfg *jetstream.ConsumerConfig) {
		cfg.MaxRequestBatch, cfg.MaxDeliver, cfg.AckWait = 1, 3, 20*time.Second
	})
	var data []string
	for range 30 {
		data = append(data, "more")
	}
	mustSend(t, c, subject, data...)
	for range data {
		in.settle(in.want("more"), ticketing.Ack)
	}
	have := consumerInfo(t, c, s).Config
	if have.MaxRequestBatch != 0 || have.MaxDeliver != -1 {
		t.Errorf("consumer %+v", have)
	}
	if have.AckWait != 20*time.Second {
		t.Errorf("the ack wait is %v, and another member may have set it", have.AckWait)
	}
}

// Protection: repair in adopt, for the one that is made again, and the look
// at mustChange in verify, for the one that is the same.
func TestAConsumerThatIsAnotherAfterAReconnectIsChangedBackOrRefused(t *testing.T) {
	for _, again := range []bool{false, true} {
		for name, verify := range map[string]bool{"changed back": false, "refused": true} {
			if again {
				name += ", made again"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				url := natsserver.Run(t).URL()
				admin := connect(t, config(url))
				first := receive(t, admin, group)
				mustSend(t, admin, subject, "1")
				first.settle(first.want("1"), ticketing.Ack)
				first.stop()
				_ = first.wait()
				p := netfault.Run(t, url)
				cfg := config(p.URL())
				cfg.VerifyOnly = verify
				c := connect(t, cfg)
				in := receive(t, c, group)
				mustSend(t, admin, subject, "2")
				in.settle(in.want("2"), ticketing.Ack)
				p.Cut()
				until(t, "the client notices", func() bool { return !c.Healthy() })
				if again {
					have := consumerInfo(t, admin, group).Config
					deleteConsumer(t, admin)
					if _, err := admin.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, have); err != nil {
						t.Fatal(err)
					}
				}
				changeConsumer(t, admin, func(cfg *jetstream.ConsumerConfig) { cfg.MaxDeliver = 3 })
				p.Heal()
				if verify {
					const want = "max_deliver is 3, not -1; and the configuration says to change nothing"
					if err := in.wait(); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Receive = %v, want %q", err, want)
					}
					return
				}
				until(t, "it is changed back", func() bool { return consumerInfo(t, admin, group).Config.MaxDeliver == -1 })
				mustSend(t, admin, subject, "3")
				for got := ""; got != "3"; { // a consumer that is made again forgets what the first settled
					m := in.next()
					got = string(m.Data)
					in.settle(m, ticketing.Ack)
				}
			})
		}
	}
}

// Protection: verify after a redelivery of what is held, and progressEvery.
func TestTheSignsOfLifeFollowAnAckWaitThatIsLowered(t *testing.T) {
	t.Parallel()
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.AckWait = 30 * time.Second
	in := receive(t, c, s)
	mustSend(t, c, subject, "1")
	held := in.want("1")
	const lowered = time.Second
	changeConsumer(t, c, func(cfg *jetstream.ConsumerConfig) { cfg.AckWait = lowered })
	delivered := func() uint64 { return consumerInfo(t, c, s).Delivered.Consumer }
	until(t, "the server delivers it again", func() bool { return delivered() > 1 })
	last, since := delivered(), time.Now()
	until(t, "it does so no more", func() bool {
		if n := delivered(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 3*lowered
	})
	in.settle(held, ticketing.Ack)
	if len(in.msgs) != 0 {
		t.Errorf("%q was handed over again", (<-in.msgs).Data)
	}
}
