package jswrap_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

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

	var log testlog.Buffer
	c := config(url)
	c.Logger = log.Logger()
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
	t.Parallel()
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

func TestReceiveWithoutPermissionSaysSo(t *testing.T) {
	for name, deny := range map[string]string{
		"to create the consumer": "$JS.API.CONSUMER.CREATE.>",
		"to ask for messages":    "$JS.API.CONSUMER.MSG.NEXT.>",
		"to acknowledge them":    "$JS.ACK.>",
	} {
		t.Run(name, func(t *testing.T) {
			admin, user := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{deny}}})
			a := connect(t, config(admin))
			mustSend(t, a, subject, "{}")
			in := receive(t, connect(t, config(user)), group)
			if deny == "$JS.ACK.>" {
				in.settle(in.want("{}"), ticketing.Ack)
			}
			if err := in.wait(); !errors.Is(err, ticketing.ErrPermission) || !strings.Contains(err.Error(), strings.TrimSuffix(deny, ">")) {
				t.Errorf("Receive = %v, want ErrPermission and %s", err, deny)
			}
		})
	}
}
