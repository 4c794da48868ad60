package ticketing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/race"
)

// capture is a Sender that keeps the messages and answers with a fixed result.
type capture struct {
	msgs   []*ticketing.Message
	result error
}

func (c *capture) Send(_ context.Context, m *ticketing.Message, done func(error)) {
	c.msgs = append(c.msgs, m)
	done(c.result)
}

// silent is a Sender that never completes before it is told to.
type silent chan func(error)

func (s silent) Send(_ context.Context, _ *ticketing.Message, done func(error)) { s <- done }

func TestAPublishSendsTheEncodedEventWithAnIDAndItsKey(t *testing.T) {
	c := new(capture)
	before := time.Now()
	err := ticketing.NewPublisher[note](c, nil).Publish(t.Context(), note{"a<&>", 7}, ticketing.WithHeader("X", "1"), ticketing.WithHeader("X", "2"))
	if err != nil {
		t.Fatal(err)
	}
	m := c.msgs[0]
	if m.Subject != "note:taken" || m.Key != "a<&>" || string(m.Data) != `{"id":"a<&>","n":7}` {
		t.Errorf("subject %q, key %q, data %s", m.Subject, m.Key, m.Data)
	}
	if len(m.ID) != 36 || m.ID[14] != '7' || m.DedupeKey() != m.ID {
		t.Errorf("id %q, dedupe key %q; want a UUIDv7 for both", m.ID, m.DedupeKey())
	}
	if m.Time.Before(before) || m.Time.After(time.Now()) {
		t.Errorf("time %v is not now", m.Time)
	}
	if got := fmt.Sprint(m.Header); got != "map[X:[1 2]]" {
		t.Errorf("header %s", got)
	}
}

func TestAnIDOfTheCallersIsKept(t *testing.T) {
	c := new(capture)
	p := ticketing.NewPublisher[note](c, nil)
	for _, id := range []string{"mine", ""} {
		if err := p.Publish(t.Context(), note{}, ticketing.WithID(id)); err != nil {
			t.Fatal(err)
		}
	}
	if c.msgs[0].ID != "mine" || c.msgs[1].ID == "" {
		t.Errorf("ids %q and %q, want mine and a new one", c.msgs[0].ID, c.msgs[1].ID)
	}
}

func TestAnOptionCannotSendAnEventElsewhere(t *testing.T) {
	c := new(capture)
	err := ticketing.NewPublisher[note](c, nil).Publish(t.Context(), note{}, func(m *ticketing.Message) { m.Subject = "elsewhere" })
	if err != nil || c.msgs[0].Subject != "note:taken" {
		t.Errorf("Publish = %v, sent to %q", err, c.msgs[0].Subject)
	}
}

func TestTheOutcomeOfASenderIsPassedOn(t *testing.T) {
	reason := errors.New("reason")
	for _, o := range []ticketing.Outcome{ticketing.OutcomeUnknown, ticketing.OutcomeNotSent, ticketing.OutcomeRejected, ticketing.OutcomeBusy} {
		c := &capture{result: ticketing.NewPublishError(o, &ticketing.Message{ID: "id", Subject: "note:taken"}, reason)}
		err := ticketing.NewPublisher[note](c, nil).Publish(t.Context(), note{})
		matches := 0
		for _, sentinel := range []error{ticketing.ErrUnknown, ticketing.ErrNotSent, ticketing.ErrRejected, ticketing.ErrBusy} {
			if errors.Is(err, sentinel) {
				matches++
			}
		}
		if !errors.Is(err, reason) || matches != 1 || !strings.Contains(err.Error(), o.String()) {
			t.Errorf("%v: %v matches %d outcomes, want its own and the reason", o, err, matches)
		}
	}
}

func TestAnErrorWithoutAnOutcomeIsUnknown(t *testing.T) {
	reason := errors.New("a fake's error")
	p := ticketing.NewPublisher[note](ticketing.SendFunc(func(context.Context, *ticketing.Message) error { return reason }), nil)
	err := p.Publish(t.Context(), note{}, ticketing.WithID("id"))
	var pe *ticketing.PublishError
	if !errors.Is(err, ticketing.ErrUnknown) || !errors.Is(err, reason) || !errors.As(err, &pe) || pe.ID != "id" || pe.Subject != "note:taken" {
		t.Errorf("Publish = %v, want unknown, with id, subject and reason", err)
	}
}

func TestPublishHonoursItsContextWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := make(silent, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		err := ticketing.NewPublisher[note](s, nil).Publish(ctx, note{})
		if !errors.Is(err, ticketing.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish = %v, want unknown because of the deadline", err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("it took %v", d)
		}
		(<-s)(nil) // a late completion meets nobody, and blocks nobody
		if err := ticketing.NewPublisher[note](new(capture), nil).Publish(t.Context(), note{}); err != nil {
			t.Errorf("the next publish got the late completion: %v", err)
		}
	})
}

func TestAPublishThatCannotBeSentIsNotSent(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	c := new(capture)
	p := ticketing.NewPublisher[note](c, &ticketing.PublisherOptions{OnError: func(*ticketing.Message, error) {}})
	for name, test := range map[string]struct {
		p    *ticketing.Publisher[note]
		ctx  context.Context
		want string
	}{
		"nil context":    {p, nil, "the context is nil"},
		"ended context":  {p, ended, "the cause"},
		"zero publisher": {new(ticketing.Publisher[note]), t.Context(), "not made by NewPublisher"},
	} {
		for how, err := range map[string]error{
			"Publish":      test.p.Publish(test.ctx, note{}),
			"PublishAsync": test.p.PublishAsync(test.ctx, note{}).Err(),
		} {
			if !errors.Is(err, ticketing.ErrNotSent) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %v, want not sent: %s", name, how, err, test.want)
			}
		}
	}
	if len(c.msgs) != 0 {
		t.Error("something was sent")
	}
}

// shifty is an event that breaks the rules as its fields say.
type shifty struct {
	To    ticketing.Subject `json:"-"`
	Value float64
}

func (s shifty) Subject() ticketing.Subject {
	if s.To != "" {
		return s.To
	}
	return "shifty"
}

func TestAnEventThatIsAtFaultIsRejected(t *testing.T) {
	c := new(capture)
	p := ticketing.NewPublisher[shifty](c, nil)
	err := p.Publish(t.Context(), shifty{Value: math.NaN()})
	if !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrInvalidEvent) || !strings.Contains(err.Error(), "cannot encode ticketing_test.shifty") {
		t.Errorf("unencodable event: %v", err)
	}
	err = p.Publish(t.Context(), shifty{To: "elsewhere"})
	if !errors.Is(err, ticketing.ErrInvalidSubject) || !errors.Is(err, ticketing.ErrInvalidEvent) || !strings.Contains(err.Error(), `"elsewhere"`) {
		t.Errorf("event with another subject: %v", err)
	}
	if len(c.msgs) != 0 {
		t.Error("something was sent")
	}
	if err := p.Publish(t.Context(), shifty{Value: 1}); err != nil {
		t.Errorf("the next event: %v", err)
	}
}

type pointerEvent struct{}

func (*pointerEvent) Subject() ticketing.Subject { return "pointer" }

type badSubject struct{}

func (badSubject) Subject() ticketing.Subject { return "not a subject" }

func TestConstructionRefusesWhatCannotWork(t *testing.T) {
	handle := func(context.Context, *ticketing.Delivery[note]) error { return nil }
	for want, construct := range map[string]func(){
		`NewPublisher[*ticketing_test.pointerEvent]: an event is a value`:             func() { ticketing.NewPublisher[*pointerEvent](new(capture), nil) },
		`NewPublisher[ticketing.Event]: an event is a concrete type`:                  func() { ticketing.NewPublisher[ticketing.Event](new(capture), nil) },
		`NewPublisher[ticketing_test.badSubject]: invalid subject "not a subject"`:    func() { ticketing.NewPublisher[badSubject](new(capture), nil) },
		`NewPublisher[ticketing_test.note]: the sender is nil`:                        func() { ticketing.NewPublisher[note](nil, nil) },
		`Publisher[ticketing_test.note].Via: the sender is nil`:                       func() { ticketing.NewPublisher[note](new(capture), nil).Via(nil) },
		`NewListener[*ticketing_test.note]: an event is a value: use ticketing_test.`: func() { ticketing.NewListener[*note](newFakeBroker(), "g", nil, nil) },
		`NewListener[ticketing_test.note]: the receiver is nil`:                       func() { ticketing.NewListener(nil, "g", handle, nil) },
		`NewListener[ticketing_test.note]: the handler is nil`:                        func() { ticketing.NewListener[note](newFakeBroker(), "g", nil, nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("panic %q, want %q in it", got, want)
				}
			}()
			construct()
		}()
	}
}

func TestViaTakesAnotherRoadAndLeavesThePublisherAsItWas(t *testing.T) {
	direct, tx := new(capture), new(capture)
	p := ticketing.NewPublisher[note](direct, nil)
	if err := errors.Join(p.Via(tx).Publish(t.Context(), note{N: 1}), p.Publish(t.Context(), note{N: 2})); err != nil {
		t.Fatal(err)
	}
	if len(direct.msgs) != 1 || len(tx.msgs) != 1 || string(tx.msgs[0].Data) != `{"id":"","n":1}` {
		t.Errorf("%d direct and %d by the other road, want 1 and 1", len(direct.msgs), len(tx.msgs))
	}
}

func TestAReceiptTellsTheOutcomeOnceItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reason := errors.New("reason")
		for _, result := range []error{nil, reason} {
			s := make(silent, 1)
			hook := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			r := ticketing.NewPublisher[note](s, &ticketing.PublisherOptions{
				OnError: func(m *ticketing.Message, err error) { hook <- err },
			}).PublishAsync(ctx, note{}, ticketing.WithID("id"))
			cancel() // the end of the request does not end its event
			if r.ID() != "id" || r.Err() != nil {
				t.Errorf("pending receipt: id %q, err %v", r.ID(), r.Err())
			}
			select {
			case <-r.Done():
				t.Error("done before the outcome is known")
			default:
			}
			if err := r.Wait(ctx); !errors.Is(err, ticketing.ErrUnknown) || !errors.Is(err, context.Canceled) {
				t.Errorf("Wait = %v with an ended context, want unknown", err)
			}
			go (<-s)(result)
			err := r.Wait(t.Context())
			<-r.Done()
			if !errors.Is(err, result) || (err == nil) != (result == nil) || r.Err() != err {
				t.Errorf("Wait = %v, want %v", err, result)
			}
			if result != nil {
				if err := <-hook; !errors.Is(err, reason) || !errors.Is(err, ticketing.ErrUnknown) {
					t.Errorf("OnError got %v", err)
				}
			}
			if len(hook) != 0 {
				t.Error("OnError was called for a success")
			}
		}
	})
}

func TestAFailedPublishAsyncIsLoggedWithoutItsPayload(t *testing.T) {
	var log bytes.Buffer
	opts := &ticketing.PublisherOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	p := ticketing.NewPublisher[note](&capture{result: errors.New("reason")}, opts)
	<-p.PublishAsync(t.Context(), note{ID: "payload"}, ticketing.WithID("the-id")).Done()
	if got := log.String(); !strings.Contains(got, "the-id") || !strings.Contains(got, "reason") || strings.Contains(got, "payload") {
		t.Errorf("log: %s", got)
	}
}

// reversed is a codec that shows that it was used.
type reversed struct{ ticketing.Codec }

func (reversed) Marshal(any) ([]byte, error) { return []byte("encoded"), nil }

func TestACodecOfTheCallersEncodesTheEvent(t *testing.T) {
	c := new(capture)
	p := ticketing.NewPublisher[note](c, &ticketing.PublisherOptions{Codec: reversed{}})
	if err := p.Publish(t.Context(), note{}); err != nil || string(c.msgs[0].Data) != "encoded" {
		t.Errorf("Publish = %v, data %q", err, c.msgs[0].Data)
	}
}

func TestPublishingAllocatesLittle(t *testing.T) {
	if race.Enabled {
		t.Skip("allocations cannot be counted under the race detector: run without -race")
	}
	p := ticketing.NewPublisher[note](ticketing.SendFunc(func(context.Context, *ticketing.Message) error { return nil }), nil)
	e := note{ID: "id", N: 7}
	ctx := t.Context()
	// The event with its message and receipt, its id, its payload, the
	// completion callback.
	if got := testing.AllocsPerRun(1000, func() { _ = p.Publish(ctx, e) }); got > 4 {
		t.Errorf("Publish allocates %v times, want at most 4", got)
	}
	if got := testing.AllocsPerRun(1000, func() { p.PublishAsync(ctx, e) }); got > 4 {
		t.Errorf("PublishAsync allocates %v times, want at most 4", got)
	}
}
