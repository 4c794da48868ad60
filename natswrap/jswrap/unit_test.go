package jswrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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
		errAPITimeout:                    true,
		nats.ErrNoResponders:             true,
		nats.ErrTimeout:                  true,
		nats.ErrReconnectBufExceeded:     true,
		jetstream.ErrJetStreamNotEnabled: true,
		&jetstream.APIError{Code: 503}:   true,
		&jetstream.APIError{Code: 400}:   false,
		&jetstream.APIError{Code: 400, ErrorCode: codeNoPeers, Description: "no suitable peers for placement, peer offline"}: true,
		&jetstream.APIError{Code: 400, ErrorCode: codeNoPeers, Description: "no suitable peers for placement"}:               false,
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

// A connect that waits for the broker goes on then.
func TestProvisioningThatWaitedInVainSaysThatTheServerIsNotReady(t *testing.T) {
	noPeers := &jetstream.APIError{Code: 400, ErrorCode: codeNoPeers, Description: "no suitable peers for placement, peer offline"}
	for err, want := range map[error]error{
		noPeers:       ErrNotReady,
		errAPITimeout: ErrNotReady,
		errRace:       errRace,
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			got := new(Client).patiently(t.Context(), func() error { return fmt.Errorf("try: %w", err) })
			if !errors.Is(got, want) || !errors.Is(got, err) {
				t.Errorf("%v: error = %v, want %v", err, got, want)
			}
			if waited := time.Since(begun); waited < provisionPatience {
				t.Errorf("%v: it waited %v, want %v", err, waited, provisionPatience)
			}
		})
	}
	if !errors.Is(errAPITimeout, nats.ErrTimeout) {
		t.Errorf("%v is not nats.ErrTimeout", errAPITimeout)
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
