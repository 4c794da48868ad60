package ticketing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// note is an event with a key.
type note struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (note) Subject() ticketing.Subject { return "note:taken" }
func (n note) Key() string              { return n.ID }

// fakeBroker is a Receiver and Sender in memory: what a test feeds is handed
// over, and what becomes of it is written down.
type fakeBroker struct {
	feed     chan *ticketing.Inbound
	verdicts chan ticketing.Verdict // one for each settlement
	sent     chan *ticketing.Message
	late     chan *ticketing.Inbound // handed over during the drain

	mu      sync.Mutex
	held    map[uint64]bool
	idle    chan struct{}
	sendErr func(*ticketing.Message) error
	check   error
	ends    chan error // makes Receive return
	sub     ticketing.Subscription
	subbed  chan struct{}
	seq     uint64
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{
		feed:     make(chan *ticketing.Inbound, 4096),
		verdicts: make(chan ticketing.Verdict, 4096),
		sent:     make(chan *ticketing.Message, 4096),
		held:     map[uint64]bool{},
		late:     make(chan *ticketing.Inbound, 1),
		ends:     make(chan error, 1),
		subbed:   make(chan struct{}),
	}
}

func (b *fakeBroker) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	b.mu.Lock()
	fail := b.sendErr
	b.mu.Unlock()
	if fail != nil {
		if err := fail(m); err != nil {
			done(err)
			return
		}
	}
	b.sent <- m
	done(nil)
}

func (b *fakeBroker) CheckSubject(context.Context, ticketing.Subject) error { return b.check }

func (b *fakeBroker) deliver(data string) *ticketing.Inbound { return b.deliverAttempt(data, 1) }

func (b *fakeBroker) deliverAttempt(data string, attempt int) *ticketing.Inbound {
	in := b.inbound(data, attempt)
	b.feed <- in
	return in
}

func (b *fakeBroker) inbound(data string, attempt int) *ticketing.Inbound {
	b.mu.Lock()
	b.seq++
	in := &ticketing.Inbound{Sequence: b.seq, Attempt: attempt}
	b.mu.Unlock()
	in.ID = fmt.Sprint("id-", in.Sequence)
	in.Subject = "note:taken"
	in.Data = []byte(data)
	in.Header = map[string][]string{"X-Kept": {"yes"}}
	in.Bind(b)
	return in
}

func (b *fakeBroker) deliverNote(id string, n int) *ticketing.Inbound {
	data, _ := json.Marshal(note{id, n})
	return b.deliver(string(data))
}

func (b *fakeBroker) SettleInbound(in *ticketing.Inbound, v ticketing.Verdict) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held[in.Sequence] {
		return ticketing.ErrSettled
	}
	delete(b.held, in.Sequence)
	if len(b.held) == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
	b.verdicts <- v
	return nil
}

func (b *fakeBroker) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	s = s.WithDefaults()
	b.sub = s
	close(b.subbed)
	hctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var result error
	for open := true; open; {
		select {
		case <-ctx.Done():
			open = false
		case result = <-b.ends:
			open = false
		case in := <-b.feed:
			b.mu.Lock()
			b.held[in.Sequence] = true
			b.mu.Unlock()
			handle(hctx, in)
		}
	}
	b.mu.Lock()
	idle := make(chan struct{})
	if len(b.held) == 0 {
		close(idle)
	} else {
		b.idle = idle
	}
	b.mu.Unlock()
	timeout := time.After(s.DrainTimeout)
	for {
		select {
		case <-idle:
			return result
		case in := <-b.late: // a message that was on its way when intake stopped
			b.mu.Lock()
			b.held[in.Sequence] = true
			b.mu.Unlock()
			handle(hctx, in)
		case <-timeout:
			cancel()
			b.mu.Lock()
			clear(b.held)
			b.mu.Unlock()
			return result
		}
	}
}

// listening is a Listen that runs in a synctest bubble.
type listening struct {
	t      *testing.T
	broker *fakeBroker
	log    *bytes.Buffer
	cancel context.CancelFunc
	result chan error
}

func listen(t *testing.T, h ticketing.Handler[note], opts ticketing.ListenerOptions) *listening {
	t.Helper()
	b := newFakeBroker()
	log := new(bytes.Buffer)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &listening{t: t, broker: b, log: log, cancel: cancel, result: make(chan error, 1)}
	go func() { l.result <- ticketing.NewListener(b, "group", h, &opts).Listen(ctx) }()
	<-b.subbed
	return l
}

// stop ends the Listen, which has to return nil.
func (l *listening) stop() {
	l.t.Helper()
	l.cancel()
	if err := <-l.result; err != nil {
		l.t.Errorf("Listen = %v, want nil", err)
	}
}

// want waits for the next settlement.
func (l *listening) want(kind ticketing.VerdictKind) ticketing.Verdict {
	l.t.Helper()
	v := <-l.broker.verdicts
	if v.Kind != kind {
		l.t.Fatalf("settled with %v (%v), want %v", v.Kind, v.Err, kind)
	}
	return v
}

func (l *listening) wantNone() {
	l.t.Helper()
	synctest.Wait()
	select {
	case v := <-l.broker.verdicts:
		l.t.Fatalf("settled with %v (%v), want no settlement yet", v.Kind, v.Err)
	default:
	}
}

var errScripted = errors.New("scripted failure")

func TestAnEventIsAcknowledgedAfterTheHandlerReturnedNilAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var got ticketing.Delivery[note]
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			got = *d
			<-release
			return nil
		}, ticketing.ListenerOptions{})
		in := l.broker.deliverNote("a", 7)
		l.wantNone()
		close(release)
		l.want(ticketing.Ack)
		if got.Event != (note{"a", 7}) || got.ID != in.ID || got.Attempt != 1 || got.Sequence != in.Sequence || got.Header["X-Kept"] == nil {
			t.Errorf("delivery %+v does not say what was sent", got)
		}
		l.stop()
	})
}

func TestAFailedAttemptIsRetriedWithDoublingBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			at = append(at, time.Now())
			if d.Attempt != len(at) {
				t.Errorf("attempt %d, want %d", d.Attempt, len(at))
			}
			if len(at) <= 5 {
				return errScripted
			}
			return nil
		}, ticketing.ListenerOptions{MinBackoff: time.Second, MaxBackoff: 6 * time.Second})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		for i, base := range []time.Duration{1, 2, 4, 6, 6} {
			base *= time.Second
			if wait := at[i+1].Sub(at[i]); wait < base*8/10 || wait > base*12/10 {
				t.Errorf("wait %d was %v, want %v within a fifth", i+1, wait, base)
			}
		}
		l.stop()
	})
}

func TestAfterTheLastAttemptTheEventIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letters := make(chan ticketing.DeadLetter, 1)
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			return fmt.Errorf("%w\r\nInjected: %d", errScripted, attempts)
		}, ticketing.ListenerOptions{MaxAttempts: 3, OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d }})
		in := l.broker.deliverNote("a", 1)
		v := l.want(ticketing.Drop)
		letter, m := <-letters, <-l.broker.sent
		if attempts != 3 || letter.Attempts != 3 || !errors.Is(letter.Err, errScripted) || !errors.Is(v.Err, errScripted) {
			t.Errorf("%d attempts, letter %+v; want 3 and the handler's error", attempts, letter)
		}
		if m.Subject != "dead.group.note:taken" || letter.Subject != m.Subject {
			t.Errorf("dead letter on %q", m.Subject)
		}
		if m.ID != in.ID || m.DedupeID != in.ID+"/dead/group" || !bytes.Equal(m.Data, in.Data) {
			t.Errorf("dead letter %+v is not the event with a dedupe id of its own", m)
		}
		for name, want := range map[string]string{
			"X-Kept":                     "yes",
			ticketing.HeaderDeadReason:   "scripted failure  Injected: 3",
			ticketing.HeaderDeadAttempts: "3",
			ticketing.HeaderDeadGroup:    "group",
			ticketing.HeaderDeadSubject:  "note:taken",
			ticketing.HeaderDeadSequence: "1",
		} {
			if got := m.Header[name]; len(got) != 1 || got[0] != want {
				t.Errorf("header %s = %q, want %q", name, got, want)
			}
		}
		l.stop()
	})
}

func TestTheBrokersDeliveryCountIsPartOfTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			attempts = append(attempts, d.Attempt)
			return errScripted
		}, ticketing.ListenerOptions{MaxAttempts: 4})
		l.broker.deliverAttempt(`{"id":"a"}`, 3)
		l.want(ticketing.Drop)
		if fmt.Sprint(attempts) != "[3 4]" {
			t.Errorf("attempts %v, want 3 and 4", attempts)
		}
		l.stop()
	})
}

func TestAPermanentErrorIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			return fmt.Errorf("wrapped: %w", ticketing.Permanent(errScripted))
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		if v := l.want(ticketing.Drop); !errors.Is(v.Err, errScripted) || attempts != 1 {
			t.Errorf("%d attempts, verdict %v", attempts, v.Err)
		}
		l.stop()
	})
}

func TestRetryAfterChoosesTheWaitAndCountsAsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Attempt == 1 {
				return ticketing.RetryAfter(42*time.Second, errScripted)
			}
			if d.Attempt != 2 {
				t.Errorf("attempt %d, want 2", d.Attempt)
			}
			return nil
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		if wait := time.Since(start); wait != 42*time.Second {
			t.Errorf("waited %v, want 42 s", wait)
		}
		l.stop()
	})
}

func TestAPanicIsAFailedAttemptWithItsStackInTheLog(t *testing.T) {
	for name, value := range map[string]any{"a string": "boom", "an error": errScripted, "nil": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
					panic(value)
				}, ticketing.ListenerOptions{MaxAttempts: 2})
				l.broker.deliverNote("a", 1)
				v := l.want(ticketing.Drop)
				var p *ticketing.PanicError
				if !errors.As(v.Err, &p) || len(p.Stack) == 0 {
					t.Errorf("verdict %v, want a PanicError with a stack", v.Err)
				}
				if err, ok := value.(error); ok && !errors.Is(v.Err, err) {
					t.Errorf("verdict %v does not wrap the error that was the panic's value", v.Err)
				}
				l.stop()
				if !strings.Contains(l.log.String(), "listener_test.go") {
					t.Error("the log has no stack of the handler")
				}
			})
		})
	}
}

func TestAHandlerThatEndsItsGoroutineIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Attempt == 1 {
				runtime.Goexit()
			}
			return nil
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		l.broker.deliverNote("a", 2)
		l.want(ticketing.Ack)
		l.want(ticketing.Ack)
		l.stop()
	})
}

func TestAHandlersTimeoutEndsItsContextAndIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			if d.Attempt > 1 {
				return nil
			}
			start := time.Now()
			<-ctx.Done()
			if d := time.Since(start); d != 3*time.Second {
				t.Errorf("the context ended after %v, want 3 s", d)
			}
			return ctx.Err()
		}, ticketing.ListenerOptions{HandlerTimeout: 3 * time.Second})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		l.stop()
	})
}

func TestAHandlerThatDoesNotReturnIsGivenUpAndNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		running := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			running++
			if running > 1 {
				t.Error("started twice")
			}
			<-release
			running--
			return nil
		}, ticketing.ListenerOptions{HandlerTimeout: time.Second, Concurrency: 4})
		start := time.Now()
		in := l.broker.deliver(`{}`) // without a key: its lane is its sequence
		l.want(ticketing.Abandon)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("given up after %v, want twice the timeout", d)
		}
		// The broker delivers it again.
		again := &ticketing.Inbound{Message: in.Message, Sequence: in.Sequence, Attempt: 2}
		again.Bind(l.broker)
		l.broker.feed <- again
		l.wantNone()
		close(release)
		l.want(ticketing.Ack)
		l.wantNone()
		l.stop()
		if !strings.Contains(l.log.String(), "given up") {
			t.Errorf("the log does not say so: %s", l.log)
		}
	})
}

func TestANegativeTimeoutMeansNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			if _, ok := ctx.Deadline(); ok {
				t.Error("the context has a deadline")
			}
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
				t.Error("the context ended")
			}
			return nil
		}, ticketing.ListenerOptions{HandlerTimeout: -1})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Ack)
		l.stop()
	})
}

func TestAKeyInBackoffHoldsItsSuccessorsAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			order = append(order, fmt.Sprint(d.Event.ID, d.Event.N))
			if d.Event == (note{"a", 1}) && d.Attempt == 1 {
				return errScripted
			}
			return nil
		}, ticketing.ListenerOptions{}) // one handler: the backoff must not hold it
		l.broker.deliverNote("a", 1)
		l.broker.deliverNote("a", 2)
		l.broker.deliverNote("b", 1)
		for range 3 {
			l.want(ticketing.Ack)
		}
		if got := fmt.Sprint(order); got != "[a1 b1 a1 a2]" {
			t.Errorf("handled in the order %s", got)
		}
		l.stop()
	})
}

func TestAtMostConcurrencyHandlersRunAtOnceAndOnePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := map[string]int{}, 0
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			mu.Lock()
			running[d.Event.ID]++
			if running[d.Event.ID] > 1 {
				t.Error("two handlers of one key")
			}
			all := 0
			for _, n := range running {
				all += n
			}
			most = max(most, all)
			mu.Unlock()
			time.Sleep(time.Second) // work, in the bubble's time
			mu.Lock()
			running[d.Event.ID]--
			mu.Unlock()
			return nil
		}, ticketing.ListenerOptions{Concurrency: 3})
		for i := range 40 {
			l.broker.deliverNote(fmt.Sprint(i%8), i)
		}
		for range 40 {
			l.want(ticketing.Ack)
		}
		if most != 3 {
			t.Errorf("%d handlers ran at once, want 3", most)
		}
		l.stop()
	})
}

func TestWhatCannotBeDecodedIsADeadLetterAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letters := make(chan ticketing.DeadLetter, 10)
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			return nil
		}, ticketing.ListenerOptions{OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d }})
		garbage := []string{
			``, `garbage`, `{"id":"a","n":`, `{"id":"a"} trailing`, `{"n":"text"}`, ` null `, `[]`,
			strings.Repeat(`{"id":`, 100_000), strings.Repeat("[", 100_000),
		}
		for _, data := range garbage {
			l.broker.deliver(data)
			l.want(ticketing.Drop)
			letter := <-letters
			if letter.Attempts != 0 || !strings.Contains(letter.Err.Error(), "cannot decode ticketing_test.note") {
				t.Errorf("letter after %d attempts: %v", letter.Attempts, letter.Err)
			}
		}
		l.broker.deliver(`{"id":"a","n":1,"unknown":{"field":[]}}`)
		l.want(ticketing.Ack)
		l.stop()
	})
}

func TestADeadLetterThatIsNotStoredLeavesTheEventWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			return ticketing.Permanent(errScripted)
		}, ticketing.ListenerOptions{})
		failures := 0
		l.broker.mu.Lock()
		l.broker.sendErr = func(m *ticketing.Message) error {
			if failures++; failures <= 3 {
				return ticketing.NewPublishError(ticketing.OutcomeBusy, m, errors.New("full"))
			}
			return nil
		}
		l.broker.mu.Unlock()
		l.broker.deliverNote("a", 1)
		l.wantNone()
		l.want(ticketing.Drop)
		if failures != 4 {
			t.Errorf("stored at try %d, want 4", failures)
		}
		l.stop()
	})
}

func TestAPanicOfTheDeadLetterHookIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			return ticketing.Permanent(errScripted)
		}, ticketing.ListenerOptions{OnDeadLetter: func(ticketing.DeadLetter) { panic("hook") }})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Drop)
		l.stop()
		if !strings.Contains(l.log.String(), "OnDeadLetter failed") {
			t.Errorf("log: %s", l.log)
		}
	})
}

func TestListenFailsAtOnce(t *testing.T) {
	ok := func(context.Context, *ticketing.Delivery[note]) error { return nil }
	onlyReceiver := struct{ ticketing.Receiver }{newFakeBroker()}
	noStream := newFakeBroker()
	noStream.check = ticketing.ErrNoStream
	for name, test := range map[string]struct {
		receiver ticketing.Receiver
		group    string
		opts     *ticketing.ListenerOptions
		want     error
		text     string
	}{
		"an empty group":             {newFakeBroker(), "", nil, ticketing.ErrInvalidGroup, "it is empty"},
		"a colon in the group":       {newFakeBroker(), "a:b", nil, ticketing.ErrInvalidGroup, `':' is not`},
		"a long group":               {newFakeBroker(), strings.Repeat("g", 65), nil, ticketing.ErrInvalidGroup, "at most 64"},
		"no place for dead letters":  {onlyReceiver, "g", nil, ticketing.ErrNoDeadLetters, "set ListenerOptions.DeadLetters"},
		"no stream for dead letters": {noStream, "g", nil, ticketing.ErrNoDeadLetters, "no stream"},
		"a negative concurrency":     {newFakeBroker(), "g", &ticketing.ListenerOptions{Concurrency: -1}, nil, "Concurrency cannot be negative"},
		"a negative window":          {newFakeBroker(), "g", &ticketing.ListenerOptions{Window: -1}, nil, "cannot be negative"},
		"backoff bounds reversed":    {newFakeBroker(), "g", &ticketing.ListenerOptions{MinBackoff: 2, MaxBackoff: 1}, nil, "over MaxBackoff"},
	} {
		t.Run(name, func(t *testing.T) {
			err := ticketing.NewListener(test.receiver, test.group, ok, test.opts).Listen(t.Context())
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Listen = %v, want %v with %q", err, test.want, test.text)
			}
		})
	}
	//lint:ignore SA1012 a nil context is the point
	if err := ticketing.NewListener(newFakeBroker(), "g", ok, nil).Listen(nil); err == nil || !strings.Contains(err.Error(), "context is nil") {
		t.Errorf("Listen(nil) = %v", err)
	}
}

func TestADeadLetterSubjectThatWouldBeTooLongIsReportedBeforeItIsNeeded(t *testing.T) {
	h := func(context.Context, *ticketing.Delivery[longEvent]) error { return nil }
	err := ticketing.NewListener(newFakeBroker(), "group", h, nil).Listen(t.Context())
	if !errors.Is(err, ticketing.ErrNoDeadLetters) || !errors.Is(err, ticketing.ErrInvalidSubject) {
		t.Errorf("Listen = %v, want no place for dead letters because of the subject", err)
	}
}

type longEvent struct{}

func (longEvent) Subject() ticketing.Subject {
	return ticketing.Subject(strings.Repeat("x", ticketing.MaxSubjectLen))
}

func TestAnUnansweredCheckOfThePlaceForDeadLettersDoesNotStopTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker()
		b.check = errors.New("no answer")
		log := new(bytes.Buffer)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- ticketing.NewListener(b, "g", func(context.Context, *ticketing.Delivery[note]) error { return nil },
				&ticketing.ListenerOptions{Logger: slog.New(slog.NewTextHandler(log, nil))}).Listen(ctx)
		}()
		<-b.subbed
		cancel()
		if err := <-result; err != nil || !strings.Contains(log.String(), "no answer") {
			t.Errorf("Listen = %v, log %s", err, log)
		}
	})
}

func TestStopFinishesWhatRunsAndHandsBackWhatDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		started := make(chan struct{}, 10)
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			if d.Event.ID == "failing" {
				return errScripted
			}
			started <- struct{}{}
			<-release
			return nil
		}, ticketing.ListenerOptions{Concurrency: 2, MinBackoff: time.Minute})
		l.broker.deliverNote("failing", 1) // will be in backoff
		synctest.Wait()
		l.broker.deliverNote("a", 1) // runs
		l.broker.deliverNote("a", 2) // waits behind it
		<-started
		synctest.Wait()
		l.cancel()
		waits := l.want(ticketing.Retry).After + l.want(ticketing.Retry).After
		if waits < 48*time.Second || waits > 72*time.Second {
			t.Errorf("handed back for %v, want what was left of the one's backoff", waits)
		}
		l.wantNone()
		l.broker.late <- l.broker.inbound(`{"id":"late"}`, 1)
		l.want(ticketing.Retry)
		close(release)
		l.want(ticketing.Ack)
		if err := <-l.result; err != nil {
			t.Error(err)
		}
		if len(started) != 0 {
			t.Error("a handler was started after the stop")
		}
	})
}

func TestAHandlerThatFailsDuringTheStopHandsItsEventBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			<-release
			return ticketing.RetryAfter(time.Minute, errScripted)
		}, ticketing.ListenerOptions{})
		l.broker.deliverNote("a", 1)
		synctest.Wait()
		l.cancel()
		synctest.Wait()
		close(release)
		if v := l.want(ticketing.Retry); v.After != time.Minute || !errors.Is(v.Err, errScripted) {
			t.Errorf("handed back with %+v, want after a minute with the handler's error", v)
		}
		if err := <-l.result; err != nil {
			t.Error(err)
		}
	})
}

func TestStopIsBoundedAlsoWhenAHandlerDoesNotHeedItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ended := make(chan struct{})
		l := listen(t, func(ctx context.Context, _ *ticketing.Delivery[note]) error {
			<-ctx.Done()
			close(ended)
			<-release
			return nil
		}, ticketing.ListenerOptions{ShutdownTimeout: 5 * time.Second})
		l.broker.deliverNote("a", 1)
		synctest.Wait()
		start := time.Now()
		l.stop()
		<-ended
		if d := time.Since(start); d < 5*time.Second || d > 7*time.Second {
			t.Errorf("the stop took %v, want the shutdown timeout and little more", d)
		}
		if !strings.Contains(l.log.String(), "handlers still running") {
			t.Errorf("log: %s", l.log)
		}
		close(release)
	})
}

func TestListenReturnsWhyItCanNoLongerReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil }, ticketing.ListenerOptions{})
		l.broker.ends <- ticketing.ErrClosed
		err := <-l.result
		if !errors.Is(err, ticketing.ErrClosed) || !strings.Contains(err.Error(), `listen to note:taken as "group"`) {
			t.Errorf("Listen = %v, want why, and what it listened to", err)
		}
		l.cancel()
	})
}

func TestTheSubscriptionHasTheListenersOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil },
			ticketing.ListenerOptions{Concurrency: 3, AckWait: time.Minute, Window: 77, ShutdownTimeout: time.Hour})
		want := ticketing.Subscription{Subject: "note:taken", Group: "group", AckWait: time.Minute, Window: 77, Concurrency: 3, DrainTimeout: time.Hour}
		if l.broker.sub != want {
			t.Errorf("subscription %+v, want %+v", l.broker.sub, want)
		}
		l.stop()
	})
}

// retainingBroker takes a failed message back instead of letting the listener
// keep it.
type retainingBroker struct {
	*fakeBroker
	failed chan ticketing.Verdict
}

func (b *retainingBroker) RetainInbound(in *ticketing.Inbound, v ticketing.Verdict) bool {
	b.mu.Lock()
	delete(b.held, in.Sequence)
	b.mu.Unlock()
	b.failed <- v
	return false
}

func TestAReceiverMayTakeAFailedMessageBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			return errScripted
		}, ticketing.ListenerOptions{})
		b := &retainingBroker{l.broker, make(chan ticketing.Verdict, 1)}
		in := &ticketing.Inbound{Sequence: 1, Attempt: 1}
		in.Data = []byte(`{"id":"a"}`)
		in.Bind(b)
		l.broker.feed <- in
		if v := <-b.failed; v.Kind != ticketing.Retry || !errors.Is(v.Err, errScripted) || v.After == 0 {
			t.Errorf("asked with %+v", v)
		}
		time.Sleep(time.Hour) // of the bubble's: any retry would be over
		if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
			t.Errorf("Settle = %v, want ErrSettled", err)
		}
		l.stop()
		if attempts != 1 {
			t.Errorf("%d attempts, want 1", attempts)
		}
	})
}

func TestAHandlerThatFailsAfterItsEventWasGivenUpIsNotRetriedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error {
			attempts++
			time.Sleep(time.Minute) // of the bubble's: longer than twice the timeout
			return errScripted
		}, ticketing.ListenerOptions{HandlerTimeout: time.Second})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Abandon)
		time.Sleep(time.Hour) // of the bubble's: any retry would be over
		l.stop()
		if attempts != 1 {
			t.Errorf("%d attempts, want 1: the event is somebody else's", attempts)
		}
	})
}

// trap is an event whose own code panics.
type trap struct {
	In string `json:"in"`
}

type trapFields trap

func (trap) Subject() ticketing.Subject { return "note:taken" }

func (e trap) Key() string {
	if e.In == "key" {
		panic("trap")
	}
	return ""
}

func (e *trap) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, (*trapFields)(e)); err != nil {
		return err
	}
	if e.In == "decoding" {
		panic("trap")
	}
	return nil
}

func TestAPanicOfTheEventsOwnCodeMakesADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker()
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		opts := &ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler)}
		go func() {
			result <- ticketing.NewListener(b, "group", func(context.Context, *ticketing.Delivery[trap]) error { return nil }, opts).Listen(ctx)
		}()
		for _, test := range []struct {
			data string
			want ticketing.VerdictKind
		}{{`{"in":"decoding"}`, ticketing.Drop}, {`{"in":"key"}`, ticketing.Drop}, {`{}`, ticketing.Ack}} {
			b.deliver(test.data)
			if v := <-b.verdicts; v.Kind != test.want {
				t.Errorf("%s: %v, want %v", test.data, v.Kind, test.want)
			}
		}
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
