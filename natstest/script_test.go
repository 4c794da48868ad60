package natstest_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// ids are those of the recorded messages.
func ids(r *natstest.Recorder) (ids []string) {
	for _, m := range r.Messages() {
		ids = append(ids, m.ID)
	}
	return ids
}

func message(id string) *ticketing.Message {
	return &ticketing.Message{ID: id, Subject: "ticket:created"}
}

func TestFailNextFailsTheNextPublishesInTurnAndRecordsNone(t *testing.T) {
	var r natstest.Recorder
	r.FailNext(ticketing.OutcomeBusy, ticketing.OutcomeNotSent)
	r.FailNext(ticketing.OutcomeUnknown)
	r.FailNext(ticketing.OutcomeRejected)
	for i, want := range []error{ticketing.ErrBusy, ticketing.ErrNotSent, ticketing.ErrUnknown, ticketing.ErrRejected, nil} {
		err := send(t, t.Context(), &r, message("1"))
		if !errors.Is(err, want) {
			t.Errorf("publish %d: error is %v, want %v", i, err, want)
		}
		var pe *ticketing.PublishError
		if want != nil && (!errors.As(err, &pe) || pe.ID != "1" || pe.Subject != "ticket:created") {
			t.Errorf("publish %d: error is %#v, want a PublishError", i, err)
		}
		if want != nil && !strings.Contains(err.Error(), "scripted by the test") {
			t.Errorf("publish %d: error %v does not say where it is from", i, err)
		}
	}
	if n := len(r.Messages()); n != 1 {
		t.Errorf("%d were recorded, want the last one only", n)
	}
}

func TestARefusedPublishUsesUpNoFailure(t *testing.T) {
	var r natstest.Recorder
	r.FailNext(ticketing.OutcomeBusy)
	if err := send(t, t.Context(), &r, &ticketing.Message{}); !errors.Is(err, ticketing.ErrInvalidEvent) {
		t.Errorf("error is %v", err)
	}
	if err := send(t, t.Context(), &r, message("1")); !errors.Is(err, ticketing.ErrBusy) {
		t.Errorf("error is %v, want busy", err)
	}
}

func TestInterceptsAreAskedInTurnUntilOneMakesThePublishFail(t *testing.T) {
	var r natstest.Recorder
	var asked []string
	on := func(name, id string, err error) {
		r.Intercept(func(m *ticketing.Message) *natstest.Fault {
			asked = append(asked, name+" about "+m.ID)
			if m.ID != id {
				return nil
			}
			return &natstest.Fault{Outcome: ticketing.OutcomeRejected, Err: err}
		})
	}
	errA, errB := errors.New("A"), errors.New("B")
	on("A", "2", errA)
	on("B", "1", errB)
	for _, step := range []struct {
		id   string
		want error
	}{{"3", nil}, {"1", errB}, {"1", nil}, {"2", errA}, {"2", nil}} {
		err := send(t, t.Context(), &r, message(step.id))
		if !errors.Is(err, step.want) || step.want != nil && !errors.Is(err, ticketing.ErrRejected) {
			t.Errorf("%s: error is %v, want %v", step.id, err, step.want)
		}
	}
	if want := []string{"A about 3", "B about 3", "A about 1", "B about 1", "A about 1", "A about 2"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if got, want := ids(&r), []string{"3", "1", "2"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

func TestAnUnknownOutcomeCanBeStoredOrNot(t *testing.T) {
	for _, stored := range []bool{false, true} {
		var r natstest.Recorder
		r.Intercept(func(*ticketing.Message) *natstest.Fault { return &natstest.Fault{Stored: stored} })
		if err := send(t, t.Context(), &r, message("1")); !errors.Is(err, ticketing.ErrUnknown) {
			t.Errorf("error is %v, want unknown", err)
		}
		if got := len(r.Messages()) == 1; got != stored {
			t.Errorf("recorded = %t, want %t", got, stored)
		}
	}
}

func TestOnlyAnUnknownOutcomeCanBeStored(t *testing.T) {
	var r natstest.Recorder
	r.Intercept(func(*ticketing.Message) *natstest.Fault {
		return &natstest.Fault{Outcome: ticketing.OutcomeBusy, Stored: true}
	})
	func() {
		defer func() {
			want := "natstest: Fault{Outcome: busy, Stored: true}: only an event with an unknown outcome can be stored"
			if got := recover(); got != want {
				t.Errorf("panicked with %v, want %s", got, want)
			}
		}()
		r.Send(t.Context(), message("1"), func(error) { t.Error("done was called") })
	}()
	if err := send(t, t.Context(), &r, message("2")); err != nil {
		t.Errorf("the recorder is of no use after the panic: %v", err)
	}
}

func TestAnInterceptMayLookAtTheRecordAndAddToTheScript(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1"})
	r.Intercept(func(*ticketing.Message) *natstest.Fault {
		if n := len(r.Messages()); n != 1 {
			t.Errorf("%d recorded, want 1", n)
		}
		r.FailNext(ticketing.OutcomeBusy)
		return &natstest.Fault{Outcome: ticketing.OutcomeNotSent}
	})
	for _, want := range []error{ticketing.ErrNotSent, ticketing.ErrBusy, nil} {
		if err := send(t, t.Context(), &r, message("1")); !errors.Is(err, want) {
			t.Errorf("error is %v, want %v", err, want)
		}
	}
}

func TestInterceptsAreAskedForOnePublishAtATime(t *testing.T) {
	const publishes = 32
	var r natstest.Recorder
	running := 0 // without a lock: the race detector watches
	for range 3 {
		r.Intercept(func(*ticketing.Message) *natstest.Fault {
			if running++; running > 1 {
				t.Error("asked for two publishes at once")
			}
			for range 100 {
				runtime.Gosched()
			}
			running--
			return new(natstest.Fault)
		})
	}
	var (
		wg     sync.WaitGroup
		failed atomic.Int32
		start  = make(chan struct{})
	)
	for range publishes {
		wg.Go(func() {
			<-start
			r.Send(t.Context(), message("1"), func(err error) {
				if err != nil {
					failed.Add(1)
				}
			})
		})
	}
	close(start)
	wg.Wait()
	if n := len(r.Messages()); failed.Load() != 3 || n != publishes-3 {
		t.Errorf("%d failed and %d are recorded, want 3 and %d", failed.Load(), n, publishes-3)
	}
}
