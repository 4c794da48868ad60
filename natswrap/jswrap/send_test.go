package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// wantOutcome checks a publish's error.
func wantOutcome(t *testing.T, err error, want ...error) {
	t.Helper()
	var pe *ticketing.PublishError
	if !errors.As(err, &pe) {
		t.Fatalf("got %v, want a PublishError", err)
	}
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("got %v, want it to match %q", err, w)
		}
	}
}

func TestSendSetsIDAndDedupeIDOnTheWire(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	sub, err := c.Conn().SubscribeSync(string(subject))
	if err != nil {
		t.Fatal(err)
	}
	m := message(subject, "{}")
	m.DedupeID = m.ID + "/replay/1"
	m.Header = map[string][]string{"Trace": {"a", " b "}}
	if err := send(t, c, m); err != nil {
		t.Fatal(err)
	}
	mustSend(t, c, subject, "plain")
	got, err := sub.NextMsgWithContext(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("Ticketing-Id") != m.ID || got.Header.Get("Nats-Msg-Id") != m.DedupeID ||
		fmt.Sprint(got.Header.Values("Trace")) != "[a b]" || len(got.Header) != 3 || string(got.Data) != "{}" {
		t.Errorf("on the wire: %v %q", got.Header, got.Data)
	}
	got, err = sub.NextMsgWithContext(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Header) != 2 || got.Header.Get("Ticketing-Id") != got.Header.Get("Nats-Msg-Id") {
		t.Errorf("a plain message has headers %v", got.Header)
	}
}

func TestSendWithoutAStreamIsRejectedAtOnce(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	for _, plainSubscriber := range []bool{false, true} {
		if plainSubscriber {
			if _, err := c.Conn().Subscribe("no:stream", func(*nats.Msg) {}); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		err := send(t, c, message("no:stream", "{}"))
		wantOutcome(t, err, ticketing.ErrRejected, ticketing.ErrNoStream)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("it took %v (plain subscriber: %t)", took, plainSubscriber)
		}
		if errors.Is(err, ticketing.ErrInvalidEvent) {
			t.Error("a missing stream counts as the event's own fault")
		}
	}
	if err := c.CheckSubject(testContext(t), "no:stream"); !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("CheckSubject = %v, want ErrNoStream", err)
	}
	if err := c.CheckSubject(testContext(t), "no stream"); !errors.Is(err, ticketing.ErrInvalidSubject) {
		t.Errorf("CheckSubject = %v, want ErrInvalidSubject", err)
	}
}

func TestSendNoticesThatItsStreamWasDeleted(t *testing.T) {
	for _, plainSubscriber := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain subscriber %t", plainSubscriber), func(t *testing.T) {
			c := connect(t, config(natsserver.Run(t).URL()))
			mustSend(t, c, subject, "{}")
			if err := c.JetStream().DeleteStream(testContext(t), jswrap.DefaultStream); err != nil {
				t.Fatal(err)
			}
			if plainSubscriber {
				if _, err := c.Conn().Subscribe(string(subject), func(*nats.Msg) {}); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			results := []<-chan error{
				sendAsync(context.Background(), c, message(subject, "1")),
				sendAsync(context.Background(), c, message(subject, "2")),
			}
			for _, r := range results {
				wantOutcome(t, await(t, r, "the outcome"), ticketing.ErrRejected, ticketing.ErrNoStream)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestSendFindsAStreamMadeLaterByAnother(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	wantOutcome(t, send(t, c, message("late:stream", "{}")), ticketing.ErrNoStream)
	if _, err := c.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "LATE", Subjects: []string{"late:stream"}}); err != nil {
		t.Fatal(err)
	}
	mustSend(t, c, "late:stream", "{}")
}

func TestSendWhileNobodyAnswersForAnExistingStreamIsNotSent(t *testing.T) {
	t.Parallel()
	cluster := natsserver.RunCluster(t, 3)
	cfg := config(cluster.URL())
	cfg.Replicas = 3
	c := connect(t, cfg)
	mustSend(t, c, subject, "{}")
	// Two of three gone: neither the stream nor the API has a leader.
	keep := c.Conn().ConnectedServerName()
	for _, s := range cluster.Servers() {
		if s.NATS().Name() != keep {
			s.Shutdown()
		}
	}
	start := time.Now()
	err := send(t, c, message(subject, "{}"))
	if errors.Is(err, ticketing.ErrRejected) || err == nil {
		t.Errorf("without a leader: %v, want it not sent or unknown", err)
	}
	if took := time.Since(start); took > jswrap.DefaultAckTimeout+2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSendOfWhatTheStreamRefusesIsRejected(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	if _, err := c.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "SMALL", Subjects: []string{"small:stream"}, MaxMsgSize: 200}); err != nil {
		t.Fatal(err)
	}
	mustSend(t, c, "small:stream", "fits")
	err := send(t, c, message("small:stream", strings.Repeat("x", 300)))
	wantOutcome(t, err, ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge)
}

func TestSendRefusesWhatItCannotEvenTry(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		m    *ticketing.Message
		want []error
	}{
		"nil context":     {nil, message(subject, "{}"), []error{ticketing.ErrNotSent}},
		"ended context":   {ended, message(subject, "{}"), []error{ticketing.ErrNotSent, context.Canceled}},
		"invalid subject": {context.Background(), message("a b", "{}"), []error{ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrInvalidSubject}},
		"wildcard":        {context.Background(), message("dead.>", "{}"), []error{ticketing.ErrRejected, ticketing.ErrInvalidSubject}},
		"no id":           {context.Background(), &ticketing.Message{Subject: subject}, []error{ticketing.ErrRejected, ticketing.ErrInvalidEvent}},
	} {
		t.Run(name, func(t *testing.T) {
			wantOutcome(t, await(t, sendAsync(test.ctx, c, test.m), "the outcome"), test.want...)
		})
	}
}

// restricted is a server on which u may not do something.
func restricted(t *testing.T, p *server.Permissions) (admin, user string) {
	url := natsserver.Run(t, natsserver.Configure(func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "secret"},
			{Username: "u", Password: "secret", Permissions: p},
		}
	})).URL()
	host := url[len("nats://"):]
	return "nats://admin:secret@" + host, "nats://u:secret@" + host
}

// Protection: OnAsyncError in Connect, which tells what the server says on the
// side.
func TestPublishWithPermissionDeniedAtOnce(t *testing.T) {
	admin, user := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{string(subject)}}})
	connect(t, config(admin))
	c := connect(t, config(user))
	start := time.Now()
	err := send(t, c, message(subject, "{}"))
	wantOutcome(t, err, ticketing.ErrRejected, ticketing.ErrPermission)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	mustSend(t, c, other, "{}")
}

func TestSendWorksWhereStreamsMayNotBeLookedUp(t *testing.T) {
	admin, user := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.NAMES"}}})
	a := connect(t, config(admin))
	if _, err := a.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "HIDDEN", Subjects: []string{"hidden:stream"}}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, config(user))
	mustSend(t, c, "hidden:stream", "{}")
	if err := c.CheckSubject(testContext(t), "hidden:stream"); !errors.Is(err, ticketing.ErrPermission) {
		t.Errorf("CheckSubject = %v, want ErrPermission", err)
	}
}

// Protection: findHome, which remembers that the account may not ask, and
// resume, which forgets it.
func TestALookupThatIsDeniedIsMadeOncePerConnection(t *testing.T) {
	admin, user := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.NAMES"}}})
	connect(t, config(admin))
	p := netfault.Run(t, user)
	var log testlog.Buffer
	cfg := config(p.URL())
	cfg.Logger = log.Logger()
	c := connect(t, cfg)
	dead := ticketing.DeadLetterSubject("g", subject)
	asked := func() int { return strings.Count(log.String(), "$JS.API.STREAM.NAMES") }
	before := asked() // by the check of the place for dead letters
	mustSend(t, c, dead, "1", "2", "3")
	if n := asked() - before; n != 1 {
		t.Errorf("it was denied %d times:\n%s", n, &log)
	}
	p.Break()
	until(t, "the client is back", func() bool { return c.Conn().Stats().Reconnects > 0 && c.Healthy() })
	mustSend(t, c, dead, "4", "5")
	if n := asked() - before; n != 2 {
		t.Errorf("it was denied %d times, want once on each connection:\n%s", n, &log)
	}
	// Who may not ask cannot find a stream to receive from either.
	if err := receive(t, c, ticketing.Subscription{Subject: dead, Group: "g"}).wait(); !errors.Is(err, ticketing.ErrPermission) {
		t.Errorf("Receive = %v, want ErrPermission", err)
	}
}

func TestConnectWithoutPermissionSaysSoAtOnce(t *testing.T) {
	for name, p := range map[string]*server.Permissions{
		"for the API":   {Publish: &server.SubjectPermission{Deny: []string{"$JS.API.>"}}},
		"for the inbox": {Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, user := restricted(t, p)
			start := time.Now()
			_, err := jswrap.Connect(testContext(t), config(user))
			if !errors.Is(err, ticketing.ErrPermission) {
				t.Errorf("Connect = %v, want ErrPermission", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in %v", err)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestSendIsNotSentWhileDisconnectedAndGoesOnAfterwards(t *testing.T) {
	s := natsserver.Run(t)
	c := connect(t, config(s.URL()))
	mustSend(t, c, subject, "before")
	s.Shutdown()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	wantOutcome(t, send(t, c, message(subject, "{}")), ticketing.ErrNotSent, ticketing.ErrNotConnected)
	if err := c.CheckSubject(testContext(t), subject); !errors.Is(err, ticketing.ErrNotConnected) {
		t.Errorf("CheckSubject = %v, want ErrNotConnected", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "the client is back", c.Healthy)
	mustSend(t, c, subject, "after")
}

func TestAnAcknowledgementThatDoesNotComeIsUnknownAfterTheTimeout(t *testing.T) {
	t.Parallel()
	p := netfault.Run(t, natsserver.Run(t).URL())
	cfg := config(p.URL())
	cfg.AckTimeout = time.Second
	cfg.MaxPending = 2
	c := connect(t, cfg)
	p.BlackHole(netfault.ToClient)
	start := time.Now()
	first := sendAsync(context.Background(), c, message(subject, "1"))
	second := sendAsync(context.Background(), c, message(subject, "2"))

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := await(t, sendAsync(ctx, c, message(subject, "3")), "the outcome")
	wantOutcome(t, err, ticketing.ErrBusy, context.DeadlineExceeded)
	if took := time.Since(start); took > 800*time.Millisecond {
		t.Errorf("waiting for a place took %v, longer than its context", took)
	}
	fourth := make(chan (<-chan error), 1)
	go func() { fourth <- sendAsync(context.Background(), c, message(subject, "4")) }()
	wantOutcome(t, await(t, first, "the outcome"), ticketing.ErrUnknown)
	wantOutcome(t, await(t, second, "the outcome"), ticketing.ErrUnknown)
	if took := time.Since(start); took < time.Second {
		t.Errorf("the timeout struck after %v", took)
	}
	wantOutcome(t, await(t, await(t, fourth, "a place"), "the outcome"), ticketing.ErrUnknown)
}

func TestSendHonoursItsContextWhileTheServerDoesNotRead(t *testing.T) {
	p := netfault.Run(t, natsserver.Run(t).URL())
	cfg := config(p.URL())
	cfg.AckTimeout = time.Second
	cfg.MaxPending = 64
	c := connect(t, cfg)
	p.BlackHole(netfault.ToServer)
	large := strings.Repeat("x", 1<<19)
	var results []<-chan error
	for range cfg.MaxPending { // more than the buffers on the way take
		results = append(results, sendAsync(context.Background(), c, message(subject, large)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	wantOutcome(t, await(t, sendAsync(ctx, c, message(subject, "{}")), "the outcome"), ticketing.ErrBusy, context.DeadlineExceeded)
	if took := time.Since(start); took > 900*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	outcomes := map[string]int{}
	for _, r := range results {
		var pe *ticketing.PublishError
		if err := await(t, r, "the outcome"); errors.As(err, &pe) {
			outcomes[pe.Outcome.String()]++
		}
	}
	// Those that were never written are known not to be sent.
	if outcomes["unknown"] == 0 || outcomes["not sent"] == 0 || outcomes["unknown"]+outcomes["not sent"] != cfg.MaxPending {
		t.Errorf("outcomes %v", outcomes)
	}
	p.Heal()
	last := message(subject, "the last")
	until(t, "the connection works again", func() bool { return send(t, c, last) == nil })
	s, err := c.JetStream().Stream(testContext(t), jswrap.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	if stored := s.CachedInfo().State.Msgs; stored > uint64(outcomes["unknown"])+1 {
		t.Errorf("%d are stored, though only %d may be", stored-1, outcomes["unknown"])
	}
}

func TestAnAnswerThatIsNoAcknowledgementIsUnknown(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	mustSend(t, c, subject, "{}")
	if err := c.JetStream().DeleteStream(testContext(t), jswrap.DefaultStream); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Conn().Subscribe(string(subject), func(m *nats.Msg) { _ = m.Respond([]byte("hello")) }); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, send(t, c, message(subject, "{}")), ticketing.ErrUnknown)
}

func TestManySendersKeepTheirOrderThroughASmallWindow(t *testing.T) {
	cfg := config(natsserver.Run(t).URL())
	cfg.MaxPending = 8
	c := connect(t, cfg)
	const senders, each = 16, 50
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			var results []<-chan error
			for n := range each {
				results = append(results, sendAsync(context.Background(), c, message(subject, fmt.Sprintf("%d %d", s, n))))
			}
			for _, r := range results {
				if err := await(t, r, "the outcome"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	in := receive(t, c, ticketing.Subscription{Subject: subject, Group: "g"})
	next := map[int]int{}
	for range senders * each {
		m := in.next()
		var s, n int
		if _, err := fmt.Sscan(string(m.Data), &s, &n); err != nil {
			t.Fatal(err)
		}
		if n != next[s] {
			t.Fatalf("sender %d: message %d came where %d was due", s, n, next[s])
		}
		next[s]++
		in.settle(m, ticketing.Ack)
	}
}
