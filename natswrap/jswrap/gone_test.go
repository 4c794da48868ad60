package jswrap_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

const consumerName = "g_ticket--created"

func deleteConsumer(t testing.TB, c *jswrap.Client) {
	t.Helper()
	if err := c.JetStream().DeleteConsumer(testContext(t), jswrap.DefaultStream, consumerName); err != nil {
		t.Fatal(err)
	}
}

// startOf returns where the group's consumer starts, or 0 while there is none.
func startOf(t testing.TB, c *jswrap.Client) uint64 {
	t.Helper()
	cons, err := c.JetStream().Consumer(testContext(t), jswrap.DefaultStream, consumerName)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return cons.CachedInfo().Config.OptStartSeq
}

// fill stores n messages, from "1" on, so that the data is the sequence.
func fill(t testing.TB, c *jswrap.Client, n int) {
	t.Helper()
	for i := range n {
		mustSend(t, c, subject, fmt.Sprint(i+1))
	}
}

// Protection: receiver.start for where it begins, and absorb for what comes
// again from there. Without the latter all that was settled comes again.
func TestAConsumerThatIsDeletedIsMadeAgainAtTheLowestThatIsNotSettled(t *testing.T) {
	url := natsserver.Run(t).URL()
	var log testlog.Buffer
	cfg := config(url)
	cfg.Logger = log.Logger()
	c := connect(t, cfg)
	fill(t, c, 99)
	s := group
	s.Window = 20
	s.AckWait = 30 * time.Second
	in := receive(t, c, s)
	held := map[int]*ticketing.Inbound{}
	for n := 1; n <= 60; n++ {
		m := in.want(fmt.Sprint(n))
		if n == 50 || n == 55 {
			held[n] = m
		} else {
			in.settle(m, ticketing.Ack)
		}
	}
	deleteConsumer(t, c)
	for n := 61; n <= 99; n++ {
		in.settle(in.want(fmt.Sprint(n)), ticketing.Ack) // and nothing before
	}
	for n, m := range held {
		if m.Attempt != 1 {
			t.Errorf("message %d is at attempt %d", n, m.Attempt)
		}
		in.settle(m, ticketing.Ack)
	}
	until(t, "all is acknowledged", func() bool {
		i := consumerInfo(t, c, s)
		return i.NumAckPending == 0 && i.NumPending == 0
	})
	if have := consumerInfo(t, c, s).Config; have.OptStartSeq != 50 || have.Metadata["ticketing-restarted-at"] != "50" {
		t.Errorf("consumer %+v", have)
	}
	for _, want := range []string{"level=WARN", "stream=TICKETING", "consumer=" + consumerName, "start=50"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in the log:\n%s", want, &log)
		}
	}
	in.stop()
	if err := in.wait(); err != nil {
		t.Error(err)
	}
	if len(in.msgs) != 0 {
		t.Errorf("%q came again", (<-in.msgs).Data)
	}

	// Its start is no mismatch later, also where something else is changed.
	s.AckWait = 10 * time.Second
	in = receive(t, connect(t, config(url)), s)
	mustSend(t, c, subject, "later")
	in.settle(in.want("later"), ticketing.Ack)
	if have := consumerInfo(t, c, s).Config; have.AckWait != s.AckWait || have.Metadata["ticketing-restarted-at"] != "50" {
		t.Errorf("consumer %+v", have)
	}
}

func TestAConsumerThatIsDeletedWhileTheWindowIsFullIsNoticedAfterwards(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.Window = 2
	in := receive(t, c, s)
	fill(t, c, 3)
	first, second := in.want("1"), in.want("2") // nothing is asked for now
	deleteConsumer(t, c)
	in.settle(second, ticketing.Ack)
	in.settle(in.want("3"), ticketing.Ack)
	until(t, "the consumer is made again at the message that is held", func() bool { return startOf(t, c) == 1 })
	until(t, "all is delivered again", func() bool { return consumerInfo(t, c, s).NumPending == 0 })
	in.settle(first, ticketing.Ack)
	until(t, "all is acknowledged", func() bool { return consumerInfo(t, c, s).NumAckPending == 0 })
	if len(in.msgs) != 0 {
		t.Errorf("%q came again", (<-in.msgs).Data)
	}
}

// Protection: trouble.verify after a reconnect.
func TestAConsumerThatIsDeletedWhileDisconnectedIsMadeAgain(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	p := netfault.Run(t, url)
	c := connect(t, config(p.URL()))
	fill(t, admin, 9)
	s := group
	s.AckWait = 30 * time.Second
	in := receive(t, c, s)
	held := in.want("1")
	for n := 2; n <= 8; n++ {
		in.settle(in.want(fmt.Sprint(n)), ticketing.Ack)
	}
	last := in.want("9")
	p.Cut()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	deleteConsumer(t, admin)
	in.settle(last, ticketing.Ack) // the server cannot be told
	p.Heal()
	mustSend(t, admin, subject, "10")
	in.settle(in.want("10"), ticketing.Ack)
	in.settle(held, ticketing.Ack)
	until(t, "all is acknowledged", func() bool {
		i := consumerInfo(t, admin, s)
		return i.NumAckPending == 0 && i.NumPending == 0
	})
	if start := startOf(t, admin); start != 1 {
		t.Errorf("it starts at %d", start)
	}
	if len(in.msgs) != 0 {
		t.Errorf("%q came again", (<-in.msgs).Data)
	}
}

func TestAConsumerThatIsDeletedEndsReceiveWhereNothingMayBeCreated(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	in := receive(t, admin, group)
	fill(t, admin, 1)
	in.settle(in.want("1"), ticketing.Ack)
	in.stop()
	_ = in.wait()
	cfg := config(url)
	cfg.VerifyOnly = true
	verifying := connect(t, cfg)
	in = receive(t, verifying, group)
	mustSend(t, admin, subject, "2")
	in.settle(in.want("2"), ticketing.Ack)
	deleteConsumer(t, admin)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "consumer "+consumerName+" of stream TICKETING was deleted, and the configuration says to create nothing") {
		t.Errorf("Receive = %v", err)
	}
	if startOf(t, admin) != 0 {
		t.Error("a consumer was made")
	}
}

func TestAConsumerThatIsDeletedEndsReceiveWithoutThePermissionToMakeItAgain(t *testing.T) {
	for name, deny := range map[string]string{
		"cannot be made again": "$JS.API.CONSUMER.CREATE.>",
		"STREAM.INFO":          "$JS.API.STREAM.INFO.OTHER",
	} {
		t.Run(name, func(t *testing.T) {
			adminURL, userURL := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{deny}}})
			admin := connect(t, config(adminURL))
			if _, err := admin.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other:stream"}}); err != nil {
				t.Fatal(err)
			}
			s := group
			s.Subject = "other:stream"
			in := receive(t, admin, s) // makes the consumer
			mustSend(t, admin, s.Subject, "1")
			in.settle(in.want("1"), ticketing.Ack)
			in.stop()
			_ = in.wait()
			in = receive(t, connect(t, config(userURL)), s)
			mustSend(t, admin, s.Subject, "2")
			in.settle(in.want("2"), ticketing.Ack)
			if err := admin.JetStream().DeleteConsumer(testContext(t), "OTHER", jswrap.ConsumerName(s.Group, s.Subject)); err != nil {
				t.Fatal(err)
			}
			if err := in.wait(); !errors.Is(err, ticketing.ErrPermission) || !strings.Contains(err.Error(), name) {
				t.Errorf("Receive = %v, want ErrPermission and %q", err, name)
			}
		})
	}
}

// Protection: restarted, which wants the metadata.
func TestAnOperatorsStartSequenceIsStillAMismatch(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	fill(t, c, 3)
	operators := jetstream.ConsumerConfig{
		Durable: consumerName, FilterSubject: string(subject), AckPolicy: jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 2,
	}
	if _, err := c.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, operators); err != nil {
		t.Fatal(err)
	}
	const want = "deliver_policy is by_start_sequence"
	if err := receive(t, c, group).wait(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Receive = %v, want %q", err, want)
	}
	deleteConsumer(t, c)
	p := netfault.Run(t, c.Conn().ConnectedUrl())
	member := connect(t, config(p.URL()))
	in := receive(t, member, group)
	for _, n := range []string{"1", "2", "3"} {
		in.settle(in.want(n), ticketing.Ack)
	}
	p.Cut()
	until(t, "the client notices", func() bool { return !member.Healthy() })
	deleteConsumer(t, c)
	if _, err := c.JetStream().CreateConsumer(testContext(t), jswrap.DefaultStream, operators); err != nil {
		t.Fatal(err)
	}
	p.Heal()
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Receive = %v, want %q", err, want)
	}
}

// Protection: confirmStream.
func TestAStreamThatIsDeletedEndsReceiveWithItsName(t *testing.T) {
	for name, again := range map[string]bool{"was deleted while": false, "was deleted and made again": true} {
		t.Run(name, func(t *testing.T) {
			url := natsserver.Run(t).URL()
			admin := connect(t, config(url))
			p := netfault.Run(t, url)
			c := connect(t, config(p.URL()))
			in := receive(t, c, group)
			fill(t, admin, 2)
			in.settle(in.want("1"), ticketing.Ack)
			in.settle(in.want("2"), ticketing.Ack)
			if again { // before anybody looks
				p.Cut()
				until(t, "the client notices", func() bool { return !c.Healthy() })
			}
			cfg := streamConfig(t, admin.JetStream(), jswrap.DefaultStream)
			if err := admin.JetStream().DeleteStream(testContext(t), jswrap.DefaultStream); err != nil {
				t.Fatal(err)
			}
			if again {
				if _, err := admin.JetStream().CreateStream(testContext(t), cfg); err != nil {
					t.Fatal(err)
				}
				p.Heal()
			}
			err := in.wait()
			if !errors.Is(err, ticketing.ErrNoStream) || !strings.Contains(err.Error(), "stream TICKETING "+name) {
				t.Errorf("Receive = %v", err)
			}
		})
	}
}

func TestADeletionDuringAStopDelaysNothing(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.DrainTimeout = 100 * time.Millisecond // what came again is not settled
	for range 10 {
		in := receive(t, c, s)
		mustSend(t, c, subject, "{}")
		in.settle(in.next(), ticketing.Ack)
		var both sync.WaitGroup
		both.Go(func() { deleteConsumer(t, c) })
		both.Go(in.stop)
		start := time.Now()
		if err := in.wait(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the stop took %v", took)
		}
		both.Wait()
		// It may have been made again in the last moment.
		_ = c.JetStream().DeleteConsumer(testContext(t), jswrap.DefaultStream, consumerName)
	}
}
