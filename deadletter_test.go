package ticketing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

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
		if m.ID != in.ID || m.DedupeID != in.ID+"/dead/group/note:taken/1" || !bytes.Equal(m.Data, in.Data) {
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

func TestWhatCannotBeDecodedIsADeadLetterAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letters := make(chan ticketing.DeadLetter, 10)
		l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
			return nil
		}, ticketing.ListenerOptions{OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d }})
		garbage := []string{
			``, `garbage`, `{"id":"a","n":`, `{"id":"a"} trailing`, `{"n":"text"}`, ` null `, `[]`,
			strings.Repeat(`{"id":`, 100_000), strings.Repeat("[", 100_000), `{"n":1` + strings.Repeat("0", 100_000) + `}`,
		}
		for _, data := range garbage {
			l.broker.deliver(data)
			l.want(ticketing.Drop)
			letter := <-letters
			if n := len(letter.Err.Error()); n > 1<<10 {
				t.Errorf("an error of %d bytes", n)
			}
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
	for name, reason := range map[string]struct {
		outcome ticketing.Outcome
		err     error
	}{
		"full":          {ticketing.OutcomeBusy, errScripted},
		"missing":       {ticketing.OutcomeRejected, ticketing.ErrNoStream},
		"denied":        {ticketing.OutcomeRejected, ticketing.ErrPermission},
		"not connected": {ticketing.OutcomeNotSent, ticketing.ErrNotConnected},
		"no answer":     {ticketing.OutcomeUnknown, errScripted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				l := listen(t, func(_ context.Context, d *ticketing.Delivery[note]) error {
					if d.Event.ID == "b" {
						return nil
					}
					calls++
					return ticketing.Permanent(errScripted)
				}, ticketing.ListenerOptions{})
				failures := 0
				l.broker.mu.Lock()
				l.broker.sendErr = func(m *ticketing.Message) error {
					if failures++; failures <= 30 { // with the backoff a quarter of an hour and more
						return ticketing.NewPublishError(reason.outcome, m, reason.err)
					}
					return nil
				}
				l.broker.mu.Unlock()
				l.broker.deliverNote("a", 1)
				l.wantNone()
				l.broker.deliverNote("b", 1)
				l.want(ticketing.Ack)
				l.want(ticketing.Drop)
				if failures != 31 || calls != 1 {
					t.Errorf("stored at try %d, want 31; the handler was called %d times, want once", failures, calls)
				}
				l.stop()
			})
		})
	}
}

// Without cutMore the event would keep its place in the window for ever.
func TestADeadLetterThatIsRefusedAsItIsLosesItsHeadersAndThenItsEnd(t *testing.T) {
	tooLarge := func(most int) func(*ticketing.Message) error {
		return func(m *ticketing.Message) error {
			if _, kept := m.Header["X-Kept"]; kept || len(m.Data) > most {
				return ticketing.NewPublishError(ticketing.OutcomeRejected, m, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, ticketing.ErrTooLarge))
			}
			return m.Validate()
		}
	}
	const size = 100_000
	for name, tc := range map[string]struct {
		id   string
		most int
		want int
		cut  string
	}{
		"the headers are too much":        {"id", size, size, "headers"},
		"the payload is":                  {"id", size - 1, size - 4096, "headers and 4096 bytes"},
		"nothing of it fits":              {"id", 0, 0, "headers and 100000 bytes"},
		"its id is no header":             {"a\x01b", size, size, "headers"},
		"its id is nothing but a control": {"\x01", size, size, "headers"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil }, ticketing.ListenerOptions{})
				l.broker.sendErr = tooLarge(tc.most)
				in := l.broker.inbound(strings.Repeat("x", size), 1)
				in.ID = tc.id
				l.broker.feed <- in
				l.want(ticketing.Drop)
				m := <-l.broker.sent
				if got := m.Header[ticketing.HeaderDeadCut]; len(got) != 1 || got[0] != tc.cut || len(m.Data) != tc.want {
					t.Errorf("cut %q, %d bytes left; want %q and %d", got, len(m.Data), tc.cut, tc.want)
				}
				if m.Header[ticketing.HeaderDeadSequence] == nil || m.Validate() != nil {
					t.Errorf("header %v, %v: the event cannot be found again", m.Header, m.Validate())
				}
				l.stop()
			})
		})
	}
}

func TestADeadLetterOfWhichNothingIsTakenLeavesTheEventWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return nil }, ticketing.ListenerOptions{})
		tries := 0
		l.broker.sendErr = func(m *ticketing.Message) error {
			tries++
			return ticketing.NewPublishError(ticketing.OutcomeRejected, m, ticketing.ErrInvalidEvent)
		}
		l.broker.deliver("garbage")
		l.wantNone()
		if tries != 3 { // as it is, without headers, without payload
			t.Errorf("%d tries, want 3 before the backoff", tries)
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

func TestADeadLetterSubjectThatWouldBeTooLongIsReportedBeforeItIsNeeded(t *testing.T) {
	h := func(context.Context, *ticketing.Delivery[longEvent]) error { return nil }
	err := ticketing.NewListener(newFakeBroker(), "group", h, nil).Listen(t.Context())
	if !errors.Is(err, ticketing.ErrNoDeadLetters) || !errors.Is(err, ticketing.ErrInvalidSubject) {
		t.Errorf("Listen = %v, want no place for dead letters because of the subject", err)
	}
}

type longEvent struct{}

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

// trap is an event whose own code panics.
type trap struct {
	In string `json:"in"`
}

type trapFields trap

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
