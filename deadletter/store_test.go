package deadletter_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nuid"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience bounds every wait for what has to happen.
const patience = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// booking is an event, and refund another.
type booking struct {
	ID string `json:"id"`
}

func (booking) Subject() ticketing.Subject { return "booking:made" }

type refund struct {
	ID string `json:"id"`
}

func (refund) Subject() ticketing.Subject { return "booking:refunded" }

var subjects = []ticketing.Subject{booking{}.Subject(), refund{}.Subject()}

// onBoth runs a test on both brokers.
func onBoth(t *testing.T, test func(t *testing.T, connect func(*testing.T) *natswrap.Client)) {
	t.Parallel() // reading an empty channel is waiting
	t.Run("JetStream", func(t *testing.T) {
		t.Parallel()
		url := natsserver.Run(t).URL()
		test(t, func(t *testing.T) *natswrap.Client {
			return open(t, natswrap.Config{URLs: []string{url}})
		})
	})
	t.Run("NATS Streaming", func(t *testing.T) {
		t.Parallel()
		s := stanserver.Run(t)
		test(t, func(t *testing.T) *natswrap.Client {
			return open(t, natswrap.Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID()})
		})
	})
}

func open(t *testing.T, cfg natswrap.Config) *natswrap.Client {
	t.Helper()
	cfg.ClientID, cfg.Subjects, cfg.Logger = nuid.Next(), subjects, quiet
	c, err := natswrap.Connect(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// listening is a listener whose handler asks what to say.
type listening[E ticketing.Event] struct {
	handled chan ticketing.Delivery[E]
	died    chan ticketing.DeadLetter
	stop    func()
}

func listen[E ticketing.Event](t *testing.T, c *natswrap.Client, group string, fail func(E) error) *listening[E] {
	t.Helper()
	l := &listening[E]{handled: make(chan ticketing.Delivery[E], 1000), died: make(chan ticketing.DeadLetter, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- ticketing.NewListener(c, group, func(_ context.Context, d *ticketing.Delivery[E]) error {
			l.handled <- *d
			return fail(d.Event)
		}, &ticketing.ListenerOptions{Logger: quiet, OnDeadLetter: func(d ticketing.DeadLetter) { l.died <- d }}).Listen(ctx)
	}()
	stopped := false
	l.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(l.stop)
	return l
}

func next[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

func none[T any](t *testing.T, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		t.Errorf("%s: got %+v", what, v)
	default:
	}
}

func publish[E ticketing.Event](t *testing.T, c *natswrap.Client, events ...E) {
	t.Helper()
	for _, e := range events {
		if err := ticketing.NewPublisher[E](c, nil).Publish(testContext(t), e); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, c *natswrap.Client, f deadletter.Filter) []*deadletter.Letter {
	t.Helper()
	var all []*deadletter.Letter
	for l, err := range c.DeadLetters().List(testContext(t), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func refuse[E ticketing.Event](why string) func(E) error {
	return func(E) error { return ticketing.Permanent(errors.New(why)) }
}

func accept[E ticketing.Event](E) error { return nil }

// bury makes dead letters of the events, for a group.
func bury[E ticketing.Event](t *testing.T, c *natswrap.Client, group, why string, events ...E) (ids []string) {
	t.Helper()
	l := listen(t, c, group, refuse[E](why))
	publish(t, c, events...)
	for range events {
		ids = append(ids, next(t, l.died, "the dead letter").Inbound.ID)
	}
	l.stop()
	return ids
}

func TestADeadLetterTellsWhatTheEventWasAndWhyItDied(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		before := time.Now().Add(-time.Second)
		ids := bury(t, c, "orders", "no such \x1b[31mticket", booking{"a"})
		all := list(t, c, deadletter.Filter{Group: "orders"})
		if len(all) != 1 {
			t.Fatalf("%d dead letters, want 1", len(all))
		}
		l := all[0]
		if l.Group != "orders" || l.Subject != "booking:made" || l.Sequence != 1 || l.ID != ids[0] || l.Position != 1 {
			t.Errorf("letter %v of event %q at %d", l.Ref, l.ID, l.Position)
		}
		if l.Reason != "permanent: no such  [31mticket" || l.Attempts != 1 || l.Cut != "" || !l.Whole() {
			t.Errorf("reason %q after %d attempts, cut %q", l.Reason, l.Attempts, l.Cut)
		}
		if string(l.Data) != `{"id":"a"}` || l.Header != nil {
			t.Errorf("the event is %q with the headers %v", l.Data, l.Header)
		}
		if l.Died.Before(l.Published) || l.Published.Before(before) || time.Since(l.Died) > patience {
			t.Errorf("published %v, died %v", l.Published, l.Died)
		}
		same, err := c.DeadLetters().Get(testContext(t), l.Ref)
		if err != nil || same.ID != l.ID || string(same.Data) != string(l.Data) {
			t.Errorf("Get = %+v, %v", same, err)
		}
	})
}

func TestAReplayIsHandledOnceByTheGroupThatFailedWithItsIDAndByNobodyElse(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		other := listen(t, c, "payments", accept[booking])
		ids := bury(t, c, "orders", "down", booking{"a"}, booking{"b"})
		for range 2 {
			next(t, other.handled, "the other group's event")
		}

		l := listen(t, c, "orders", accept[booking])
		all := list(t, c, deadletter.Filter{Group: "orders"})
		for _, letter := range all {
			if err := c.DeadLetters().Replay(testContext(t), letter); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []string{"a", "b"} {
			d := next(t, l.handled, "the replay")
			if d.Event.ID != want || d.ID != ids[i] || d.Attempt != 1 {
				t.Errorf("replayed %+v, want %q with id %s", d, want, ids[i])
			}
		}
		if left := list(t, c, deadletter.Filter{Group: "orders"}); len(left) != 0 {
			t.Errorf("%d dead letters are left", len(left))
		}
		// What comes behind shows that nothing else came.
		publish(t, c, booking{"c"})
		if d := next(t, other.handled, "the next event"); d.Event.ID != "c" {
			t.Errorf("the other group got %+v", d)
		}
		if d := next(t, l.handled, "the next event"); d.Event.ID != "c" {
			t.Errorf("the group got %+v once more", d)
		}
		none(t, l.died, "a dead letter")
	})
}

func TestAReplayThatFailsAgainIsADeadLetterAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		ids := bury(t, c, "orders", "first", booking{"a"})
		bury(t, c, "payments", "in between", refund{"b"})
		for _, why := range []string{"second", "third"} {
			l := listen(t, c, "orders", refuse[booking](why))
			replays := 0
			for letter, err := range c.DeadLetters().List(testContext(t), deadletter.Filter{Group: "orders"}) {
				if err != nil {
					t.Fatal(err)
				}
				if err := c.DeadLetters().Replay(testContext(t), letter); err != nil {
					t.Fatal(err)
				}
				next(t, l.died, "the dead letter")
				replays++
			}
			l.stop()
			if replays != 1 {
				t.Errorf("%d replays: a list goes on to what was added meanwhile", replays)
			}
			all := list(t, c, deadletter.Filter{Group: "orders"})
			if len(all) != 1 || all[0].Reason != "permanent: "+why || all[0].ID != ids[0] || string(all[0].Data) != `{"id":"a"}` {
				t.Fatalf("after %s: %+v", why, all)
			}
		}
	})
}

func TestTheListenersOfAGroupGetTheReplaysOfTheirSubjects(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		bury(t, c, "orders", "down", booking{"a"})
		bury(t, c, "orders", "down", refund{"b"})
		for _, l := range list(t, c, deadletter.Filter{Group: "orders"}) {
			if err := c.DeadLetters().Replay(testContext(t), l); err != nil {
				t.Fatal(err)
			}
		}
		// They come where they were stored before the listeners start.
		bookings, refunds := listen(t, c, "orders", accept[booking]), listen(t, c, "orders", accept[refund])
		if d := next(t, bookings.handled, "the booking"); d.Event.ID != "a" {
			t.Errorf("handled %+v", d)
		}
		if d := next(t, refunds.handled, "the refund"); d.Event.ID != "b" {
			t.Errorf("handled %+v", d)
		}
		publish(t, c, booking{"c"})
		if d := next(t, bookings.handled, "the next event"); d.Event.ID != "c" {
			t.Errorf("handled %+v", d)
		}
		none(t, refunds.handled, "a refund")
	})
}

func TestADiscardedDeadLetterIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		bury(t, c, "orders", "down", booking{"a"}, booking{"b"})
		store := c.DeadLetters()
		gone := deadletter.Ref{Group: "orders", Subject: "booking:made", Sequence: 1}
		if err := store.Discard(testContext(t), gone); err != nil {
			t.Fatal(err)
		}
		if err := store.Discard(testContext(t), gone); !errors.Is(err, deadletter.ErrNotFound) {
			t.Errorf("the second Discard = %v", err)
		}
		if _, err := store.Get(testContext(t), gone); !errors.Is(err, deadletter.ErrNotFound) {
			t.Errorf("Get = %v", err)
		}
		if all := list(t, c, deadletter.Filter{Group: "orders"}); len(all) != 1 || all[0].Sequence != 2 {
			t.Errorf("left: %+v", all)
		}
		for _, r := range []deadletter.Ref{
			{Group: "orders", Subject: "booking:made", Sequence: 99},
			{Group: "others", Subject: "booking:made", Sequence: 2},
			{Group: "orders", Subject: "booking:refunded", Sequence: 2},
		} {
			if err := store.Discard(testContext(t), r); !errors.Is(err, deadletter.ErrNotFound) {
				t.Errorf("Discard %v = %v, want that there is none", r, err)
			}
		}
	})
}

func TestAFilterTellsDeadLettersByGroupSubjectTimeAndReason(t *testing.T) {
	onBoth(t, func(t *testing.T, connect func(*testing.T) *natswrap.Client) {
		c := connect(t)
		bury(t, c, "orders", "Timeout of the bank", booking{"a"})
		bury(t, c, "orders", "no ticket", booking{"b"})
		bury(t, c, "payments", "no bank", refund{"c"})
		all := list(t, c, deadletter.Filter{Group: "orders"})
		if len(all) != 2 {
			t.Fatalf("%d dead letters", len(all))
		}
		for name, tc := range map[string]struct {
			f    deadletter.Filter
			want string
		}{
			"a group":                {deadletter.Filter{Group: "orders"}, "ab"},
			"another group":          {deadletter.Filter{Group: "payments"}, "c"},
			"no such group":          {deadletter.Filter{Group: "nobody"}, ""},
			"a subject":              {deadletter.Filter{Group: "orders", Subject: "booking:made"}, "ab"},
			"a subject without any":  {deadletter.Filter{Group: "orders", Subject: "booking:refunded"}, ""},
			"a part of the reason":   {deadletter.Filter{Group: "orders", Reason: "timeout"}, "a"},
			"since":                  {deadletter.Filter{Group: "orders", Since: all[1].Died}, "b"},
			"until, and not at that": {deadletter.Filter{Group: "orders", Until: all[1].Died}, "a"},
		} {
			if got := payloads(list(t, c, tc.f)); got != tc.want {
				t.Errorf("%s: %q, want %q", name, got, tc.want)
			}
		}
		if c.Backend() == natswrap.JetStream {
			if got := payloads(list(t, c, deadletter.Filter{})); got != "abc" {
				t.Errorf("all: %q", got)
			}
			if got := payloads(list(t, c, deadletter.Filter{Subject: "booking:refunded"})); got != "c" {
				t.Errorf("a subject of any group: %q", got)
			}
			return
		}
		for _, err := range c.DeadLetters().List(testContext(t), deadletter.Filter{}) {
			if !errors.Is(err, deadletter.ErrGroupNeeded) {
				t.Errorf("List = %v", err)
			}
		}
	})
}

// payloads joins the ids of the events.
func payloads(all []*deadletter.Letter) string {
	var b strings.Builder
	for _, l := range all {
		b.WriteString(strings.TrimSuffix(strings.TrimPrefix(string(l.Data), `{"id":"`), `"}`))
	}
	return b.String()
}

func TestBrowsingLeavesNoConsumerBehind(t *testing.T) {
	c := open(t, natswrap.Config{URLs: []string{natsserver.Run(t).URL()}})
	bury(t, c, "orders", "down", booking{"a"})
	if n := len(list(t, c, deadletter.Filter{})); n != 1 {
		t.Fatalf("%d dead letters", n)
	}
	js, _ := c.JetStream()
	s, err := js.Stream(testContext(t), "TICKETING_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	if info := s.CachedInfo(); info.State.Consumers != 0 || info.State.Msgs != 1 {
		t.Errorf("the stream has %d consumers and %d messages", info.State.Consumers, info.State.Msgs)
	}
}
