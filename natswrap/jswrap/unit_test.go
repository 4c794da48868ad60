package jswrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func TestConsumerNamesTellAllGroupsAndSubjectsApart(t *testing.T) {
	group := rapid.StringMatching(`[a_x-]{1,4}|[A-Za-z0-9_-]{60,64}`)
	subject := rapid.StringMatching(`[ad_x:-][ad_x:-]{0,3}(\.[adux:-]{1,2})?|[a-z][_:-]{100,120}`)
	rapid.Check(t, func(t *rapid.T) {
		g1, s1, g2, s2 := group.Draw(t, "g1"), subject.Draw(t, "s1"), group.Draw(t, "g2"), subject.Draw(t, "s2")
		n1, n2 := ConsumerName(g1, ticketing.Subject(s1)), ConsumerName(g2, ticketing.Subject(s2))
		if (n1 == n2) != (g1 == g2 && s1 == s2) {
			t.Fatalf("%s on %s is %s, %s on %s is %s", g1, s1, n1, g2, s2, n2)
		}
		for _, n := range []string{n1, n2} {
			if len(n) > maxConsumerName || strings.ContainsFunc(n, func(r rune) bool {
				return !strings.ContainsRune("_-", r) && (r < '0' || r > 'z' || r > '9' && r < 'A' || r > 'Z' && r < 'a')
			}) {
				t.Fatalf("the server advises against the name %s", n)
			}
		}
	})
}

func TestConsumerNames(t *testing.T) {
	for _, test := range []struct{ group, subject, want string }{
		{"orders-srv", "ticket:created", "orders-srv_ticket--created"},
		{"a_b", "c", "a_b_c"},
		{"a", "b_c", "a_b-uc"},
		{"a", "b-c.d", "a_b-hc-dd"},
	} {
		if got := ConsumerName(test.group, ticketing.Subject(test.subject)); got != test.want {
			t.Errorf("%s on %s is %s, want %s", test.group, test.subject, got, test.want)
		}
	}
}

func TestAckRepliesOfAllFormatsAreUnderstood(t *testing.T) {
	want := delivery{delivered: 2, sequence: 30, time: 1700000000000000001, pending: 5}
	for _, reply := range []string{
		"$JS.ACK.S.C.2.30.4.1700000000000000001.5",
		"$JS.ACK.hub.hash.S.C.2.30.4.1700000000000000001.5",
		"$JS.ACK._.hash.S.C.2.30.4.1700000000000000001.5.token",
		"$JS.ACK._.hash.S.C.2.30.4.1700000000000000001.5.token.more",
	} {
		if got, ok := parseAckReply(reply); !ok || got != want {
			t.Errorf("%s: %+v %t", reply, got, ok)
		}
	}
	for _, reply := range []string{
		"", "_INBOX.a.b", "$JS.ACK.S.C", "$JS.ACK.S.C.2.30.4.1700000000000000001", "$JS.ACK.x.S.C.2.30.4.17.5",
		"$JS.ACK.S.C.x.30.4.17.5", "$JS.ACK.S.C.2..4.17.5", "$JS.ACK.S.C.2.0.4.17.5", "$JS.ACK.S.C.2.-1.4.17.5",
		"$JS.ACK.S.C.2.99999999999999999999.4.17.5",
	} {
		if got, ok := parseAckReply(reply); ok {
			t.Errorf("%q is taken for %+v", reply, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { parseAckReply("$JS.ACK.hub.hash.S.C.2.30.4.1700000000000000001.5") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPlainAcksAreRecognisedAndNothingElse(t *testing.T) {
	for data, want := range map[string]bool{
		`{"stream":"TICKETING","seq":1}`:                   true,
		`{"stream":"TICKETING", "seq":12345}`:              true,
		`{"stream":"TICKETING","seq":1,"duplicate":true}`:  false,
		`{"stream":"TICKETING","domain":"hub","seq":1}`:    false,
		`{"error":{"code":503},"stream":"S","seq":0}`:      false,
		`{"stream":"TICKETING","seq":0}`:                   false,
		`{"stream":"","seq":1}`:                            false,
		`{"stream":"a\"b","seq":1}`:                        false,
		`{"stream":"TICKETING","seq":}`:                    false,
		`{"stream":"TICKETING","seq":1x}`:                  false,
		`{"stream":"TICKETING","seq":1`:                    false,
		`{"stream":"TICKETING`:                             false,
		`{"stream":"TICKETING"}`:                           false,
		`{"stream":"TICKETING",`:                           false,
		``:                                                 false,
		`{"stream":"TICKETING","seq":1}{"stream":"T","se}`: false,
	} {
		if got := plainAck([]byte(data)); got != want {
			t.Errorf("%s: %t", data, got)
		}
	}
}

func TestAnswersOfAStreamAreTurnedIntoOutcomes(t *testing.T) {
	m := &ticketing.Message{ID: "id", Subject: "s"}
	for data, want := range map[string]error{
		`{"stream":"S","seq":1,"duplicate":true}`: nil,
		`{"stream":"S","domain":"hub","seq":1}`:   nil,
		`{"stream":"S","seq":0}`:                  ticketing.ErrUnknown,
		`{}`:                                      ticketing.ErrUnknown,
		`hello`:                                   ticketing.ErrUnknown,
		`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`:      ticketing.ErrBusy,
		`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`:         ticketing.ErrBusy,
		`{"error":{"code":503,"err_code":10077,"description":"message to store too large"}}`:     ticketing.ErrTooLarge,
		`{"error":{"code":503,"err_code":10077,"description":"no space left on device"}}`:        ticketing.ErrUnknown,
		`{"error":{"code":429,"err_code":10167,"description":"too many requests"}}`:              ticketing.ErrBusy,
		`{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources"}}`: ticketing.ErrBusy,
		`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`:         ticketing.ErrNotSent,
		`{"error":{"code":503,"err_code":10008,"description":"temporarily unavailable"}}`:        ticketing.ErrNotSent,
		`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum"}}`:   ticketing.ErrTooLarge,
		`{"error":{"code":400,"err_code":10097,"description":"header size exceeds maximum"}}`:    ticketing.ErrInvalidEvent,
		`{"error":{"code":400,"err_code":10109,"description":"sealed"},"stream":"S","seq":0}`:    ticketing.ErrRejected,
	} {
		if err := decodeAck(m, []byte(data)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", data, err, want)
		}
	}
}

func TestWhatTheClientRefusesIsTurnedIntoOutcomes(t *testing.T) {
	m := &ticketing.Message{ID: "id", Subject: "s"}
	for err, want := range map[error][]error{
		nats.ErrConnectionClosed:    {ticketing.ErrNotSent, ticketing.ErrClosed},
		nats.ErrConnectionDraining:  {ticketing.ErrNotSent, ticketing.ErrClosed},
		nats.ErrMaxPayload:          {ticketing.ErrRejected, ticketing.ErrTooLarge},
		nats.ErrBadHeaderMsg:        {ticketing.ErrRejected, ticketing.ErrInvalidEvent},
		nats.ErrHeadersNotSupported: {ticketing.ErrRejected},
		errors.New("broken pipe"):   {ticketing.ErrUnknown},
	} {
		for _, w := range want {
			if got := publishFailed(m, err); !errors.Is(got, w) {
				t.Errorf("%v: %v, want %v", err, got, w)
			}
		}
	}
}

func TestTransientErrorsAreThoseThatPass(t *testing.T) {
	for err, want := range map[error]bool{
		errAPITimeout:                              true,
		nats.ErrNoResponders:                       true,
		nats.ErrTimeout:                            true,
		nats.ErrReconnectBufExceeded:               true,
		jetstream.ErrJetStreamNotEnabled:           true,
		&jetstream.APIError{Code: 503}:             true,
		&jetstream.APIError{Code: 400}:             false,
		jetstream.ErrStreamNotFound:                false,
		nats.ErrConnectionClosed:                   false,
		ticketing.ErrClosed:                        false,
		denied("x"):                                false,
		fmt.Errorf("%w", context.Canceled):         false,
		jetstream.ErrJetStreamNotEnabledForAccount: false,
	} {
		if got := transient(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

func TestTheDeniedSubjectIsReadFromTheServersWords(t *testing.T) {
	violation := func(text string) error { return fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text) }
	for _, test := range []struct {
		err  error
		want string
	}{
		{violation(`Permissions Violation for Publish to "a:b"`), "a:b"},
		{violation(`permissions violation for publish to "a.b" using queue`), "a.b"},
		{violation(`Permissions Violation for Subscription to "a"`), ""},
		{violation(`Permissions Violation for Publish to "unclosed`), ""},
		{errors.New(`for publish to "a"`), ""},
	} {
		got, ok := deniedPublish(test.err)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%v: %q %t", test.err, got, ok)
		}
	}
}

func TestPatternsCoverWhatTheyMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a", false}, {"a", "a.b", false}, {"a.*", "a.b", true}, {"*.b", "a.b", true},
		{"*", "a.b", false}, {">", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a", false}, {"a.*", "a.>", false},
		{"a.>", "a.>", true}, {"dead.>", "dead.>", true}, {"dead.part", "dead.>", false}, {"*.>", "dead.>", true},
	} {
		if got := covers(test.pattern, test.subject); got != test.want {
			t.Errorf("%s covers %s: %t", test.pattern, test.subject, got)
		}
	}
}

func TestTheWindowFollowsTheRate(t *testing.T) {
	start := time.Now()
	// work settles messages at a rate, in messages a second.
	work := func(w *window, rate float64, n int) {
		for range n {
			w.settled++
			start = start.Add(time.Duration(float64(time.Second) / rate))
			if 2*w.settled >= w.size {
				w.adapt(start)
			} else {
				w.tick(start)
			}
		}
	}
	w := newWindow(0, 1)
	if w.size != 2 || w.hard() != maxWindow {
		t.Fatalf("a new window is %d of %d", w.size, w.hard())
	}
	w.since = start
	work(&w, 50, 200)
	if w.size < 40 || w.size > 60 {
		t.Errorf("at 50/s the window is %d", w.size)
	}
	work(&w, 100_000, 10_000)
	if w.size != maxWindow {
		t.Errorf("at 100000/s the window is %d", w.size)
	}
	work(&w, 1, 30)
	if w.size != 2 {
		t.Errorf("at 1/s the window is %d", w.size)
	}
	if w := newWindow(0, 100); w.size != 200 {
		t.Errorf("for 100 handlers the window starts at %d", w.size)
	}
}

func TestTheWindowOfLargeMessagesIsSmaller(t *testing.T) {
	w := newWindow(0, 1)
	for range 100 {
		w.arrived(1<<20, true)
	}
	for range 20 {
		w.settled = 10_000
		w.adapt(w.since.Add(time.Millisecond))
	}
	if w.size < 6 || w.size > 10 {
		t.Errorf("the window of 1 MiB messages is %d", w.size)
	}
}

func TestParkedMessagesKeepTheirSlotWithoutBlockingOthers(t *testing.T) {
	w := newWindow(0, 1)
	if got := w.free(0, 2, 2); got != 2 {
		t.Errorf("with all parked %d are free, want 2", got)
	}
	if got := w.free(0, maxWindow, maxWindow); got != 0 {
		t.Errorf("with the largest window parked %d are free, want none", got)
	}
	fixed := newWindow(5, 1)
	fixed.done()
	fixed.arrived(1, true)
	fixed.tick(time.Now())
	if got := fixed.free(1, 3, 3); got != 1 || fixed.hard() != 5 || fixed.size != 5 {
		t.Errorf("of a fixed window %d are free, want 1", got)
	}
}

func TestAQueueGivesEverythingOnceAndInOrder(t *testing.T) {
	q := newQueue[int]()
	const n = 10_000
	go func() {
		for i := range n {
			q.push(i)
		}
	}()
	var got []int
	for len(got) < n {
		<-q.wake
		for batch := q.take(); len(batch) > 0; batch = q.take() {
			got = append(got, batch...)
		}
	}
	if !slices.IsSorted(got) || got[n-1] != n-1 {
		t.Error("out of order")
	}
	// A burst leaves no large buffer behind.
	for range 2 {
		q.push(make([]int, maxSpare+1)...)
		q.take()
	}
	q.take()
	if cap(q.items)+cap(q.spare) > 2*maxSpare {
		t.Errorf("%d are kept", cap(q.items)+cap(q.spare))
	}
}

func TestTheDelayOfANakHasJitterAndIsNeverShorter(t *testing.T) {
	if got := string(nak(0)); got != "-NAK" {
		t.Errorf("without delay: %s", got)
	}
	seen := map[string]bool{}
	for range 50 {
		var d time.Duration
		got := string(nak(time.Second))
		if _, err := fmt.Sscanf(got, `-NAK {"delay":%d}`, &d); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if d < time.Second || d > 1200*time.Millisecond {
			t.Errorf("delay %v", d)
		}
		seen[got] = true
	}
	if len(seen) < 2 {
		t.Error("no jitter")
	}
}

func TestOwedAcksAreBoundedAndForgotten(t *testing.T) {
	r := &receiver{c: &Client{wire: newWire(nil, nil)}}
	for seq := range uint64(maxOwed + 10) {
		r.owe(seq, "reply")
	}
	if len(r.owed) != maxOwed {
		t.Errorf("%d are owed", len(r.owed))
	}
	r.payAll()
	if n := len(r.c.wire.frames.take()); n != maxOwed {
		t.Errorf("%d were sent, want %d", n, maxOwed)
	}
	for range maxOwedAge + 1 {
		r.forgetOwed()
	}
	if len(r.owed) != 0 {
		t.Errorf("%d are still owed", len(r.owed))
	}
}

func TestARepetitionOfWhatWasSettledIsAcknowledgedAtOnce(t *testing.T) {
	c := &Client{wire: newWire(nil, nil), cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	r := newReceiver(t.Context(), c, ticketing.Subscription{Subject: "s", Group: "g", Window: 3})
	for seq := range 3 {
		r.onMessage(&nats.Msg{Reply: fmt.Sprintf("$JS.ACK.S.C.1.%d.1.17.0", seq+1)})
	}
	one, two, three := r.held.Take(1), r.held.Take(2), r.held.Take(3)
	for _, it := range []*item{one, two, three} {
		r.held.Add(it.in.Sequence, it)
	}
	r.ready.take()
	for it, kind := range map[*item]ticketing.VerdictKind{one: ticketing.Ack, two: ticketing.Drop, three: ticketing.Abandon} {
		if err := it.in.Settle(ticketing.Verdict{Kind: kind}); err != nil {
			t.Fatal(err)
		}
	}
	r.owe(1, "its acknowledgement was not written")
	c.wire.frames.take()
	for reply, absorbed := range map[string]bool{
		"$JS.ACK.S.C.2.1.4.17.0": true, // a redelivery
		"$JS.ACK.S.C.1.2.1.17.0": true, // a new consumer's first delivery
		"$JS.ACK.S.C.2.3.4.17.0": false,
		"$JS.ACK.S.C.1.1.1.99.0": false, // the first message of another stream
		"$JS.ACK.S.C.1.4.5.17.0": false,
	} {
		r.onMessage(&nats.Msg{Reply: reply})
		frames, ready := c.wire.frames.take(), r.ready.take()
		if absorbed && (len(ready) != 0 || len(frames) != 1 || string(frames[0].data) != "+ACK" || frames[0].subject != reply) {
			t.Errorf("%s: %d handed over, frames %+v", reply, len(ready), frames)
		}
		if !absorbed && (len(ready) != 1 || len(frames) != 0) {
			t.Errorf("%s: %d handed over, frames %+v", reply, len(ready), frames)
		}
		for _, it := range ready {
			r.held.Take(it.in.Sequence)
			r.count--
		}
	}
	if len(r.owed) != 0 {
		t.Errorf("still owed: %v", r.owed)
	}
}

func TestTheLastSettledMessagesAreRemembered(t *testing.T) {
	var s settled
	for seq := range uint64(maxSettled + 10) {
		s.add(seq, 17)
	}
	if len(s.list) != maxSettled || s.has(9, 17) || !s.has(10, 17) || !s.has(maxSettled+9, 17) || s.has(10, 18) {
		t.Errorf("%d are remembered, and not the last", len(s.list))
	}
}

func TestAConsumerIsMadeAgainAtTheLowestThatIsNotSettled(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		change func(*receiver)
		want   uint64
	}{
		"nothing came yet":           {func(*receiver) {}, 1},
		"all is settled":             {func(r *receiver) { r.at.seen = 9 }, 10},
		"some is held":               {func(r *receiver) { r.at.seen = 9; r.held.Add(7, nil); r.held.Add(4, nil) }, 4},
		"some was handed back":       {func(r *receiver) { r.at.seen = 9; r.at.handedBack(5, now.Add(time.Minute)) }, 5},
		"that has come again":        {func(r *receiver) { r.at.seen = 9; r.at.handedBack(5, now.Add(-1)); r.at.prune(now) }, 10},
		"the group is ahead":         {func(r *receiver) { r.at.seen = 9; r.at.reached(20, now) }, 21},
		"the connection was lost":    {func(r *receiver) { r.at.seen, r.at.doubt, r.at.doubtUntil = 9, 3, now.Add(1) }, 3},
		"signs of life mean nothing": {func(r *receiver) { r.at.seen, r.at.doubtUntil = 9, now.Add(1); r.at.doubt = 8; r.at.reached(20, now) }, 8},
		"all came again since":       {func(r *receiver) { r.at.seen, r.at.doubt, r.at.doubtUntil = 9, 3, now.Add(-1) }, 10},
		"another consumer began": {func(r *receiver) {
			r.at.seen = 9
			r.at.follow(&jetstream.ConsumerInfo{Created: now, Delivered: jetstream.SequenceInfo{Stream: 2}})
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{}
			test.change(r)
			if got := r.start(now); got != test.want {
				t.Errorf("it starts at %d, want %d", got, test.want)
			}
		})
	}
}

func TestWhatDoesNotFitTheWindowGoesBack(t *testing.T) {
	c := &Client{wire: newWire(nil, nil), cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	r := newReceiver(t.Context(), c, ticketing.Subscription{Subject: "s", Group: "g", Window: 1})
	r.onMessage(&nats.Msg{Reply: "$JS.ACK.S.C.1.1.1.17.0"})
	r.onMessage(&nats.Msg{Reply: "$JS.ACK.S.C.1.2.2.17.0"})
	frames := c.wire.frames.take()
	if len(frames) != 1 || string(frames[0].data) != "-NAK" || r.held.Len() != 1 {
		t.Errorf("frames %+v with %d held", frames, r.held.Len())
	}
}

func TestARedeliveryReplacesTheReplySubject(t *testing.T) {
	c := &Client{wire: newWire(nil, nil), cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	r := newReceiver(t.Context(), c, ticketing.Subscription{Subject: "s", Group: "g"})
	r.onMessage(&nats.Msg{Reply: "$JS.ACK.S.C.1.1.1.17.0"})
	r.onMessage(&nats.Msg{Reply: "$JS.ACK.S.C.2.1.2.17.0"})
	ready := r.ready.take()
	if len(ready) != 1 || r.held.Len() != 1 || r.count != 1 {
		t.Fatalf("%d were taken in", len(ready))
	}
	if err := ready[0].in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
		t.Fatal(err)
	}
	if frames := c.wire.frames.take(); len(frames) != 1 || frames[0].subject != "$JS.ACK.S.C.2.1.2.17.0" {
		t.Errorf("frames %+v", frames)
	}
	if r.held.Len() != 0 || r.count != 0 {
		t.Error("it is still held")
	}
}

func TestAVerdictOfAnUnknownKindAbandons(t *testing.T) {
	c := &Client{wire: newWire(nil, nil), cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	r := newReceiver(t.Context(), c, ticketing.Subscription{Subject: "s", Group: "g"})
	r.onMessage(&nats.Msg{Reply: "$JS.ACK.S.C.1.1.1.17.0"})
	if err := r.ready.take()[0].in.Settle(ticketing.Verdict{}); err != nil {
		t.Fatal(err)
	}
	if frames := c.wire.frames.take(); len(frames) != 0 || r.held.Len() != 0 {
		t.Errorf("frames %+v with %d held", frames, r.held.Len())
	}
}

func TestAwaitDoesNotWaitForWhatIgnoresItsContext(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if err := awaitErr(ctx, func(context.Context) error { <-stuck; return nil }); !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
	if err := awaitErr(t.Context(), func(context.Context) error { return why }); !errors.Is(err, why) {
		t.Errorf("got %v, want the result", err)
	}
}
