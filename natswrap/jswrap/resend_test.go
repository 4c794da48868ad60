package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// stored returns the payloads of a stream, in its order.
func stored(t testing.TB, js jetstream.JetStream, stream string) []string {
	t.Helper()
	ctx := testContext(t)
	s, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	if s.CachedInfo().State.Msgs == 0 {
		return nil
	}
	var all []string
	for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(m.Data))
	}
	return all
}

// numbered sends n messages, "from" and up, without waiting.
func numbered(c *jswrap.Client, s ticketing.Subject, from, n int) (data []string, results []<-chan error) {
	for i := range n {
		data = append(data, fmt.Sprint(from+i))
		results = append(results, sendAsync(context.Background(), c, message(s, data[i])))
	}
	return data, results
}

// untilWritten waits until the connection has taken everything.
func untilWritten(t testing.TB, c *jswrap.Client) {
	t.Helper()
	messages := uint64(0)
	until(t, "everything is written", func() bool {
		before := messages
		messages = c.Conn().Stats().OutMsgs
		n, err := c.Conn().Buffered()
		return before == messages && n == 0 && err == nil
	})
}

// Protection: finishAll's condition in onLost, which keeps what can be written
// again, and reopen, which writes it.
func TestWhatWasNotAcknowledgedIsWrittenAgainOnTheNextConnection(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	p := netfault.Run(t, url)
	c := connect(t, config(p.URL()))
	// The answers to the first half are lost, and of the others the messages.
	p.BlackHole(netfault.ToClient)
	want, results := numbered(c, subject, 0, 20)
	until(t, "the first are stored", func() bool { return len(stored(t, admin.JetStream(), jswrap.DefaultStream)) == 20 })
	p.BlackHole(netfault.ToServer)
	data, more := numbered(c, subject, 20, 20)
	want, results = append(want, data...), append(results, more...)
	untilWritten(t, c)
	p.Break()
	until(t, "the client notices", func() bool { return !c.Healthy() })
	wantOutcome(t, send(t, c, message(subject, "{}")), ticketing.ErrNotSent, ticketing.ErrNotConnected)
	p.Heal()
	until(t, "the client is back", c.Healthy)
	mustSend(t, c, subject, "last")
	for i, r := range results {
		if err := await(t, r, "the outcome"); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if got := stored(t, admin.JetStream(), jswrap.DefaultStream); !slices.Equal(got, append(want, "last")) {
		t.Errorf("stored are %v", got)
	}
}

// Protection: pending.repeat.
func TestWhatWasNotAcknowledgedIsUnknownWhereTheStreamTellsNoDuplicates(t *testing.T) {
	admin, user := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.HIDDEN"}}})
	a := connect(t, config(admin))
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "HIDDEN", Subjects: []string{"hidden:stream"}},
		{Name: "SHORT", Subjects: []string{"short:stream"}, Duplicates: 9 * time.Second},
		{Name: "LONG", Subjects: []string{"long:stream"}, Duplicates: 10 * time.Second},
	} {
		if _, err := a.JetStream().CreateStream(testContext(t), cfg); err != nil {
			t.Fatal(err)
		}
	}
	p := netfault.Run(t, user)
	c := connect(t, config(p.URL()))
	for _, s := range []ticketing.Subject{"hidden:stream", "short:stream", "long:stream"} {
		mustSend(t, c, s, "{}")
	}
	p.BlackHole(netfault.ToClient)
	hidden := sendAsync(context.Background(), c, message("hidden:stream", "{}"))
	short := sendAsync(context.Background(), c, message("short:stream", "{}"))
	long := sendAsync(context.Background(), c, message("long:stream", "{}"))
	untilWritten(t, c)
	p.Break()
	wantOutcome(t, await(t, hidden, "the outcome"), ticketing.ErrUnknown)
	wantOutcome(t, await(t, short, "the outcome"), ticketing.ErrUnknown)
	if c.Healthy() {
		t.Error("the outcomes came only with the next connection")
	}
	p.Heal()
	if err := await(t, long, "the outcome"); err != nil {
		t.Error(err)
	}
}

// Protection: maybeStored: only the second copy is known not to be stored.
func TestWhatIsRefusedTheSecondTimeIsUnknown(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	p := netfault.Run(t, url)
	c := connect(t, config(p.URL()))
	p.BlackHole(netfault.Both)
	result := sendAsync(context.Background(), c, message(subject, "too large, later"))
	untilWritten(t, c)
	p.Break()
	cfg := streamConfig(t, admin.JetStream(), jswrap.DefaultStream)
	cfg.MaxMsgSize = 10
	if _, err := admin.JetStream().UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	p.Heal()
	err := await(t, result, "the outcome")
	wantOutcome(t, err, ticketing.ErrUnknown, ticketing.ErrTooLarge)
	if errors.Is(err, ticketing.ErrRejected) {
		t.Errorf("%v is rejected, though the first copy may be stored", err)
	}
}

// Protection: pending.due, and the header's id, which wire.publish takes from
// the message again.
func TestAPublishWithoutAnAnswerIsWrittenAgainWithTheSameID(t *testing.T) {
	t.Parallel()
	cfg := config(natsserver.Run(t).URL())
	c := connect(t, cfg)
	silent := jetstream.StreamConfig{Name: "SILENT", Subjects: []string{"silent:stream"}, NoAck: true}
	if _, err := c.JetStream().CreateStream(testContext(t), silent); err != nil {
		t.Fatal(err)
	}
	wire, err := c.Conn().SubscribeSync("silent:stream")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	m := message("silent:stream", "{}")
	result := sendAsync(context.Background(), c, m)
	for copies := range 2 {
		got, err := wire.NextMsgWithContext(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if id := got.Header.Get("Nats-Msg-Id"); id != m.ID {
			t.Errorf("copy %d has id %q, want %q", copies+1, id, m.ID)
		}
	}
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("the second copy came after %v", took)
	}
	silent.NoAck = false
	if _, err := c.JetStream().UpdateStream(testContext(t), silent); err != nil {
		t.Fatal(err)
	}
	if err := await(t, result, "the outcome"); err != nil { // of the third
		t.Error(err)
	}
	if got := stored(t, c.JetStream(), "SILENT"); len(got) != 1 {
		t.Errorf("stored are %q, want one message", got)
	}
}

// orphans returns a client of a user who may not look up streams, so that it
// never hears that there is none, and the stream's admin.
func orphans(t *testing.T, timeout time.Duration) (c, admin *jswrap.Client) {
	adminURL, userURL := restricted(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.NAMES"}}})
	admin = connect(t, config(adminURL))
	cfg := config(userURL)
	cfg.AckTimeout = timeout
	c = connect(t, cfg)
	mustSend(t, c, subject, "before")
	return c, admin
}

// Protection: wire.stalled and wire.hold.
func TestPublishesThatNobodyAnswersWaitInTheirOrder(t *testing.T) {
	c, admin := orphans(t, patience)
	js := admin.JetStream()
	cfg := streamConfig(t, js, jswrap.DefaultStream)
	if err := js.DeleteStream(testContext(t), jswrap.DefaultStream); err != nil {
		t.Fatal(err)
	}
	want, results := numbered(c, subject, 0, 50)
	// Once those are known to wait, later ones wait behind them.
	until(t, "all wait", func() bool { return c.Waiting(subject) == 50 })
	data, more := numbered(c, subject, 50, 50)
	want, results = append(want, data...), append(results, more...)
	if _, err := js.CreateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	data, more = numbered(c, subject, 100, 50)
	want, results = append(want, data...), append(results, more...)
	for i, r := range results {
		if err := await(t, r, "the outcome"); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if got := stored(t, js, jswrap.DefaultStream); !slices.Equal(got, want) {
		t.Errorf("stored are %v", got)
	}
}

// Protection: pending.stalled for the outcome, the growing pause for the rate.
func TestAPublishThatNobodyAnswersIsNotSentWhenTheTimeIsOver(t *testing.T) {
	c, admin := orphans(t, time.Second)
	if err := admin.JetStream().DeleteStream(testContext(t), jswrap.DefaultStream); err != nil {
		t.Fatal(err)
	}
	before, start := c.Conn().Stats().OutMsgs, time.Now()
	_, results := numbered(c, subject, 0, 10)
	for _, r := range results {
		err := await(t, r, "the outcome")
		wantOutcome(t, err, ticketing.ErrNotSent)
		if errors.Is(err, ticketing.ErrNoStream) || !strings.Contains(err.Error(), "electing a leader") {
			t.Errorf("%v, though nobody confirmed that there is no stream", err)
		}
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("given up after %v", took)
	}
	if n := c.Conn().Stats().OutMsgs - before; n > 40 {
		t.Errorf("%d messages were written meanwhile", n)
	}
}
