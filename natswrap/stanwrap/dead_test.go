package stanwrap_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

// letter is a dead letter as a listener of the group sends it.
func letter(data string, header map[string][]string) *ticketing.Message {
	return &ticketing.Message{ID: "id-" + data, Subject: ticketing.DeadLetterSubject("group", subject), Header: header, Data: []byte(data)}
}

func sendLetters(t *testing.T, c *stanwrap.Client, data ...string) {
	t.Helper()
	for _, d := range data {
		header := map[string][]string{ticketing.HeaderDeadReason: {"because of " + d}, "Kept": {"yes"}}
		if err := await(t, start(t.Context(), c, letter(d, header))); err != nil {
			t.Fatal(err)
		}
	}
}

// letters lists the payloads, one letter each.
func letters(t *testing.T, s deadletter.Store, f deadletter.Filter) (payloads string, all []*deadletter.Letter) {
	t.Helper()
	for l, err := range s.List(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		payloads += string(l.Data)
		all = append(all, l)
	}
	return payloads, all
}

func ref(n uint64) deadletter.Ref {
	return deadletter.Ref{Group: "group", Subject: subject, Sequence: n}
}

func TestDeadLettersAreListedUntilSomethingBecameOfThem(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	sendLetters(t, c, "a", "b", "c", "d")
	s := c.DeadLetters([]ticketing.Subject{"order:created", subject})
	got, all := letters(t, s, deadletter.Filter{Group: "group"})
	if got != "abcd" || all[0].ID != "id-a" || all[0].Reason != "because of a" || all[0].Header["Kept"][0] != "yes" || all[0].Ref != ref(1) {
		t.Fatalf("%q, %+v", got, all[0])
	}
	if err := s.Discard(t.Context(), ref(2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Replay(t.Context(), all[2]); err != nil {
		t.Fatal(err)
	}
	if got, _ := letters(t, s, deadletter.Filter{Group: "group", Subject: subject}); got != "ad" {
		t.Errorf("left: %q", got)
	}
	if got, _ := letters(t, s, deadletter.Filter{Group: "group", Subject: subject, Reason: "of D"}); got != "d" {
		t.Errorf("with a reason: %q", got)
	}
	for _, n := range []uint64{2, 3, 5, 6, 99} { // 5 and 6 tell what became of 2 and 3
		if _, err := s.Get(t.Context(), ref(n)); !errors.Is(err, deadletter.ErrNotFound) {
			t.Errorf("Get %d = %v", n, err)
		}
	}
	if l, err := s.Get(t.Context(), ref(4)); err != nil || string(l.Data) != "d" {
		t.Errorf("Get = %+v, %v", l, err)
	}
	for _, f := range []deadletter.Filter{{}, {Group: "a b"}, {Group: "group", Subject: "a b"}} {
		for _, err := range s.List(t.Context(), f) {
			if err == nil {
				t.Errorf("%+v lists something", f)
			}
		}
	}
}

func TestAListCanBeLeftInTheMiddleAndIsLongerThanItsWindow(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	var data []string
	for range 600 {
		data = append(data, "x")
	}
	sendLetters(t, c, data...)
	s := c.DeadLetters(nil)
	f := deadletter.Filter{Group: "group", Subject: subject}
	for l, err := range s.List(t.Context(), f) {
		if err != nil || l.Sequence != 1 {
			t.Fatalf("%+v, %v", l, err)
		}
		break
	}
	if got, _ := letters(t, s, f); got != strings.Join(data, "") {
		t.Errorf("%d letters, want %d", len(got), len(data))
	}
}

func TestReplaysComeToTheGroupAloneAndAgainUntilTheyAreAcknowledged(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	sendLetters(t, c, "a")
	s := c.DeadLetters(nil)
	_, all := letters(t, s, deadletter.Filter{Group: "group", Subject: subject})
	if err := s.Replay(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	others := subscription()
	others.Group = "others"
	in, away := receive(t, c, subscription()), receive(t, c, others)
	m := in.want("a")
	if m.ID != "id-a" || m.Subject != subject || m.Header[ticketing.HeaderReplayGroup][0] != "group" || m.Header[ticketing.HeaderReplayOf][0] != "1" {
		t.Errorf("replayed %+v", m)
	}
	if err := m.Settle(ticketing.Verdict{Kind: ticketing.Retry}); err != nil {
		t.Fatal(err)
	}
	m = in.want("a")
	if m.Attempt != 2 || m.ID != "id-a" {
		t.Errorf("it came again as %+v", m)
	}
	in.ack(m)
	send(t, c, "next")
	in.ack(in.want("next"))
	away.ack(away.want("next"))
	in.stop()
	away.stop()
	in = receive(t, c, subscription())
	send(t, c, "last")
	in.ack(in.want("last"))
	in.stop()
}

// A dead letter's envelope is not for who receives dead letters, and neither
// is what became of them.
func TestWhoReceivesDeadLettersGetsThemAsTheyWereSent(t *testing.T) {
	s := stanserver.Run(t)
	c := connect(t, s.URL(), nil)
	sendLetters(t, c, "a", "b")
	if err := c.DeadLetters(nil).Discard(t.Context(), ref(1)); err != nil {
		t.Fatal(err)
	}
	if err := connectRaw(t, s, "raw").Publish(string(ref(1).Channel()), []byte("bare")); err != nil {
		t.Fatal(err)
	}
	sub := subscription()
	sub.Subject, sub.Group = ref(1).Channel(), "undertaker"
	in := receive(t, c, sub)
	for _, want := range []string{"a", "b", "bare"} {
		m := in.want(want)
		if got := m.Header["Kept"]; want != "bare" && (!slices.Equal(got, []string{"yes"}) || m.ID != "id-"+want) {
			t.Errorf("%q has the id %q and the header %v", want, m.ID, m.Header)
		}
		in.ack(m)
	}
	in.stop()
}

func TestALetterThatWasCutIsCompletedFromItsChannel(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	send(t, c, "before", "whole")
	in := receive(t, c, subscription())
	in.ack(in.want("before"))
	event := in.want("whole")
	in.ack(event)
	cut := func(at time.Time) *ticketing.Message {
		m := letter("who", map[string][]string{
			ticketing.HeaderDeadCut:      {"headers and 2 bytes"},
			ticketing.HeaderDeadSequence: {"2"},
			ticketing.HeaderDeadTime:     {at.UTC().Format(time.RFC3339Nano)},
		})
		m.ID = event.ID
		return m
	}
	for _, at := range []time.Time{event.Time, event.Time.Add(-time.Hour)} { // a store that was lost begins again at 1
		if err := await(t, start(t.Context(), c, cut(at))); err != nil {
			t.Fatal(err)
		}
	}
	s := c.DeadLetters(nil)
	_, all := letters(t, s, deadletter.Filter{Group: "group", Subject: subject})
	if err := s.Replay(t.Context(), all[1]); !errors.Is(err, deadletter.ErrCut) {
		t.Errorf("Replay of what is not there any more = %v", err)
	}
	if err := s.Replay(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	m := in.want("whole")
	if m.ID != event.ID || m.Sequence != 2 || !m.Time.Equal(event.Time) {
		t.Errorf("replayed %+v", m)
	}
	in.ack(m)
	in.stop()
}

func TestReadingDeadLettersEndsWithItsContextAndWithTheClient(t *testing.T) {
	srv := stanserver.Run(t)
	c := connect(t, srv.URL(), nil)
	sendLetters(t, c, "a", "b")
	s := c.DeadLetters(nil)
	f := deadletter.Filter{Group: "group", Subject: subject}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range s.List(ctx, f) {
		if ctx.Err() == nil {
			cancel() // after the first
			continue
		}
		// The second may be there already.
		if err != nil {
			is(t, err, context.Canceled)
		}
	}
	for _, err := range s.List(ctx, f) {
		is(t, err, context.Canceled)
	}
	_, err := s.Get(ctx, ref(1))
	is(t, err, context.Canceled)

	// The client closes while somebody reads.
	closing := make(chan error, 1)
	for _, err := range s.List(t.Context(), f) {
		if err != nil {
			is(t, err, ticketing.ErrClosed)
			break
		}
		select {
		case closing <- nil:
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				closing <- c.Close(ctx)
			}()
		default:
		}
	}
	<-closing
	if err := await(t, closing); err != nil {
		t.Error(err)
	}
	_, err = s.Get(t.Context(), ref(1))
	is(t, err, ticketing.ErrClosed)
	is(t, s.Discard(t.Context(), ref(1)), ticketing.ErrClosed)
}

func TestReadingDeadLettersWithoutAConnectionFailsAtOnce(t *testing.T) {
	srv := stanserver.Run(t)
	c := connect(t, srv.URL(), nil)
	sendLetters(t, c, "a")
	srv.Shutdown()
	until(t, "the client has noticed", func() bool { return !c.Healthy() })
	_, err := c.DeadLetters(nil).Get(t.Context(), ref(1))
	is(t, err, ticketing.ErrNotConnected)
}

// What was under way on the lost connection comes again after the ack wait only,
// and behind what the server sends next: a list that went on would skip it.
func TestAListWhoseConnectionIsLostSaysSo(t *testing.T) {
	srv := stanserver.Run(t)
	p := netfault.Run(t, srv.URL())
	c := connect(t, p.URL(), nil)
	sendLetters(t, c, "a", "b", "c")
	s := c.DeadLetters(nil)
	f := deadletter.Filter{Group: "group", Subject: subject}
	var last error
	n := 0
	for _, err := range s.List(t.Context(), f) {
		last = err
		if n++; n == 1 {
			p.Break()
			until(t, "reconnected", func() bool { return c.Conn().Stats().Reconnects > 0 && c.Healthy() })
		}
	}
	if n != 2 {
		t.Errorf("%d came, want one letter and an error", n)
	}
	is(t, last, ticketing.ErrNotConnected)
	if got, _ := letters(t, s, f); got != "abc" {
		t.Errorf("the next list has %q, want all", got)
	}
}

// Whether there is a letter at all cannot be told while nothing comes through.
func TestAChannelIsNotEmptyBecauseTheConnectionWasLost(t *testing.T) {
	srv := stanserver.Run(t)
	p := netfault.Run(t, srv.URL())
	c := connect(t, p.URL(), nil)
	got := make(chan error, 1)
	before := c.Conn().NumSubscriptions()
	go func() {
		_, err := c.DeadLetters(nil).Get(t.Context(), ref(1))
		got <- err
	}()
	until(t, "the channel is read", func() bool { return c.Conn().NumSubscriptions() > before })
	p.Break()
	err := await(t, got)
	is(t, err, ticketing.ErrNotConnected)
	if errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("%v says that there is no such letter", err)
	}
}

// Without the goroutine in close it would wait for the server's answer.
func TestReadingDeadLettersEndsWithItsContextWhereTheServerIsSilent(t *testing.T) {
	srv := stanserver.Run(t)
	p := netfault.Run(t, srv.URL())
	c := connect(t, p.URL(), nil)
	// More than twice what may be under way, so that some cannot come any more.
	sendLetters(t, c, slices.Repeat([]string{"a"}, 600)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var begin time.Time
	var err error
	for _, err = range c.DeadLetters(nil).List(ctx, deadletter.Filter{Group: "group", Subject: subject}) {
		if begin.IsZero() {
			p.BlackHole(netfault.Both)
			begin = time.Now()
			cancel()
		}
	}
	is(t, err, context.Canceled)
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("it took %v to end", d)
	}
	p.Heal()
	send(t, c, "after")
}
