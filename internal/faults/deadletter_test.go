package faults

import (
	"context"
	"log/slog"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// Without the rule in ticketing's bury that an event stays where it is until
// its dead letter is confirmed, it would be lost in each of these.

func TestADeadLetterThatIsNotPermittedStaysWhereItIs(t *testing.T) {
	t.Parallel()
	denied := func(o *natsd.Options) {
		o.Users = []*natsd.User{{Username: "service", Password: "service", Permissions: &natsd.Permissions{
			Publish: &natsd.SubjectPermission{Deny: []string{"dead.>", "_STAN.pub.*.dead.>"}},
		}}}
		o.NoAuthUser = "service"
	}
	onBothWith(t, denied, func(t *testing.T, b *broker) {
		requireKept(t, connect(t, b.config(b.url)), func() {}, func() {
			b.options = func(*natsd.Options) {}
			if err := b.restart(); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func TestADeadLetterStaysWhereItIsWhileItsStreamIsFullOrMissing(t *testing.T) {
	t.Parallel()
	const name = "TICKETING_DEAD"
	for fault, tc := range map[string]struct {
		breaks, heals func(context.Context, jetstream.JetStream) error
	}{
		"full": {
			func(ctx context.Context, js jetstream.JetStream) error { return limitDead(ctx, js, name, 1) },
			func(ctx context.Context, js jetstream.JetStream) error { return limitDead(ctx, js, name, -1) },
		},
		"missing": {
			func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, name) },
			func(ctx context.Context, js jetstream.JetStream) error {
				_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{"dead.>"}})
				return err
			},
		},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c := connect(t, natswrap.Config{URLs: []string{natsserver.Run(t).URL()}, ClientID: "tickets-0", Logger: quiet})
			js, _ := c.JetStream()
			do := func(f func(context.Context, jetstream.JetStream) error) {
				if err := f(t.Context(), js); err != nil {
					t.Fatal(err)
				}
			}
			requireKept(t, c, func() { do(tc.breaks) }, func() { do(tc.heals) })
		})
	}
}

// limitDead sets how many messages a stream holds, and stores one, so that a
// limit of one is reached.
func limitDead(ctx context.Context, js jetstream.JetStream, name string, most int64) error {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	if _, err := js.Publish(ctx, "dead.other.ticket:created", nil); err != nil && most == 1 {
		return err
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs, cfg.Discard = most, jetstream.DiscardNew
	_, err = js.UpdateStream(ctx, cfg)
	return err
}

func TestADeadLetterStaysWhereItIsWhileThereIsNoChannelForIt(t *testing.T) {
	t.Parallel()
	channels := 1
	s := stanserver.Run(t, stanserver.FileStore(), stanserver.Configure(func(o *stand.Options) { o.MaxChannels = channels }))
	c := connect(t, natswrap.Config{URLs: []string{s.URL()}, ClientID: "tickets-0", ClusterID: s.ClusterID(), Logger: quiet})
	publish(t, c, "first", "") // otherwise the channel for the group's replays may be the one
	requireKept(t, c, func() {}, func() {
		channels = 10
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	})
}

// requireKept has events that can and cannot be decoded come to a listener while
// its dead letters cannot be stored.
func requireKept(t *testing.T, c *natswrap.Client, fail, heal func()) {
	t.Helper()
	const garbage = 5
	log := refusals(make(chan struct{}, 1000))
	buried := make(chan string, garbage)
	in := listen(t, c, "g", ticketing.ListenerOptions{
		Logger: slog.New(log), MinBackoff: 20 * time.Millisecond, MaxBackoff: 500 * time.Millisecond,
		OnDeadLetter: func(d ticketing.DeadLetter) { buried <- string(d.Inbound.Data) },
	})
	publish(t, c, "before", "")
	in.want("before")
	fail()
	p := ticketing.NewPublisher[bad](c, nil)
	for i := range garbage {
		if err := p.Publish(t.Context(), bad{i}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, c, "after", "")
	in.want("after")
	for range 2 * garbage {
		await(t, "a dead letter that is refused", log)
	}
	if len(buried) != 0 {
		t.Error("a dead letter was reported as stored")
	}
	heal()
	got := make(map[string]bool)
	for range garbage {
		got[await(t, "the dead letter", buried)] = true
	}
	if len(got) != garbage {
		t.Errorf("the dead letters are %v, want each of %d", got, garbage)
	}
}

// bad is a ticket:created whose id is a number.
type bad struct {
	ID int `json:"id"`
}

func (bad) Subject() ticketing.Subject { return ticketing.SubjectTicketCreated }

// refusals is a log that counts the dead letters that were not stored.
type refusals chan struct{}

func (refusals) Enabled(context.Context, slog.Level) bool { return true }
func (r refusals) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r refusals) WithGroup(string) slog.Handler          { return r }
func (r refusals) Handle(_ context.Context, rec slog.Record) error {
	if rec.Message == "dead letter not stored; the event stays where it is" {
		select {
		case r <- struct{}{}:
		default:
		}
	}
	return nil
}
