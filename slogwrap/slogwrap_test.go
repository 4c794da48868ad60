package slogwrap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/slogwrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// deposit is the event of these tests. Its amount and its key are nobody's
// business.
type deposit struct {
	ID     string `json:"id"`
	Amount string `json:"amount"`
}

func (deposit) Subject() ticketing.Subject { return "deposit:received" }
func (d deposit) Key() string              { return "key-" + d.ID }

var (
	secret      = deposit{ID: "d-1", Amount: "payload"}
	errScripted = errors.New("scripted failure")
	quiet       = slog.New(slog.DiscardHandler)
)

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// want compares all lines, without their time. A value that ends in "…" is how
// the text begins, and "*" is any: a backoff has a jitter.
func (l *lines) want(t *testing.T, want ...map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.buf.String()
	for _, private := range []string{"payload", "key-", "header-"} {
		if strings.Contains(text, private) {
			t.Errorf("%s is in the log", private)
		}
	}
	dec := json.NewDecoder(&l.buf)
	for i := 0; ; i++ {
		got := map[string]any{}
		if err := dec.Decode(&got); errors.Is(err, io.EOF) {
			if i < len(want) {
				t.Errorf("%d lines, want %d:\n%s", i, len(want), text)
			}
			return
		} else if err != nil {
			t.Fatal(err)
		}
		delete(got, "time")
		if i >= len(want) {
			t.Errorf("more lines than %d: %v", len(want), got)
			continue
		}
		if !maps.EqualFunc(got, want[i], func(g, w any) bool {
			if ws, ok := w.(string); ok && strings.HasSuffix(ws, "…") {
				gs, _ := g.(string)
				return strings.HasPrefix(gs, strings.TrimSuffix(ws, "…"))
			}
			return g == w || w == "*"
		}) {
			t.Errorf("line %d is\n%v\nwant\n%v", i, got, want[i])
		}
	}
}

// line is what a line of a publish has. In a bubble nothing takes time.
func line(level, msg string, more ...any) map[string]any {
	l := map[string]any{"level": level, "msg": msg, "subject": "deposit:received", "id": "event-1", "duration": 0.0}
	for i := 0; i < len(more); i += 2 {
		l[more[i].(string)] = more[i+1]
	}
	return l
}

func delivered(level, msg string, attempts float64, more ...any) map[string]any {
	return line(level, msg, append([]any{"group", "accounts", "sequence", 1.0, "attempts", attempts}, more...)...)
}

func TestAPublishIsALine(t *testing.T) {
	fail := func(o ticketing.Outcome) error {
		return ticketing.NewPublishError(o, &ticketing.Message{Subject: "deposit:received", ID: "event-1"}, errScripted)
	}
	for name, test := range map[string]struct {
		err  error
		want map[string]any
	}{
		"stored":     {nil, line("INFO", "event published", "duration", 1e9)},
		"not sent":   {fail(ticketing.OutcomeNotSent), line("WARN", "event not published", "duration", 1e9, "outcome", "not sent", "error", "ticketing: publish…")},
		"unknown":    {fail(ticketing.OutcomeUnknown), line("WARN", "event not published", "duration", 1e9, "outcome", "unknown", "error", "ticketing: publish…")},
		"busy":       {fail(ticketing.OutcomeBusy), line("WARN", "event not published", "duration", 1e9, "outcome", "busy", "error", "ticketing: publish…")},
		"rejected":   {fail(ticketing.OutcomeRejected), line("ERROR", "event not published", "duration", 1e9, "outcome", "rejected", "error", "ticketing: publish…")},
		"no outcome": {errScripted, line("WARN", "event not published", "duration", 1e9, "outcome", "unknown", "error", "scripted failure")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lines
				s := slogwrap.NewSender(ticketing.SendFunc(func(context.Context, *ticketing.Message) error {
					time.Sleep(time.Second) // in a bubble
					return test.err
				}), &slogwrap.Options{Logger: log.logger()})
				p := ticketing.NewPublisher[deposit](s, nil)
				err := p.Publish(t.Context(), secret, ticketing.WithID("event-1"), ticketing.WithHeader("header-", "header-"))
				if !errors.Is(err, test.err) {
					t.Errorf("got %v", err)
				}
				log.want(t, test.want)
			})
		})
	}
}

func TestWhatBecomesOfAMessageIsALine(t *testing.T) {
	ok := func(context.Context, *ticketing.Delivery[deposit]) error { return nil }
	fails := func(context.Context, *ticketing.Delivery[deposit]) error {
		return ticketing.RetryAfter(time.Second, errScripted)
	}
	panics := func(context.Context, *ticketing.Delivery[deposit]) error { panic("boom") }
	twice := func(_ context.Context, d *ticketing.Delivery[deposit]) error {
		if d.Attempt == 1 {
			return ticketing.RetryAfter(time.Second, errScripted)
		}
		return nil
	}
	late := func(context.Context, *ticketing.Delivery[deposit]) error {
		time.Sleep(time.Minute) // in a bubble
		return nil
	}
	dead := line("INFO", "event published", "subject", "dead.accounts.deposit:received")
	for name, test := range map[string]struct {
		data    string
		handler ticketing.Handler[deposit]
		want    []map[string]any
	}{
		"handled": {`{}`, ok, []map[string]any{delivered("INFO", "event handled", 1)}},
		"handled at the second attempt": {`{}`, twice, []map[string]any{
			delivered("WARN", "event not handled", 1, "retry_after", 1e9, "error", "retry after 1s: scripted failure"),
			delivered("INFO", "event handled", 2, "duration", 1e9),
		}},
		"dead": {`{}`, fails, []map[string]any{
			delivered("WARN", "event not handled", 1, "retry_after", 1e9, "error", "retry after 1s: scripted failure"),
			dead,
			delivered("ERROR", "event is a dead letter", 2, "duration", 1e9, "error", "retry after 1s: scripted failure"),
		}},
		"panic": {`{}`, panics, []map[string]any{
			delivered("WARN", "event not handled", 1, "retry_after", "*", "error", "handler panicked: boom", "stack", "goroutine…"),
			dead,
			delivered("ERROR", "event is a dead letter", 2, "duration", "*", "error", "handler panicked: boom", "stack", "goroutine…"),
		}},
		"not decoded": {`{"id":`, ok, []map[string]any{
			dead,
			delivered("ERROR", "event is a dead letter", 0, "error", "cannot decode…"),
		}},
		"given up": {`{}`, late, []map[string]any{
			delivered("ERROR", "event given up", 1, "duration", 2e10, "error", "the handler has not returned…"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lines
				var broker natstest.Recorder
				stop := natstest.Listen(t, ticketing.NewListener(slogwrap.NewBroker(&broker, &slogwrap.Options{Logger: log.logger()}), "accounts", test.handler,
					&ticketing.ListenerOptions{Logger: quiet, MaxAttempts: 2, MinBackoff: time.Second, MaxBackoff: time.Second, HandlerTimeout: 10 * time.Second}))
				natstest.DeliverRaw(t, &broker, "deposit:received", []byte(test.data), natstest.WithID("event-1"), natstest.UntilSettled(), natstest.Within(time.Hour))
				time.Sleep(time.Minute) // in a bubble: the late handler returns
				stop()
				log.want(t, test.want...)
			})
		})
	}
}

func TestAMessageThatIsHandedBackIsALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var broker natstest.Recorder
		stop := natstest.Listen(t, ticketing.NewListener(slogwrap.NewBroker(&broker, &slogwrap.Options{Logger: log.logger()}), "accounts",
			func(context.Context, *ticketing.Delivery[deposit]) error {
				return ticketing.RetryAfter(time.Hour, errScripted)
			},
			&ticketing.ListenerOptions{Logger: quiet}))
		done := make(chan natstest.Result, 1)
		go func() {
			done <- natstest.Deliver(t, &broker, secret, natstest.WithID("event-1"), natstest.UntilSettled())
		}()
		synctest.Wait()
		stop()
		if res := <-done; !res.Retried() {
			t.Error(res)
		}
		log.want(t,
			delivered("WARN", "event not handled", 1, "retry_after", 3.6e12, "error", "retry after 1h0m0s: scripted failure"),
			delivered("INFO", "event handed back", 1, "retry_after", 3.6e12, "error", "the listener stopped…"),
		)
	})
}

// The recorder wants to be asked, and ends what it is asked for. What it knows of
// the attempts before arrives.
func TestABrokerIsAskedBeforeAMessageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var broker natstest.Recorder
		stop := natstest.Listen(t, ticketing.NewListener(slogwrap.NewBroker(&broker, &slogwrap.Options{Logger: log.logger()}), "accounts",
			func(context.Context, *ticketing.Delivery[deposit]) error {
				return ticketing.RetryAfter(time.Hour, errScripted)
			},
			&ticketing.ListenerOptions{Logger: quiet}))
		if res := natstest.Deliver(t, &broker, secret, natstest.WithID("event-1"), natstest.WithAttempt(3)); !res.Retried() {
			t.Error(res)
		}
		time.Sleep(2 * time.Hour) // in a bubble: there is no second attempt
		stop()
		log.want(t, delivered("WARN", "event not handled", 3, "retry_after", 3.6e12, "error", "retry after 1h0m0s: scripted failure"))
	})
}

// agreeing is a broker that keeps what it is asked to keep, and counts.
type agreeing struct {
	natstest.Recorder
	asked chan ticketing.Verdict
}

func (a *agreeing) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	for i := range 2 {
		in := &ticketing.Inbound{Sequence: uint64(i + 1), Attempt: 1}
		in.Subject, in.ID, in.Data = s.Subject, fmt.Sprint("event-", i+1), []byte(`{"id":"d-1"}`)
		in.Bind(a)
		handle(ctx, in)
	}
	<-ctx.Done()
	return nil
}

func (a *agreeing) RetainInbound(_ *ticketing.Inbound, v ticketing.Verdict) bool {
	a.asked <- v
	return true
}

func (a *agreeing) SettleInbound(*ticketing.Inbound, ticketing.Verdict) error { return nil }

func TestWhatStandsBehindAnEventThatFailedHasNoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		broker := agreeing{asked: make(chan ticketing.Verdict, 2)}
		ctx, cancel := context.WithCancel(t.Context())
		listener := ticketing.NewListener(slogwrap.NewBroker(&broker, &slogwrap.Options{Logger: log.logger()}), "accounts",
			func(context.Context, *ticketing.Delivery[deposit]) error { return errScripted },
			&ticketing.ListenerOptions{Logger: quiet, MinBackoff: time.Hour, MaxBackoff: time.Hour})
		done := make(chan error)
		go func() { done <- listener.Listen(ctx) }()
		synctest.Wait()
		if n := len(broker.asked); n != 2 {
			t.Errorf("the broker was asked %d times, want for both events", n)
		}
		log.want(t, delivered("WARN", "event not handled", 1, "retry_after", "*", "error", "scripted failure"))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// forgetful is a broker that cannot be told what became of a message.
type forgetful struct{ natstest.Recorder }

func (f *forgetful) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	return f.Recorder.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
		lost := &ticketing.Inbound{Message: in.Message, Sequence: in.Sequence, Attempt: in.Attempt}
		lost.Bind(settlerFunc(func(v ticketing.Verdict) error {
			_ = in.Settle(v)
			return ticketing.ErrSettled
		}))
		handle(ctx, lost)
	})
}

type settlerFunc func(ticketing.Verdict) error

func (f settlerFunc) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error { return f(v) }

func TestASettlementThatDoesNotReachTheBrokerIsALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var broker forgetful
		stop := natstest.Listen(t, ticketing.NewListener(slogwrap.NewBroker(&broker, &slogwrap.Options{Logger: log.logger()}), "accounts",
			func(context.Context, *ticketing.Delivery[deposit]) error { return nil }, &ticketing.ListenerOptions{Logger: quiet}))
		natstest.Deliver(t, &broker.Recorder, secret, natstest.WithID("event-1"))
		stop()
		log.want(t, delivered("WARN", "settlement not told", 1, "verdict", "ack", "error", "message already settled"))
	})
}

func TestSuccessHasALevelOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		var broker natstest.Recorder
		b := slogwrap.NewBroker(&broker, &slogwrap.Options{Logger: log.logger(), Success: slog.LevelDebug})
		stop := natstest.Listen(t, ticketing.NewListener(b, "accounts",
			func(context.Context, *ticketing.Delivery[deposit]) error { return nil }, nil))
		if err := ticketing.NewPublisher[deposit](b, nil).Publish(t.Context(), secret, ticketing.WithID("event-1")); err != nil {
			t.Fatal(err)
		}
		natstest.Deliver(t, &broker, secret, natstest.WithID("event-1"))
		stop()
		log.want(t, line("DEBUG", "event published"), delivered("DEBUG", "event handled", 1))
	})
}

func TestTheDefaultLoggerIsThatOfTheMoment(t *testing.T) {
	s := slogwrap.NewSender(new(natstest.Recorder), nil)
	before := slog.Default()
	defer slog.SetDefault(before)
	var log lines
	slog.SetDefault(log.logger())
	s.Send(t.Context(), &ticketing.Message{Subject: "deposit:received", ID: "event-1"}, func(error) {})
	want := line("INFO", "event published")
	want["duration"] = "*"
	log.want(t, want)
}

func TestALineThatNobodyWantsIsNotMade(t *testing.T) {
	m := &ticketing.Message{Subject: "deposit:received", ID: "event-1"}
	next := ticketing.SendFunc(func(context.Context, *ticketing.Message) error { return nil })
	ctx, done := t.Context(), func(error) {}
	plain := testing.AllocsPerRun(100, func() { ticketing.Sender(next).Send(ctx, m, done) })
	s := slogwrap.NewSender(next, &slogwrap.Options{Logger: quiet})
	if n := testing.AllocsPerRun(100, func() { s.Send(ctx, m, done) }); n > plain+3 {
		t.Errorf("%v allocations, and %v without the wrapper", n, plain)
	}
}

func TestTheOptionalInterfacesOfASenderAreKept(t *testing.T) {
	var broker natstest.Recorder
	b := slogwrap.NewBroker(&broker, nil)
	if b.Capabilities() != broker.Capabilities() || !errors.Is(b.CheckSubject(t.Context(), "a b"), ticketing.ErrNoStream) {
		t.Errorf("capabilities %+v", b.Capabilities())
	}
}

func TestWhatIsNotThereCannotBeWrapped(t *testing.T) {
	for _, wrap := range []func(){
		func() { slogwrap.NewSender(nil, nil) },
		func() { slogwrap.NewBroker(nil, nil) },
	} {
		func() {
			defer func() {
				if v, _ := recover().(string); !strings.HasPrefix(v, "slogwrap: ") {
					t.Errorf("recovered %q", v)
				}
			}()
			wrap()
		}()
	}
}
