package interop_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

// connect returns a Go service's connection, closed when the test is over.
func connect(t *testing.T, s *stanserver.Server, clientID string) *stanwrap.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := stanwrap.Connect(ctx, stanwrap.Config{
		URLs: []string{s.URL()}, ClusterID: s.ClusterID(), ClientID: clientID,
	})
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

// event is what a subtest needs to know of an event of any type.
type event struct {
	value   ticketing.Event
	payload string
	publish func(*testing.T, ticketing.Sender)
}

// of makes an event of one type an event of any.
func of[E ticketing.Event](t *testing.T, e E) event {
	t.Helper()
	payload, err := ticketing.JSON.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return event{e, string(payload), func(t *testing.T, s ticketing.Sender) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := ticketing.NewPublisher[E](s, nil).Publish(ctx, e); err != nil {
			t.Fatal(err)
		}
	}}
}

// listener is a Go service's listener to one subject.
type listener struct {
	subject ticketing.Subject
	events  chan ticketing.Event
	stop    func()
}

// listen starts a Go listener. It stops when the test is over, if not before.
func listen[E ticketing.Event](t *testing.T, r ticketing.Receiver, group string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{subject: (*new(E)).Subject(), events: make(chan ticketing.Event, 64)}
	handle := func(_ context.Context, d *ticketing.Delivery[E]) error {
		l.events <- d.Event
		return nil
	}
	var running sync.WaitGroup
	running.Go(func() {
		opts := &ticketing.ListenerOptions{
			Codec:       sameBytes{t},
			MaxAttempts: 1, // a failure is to be seen, not tried again
			OnDeadLetter: func(ticketing.DeadLetter) {
				t.Errorf("a message on %s became a dead letter", l.subject)
			},
		}
		if err := ticketing.NewListener(r, group, handle, opts).Listen(ctx); err != nil {
			t.Error(err)
		}
	})
	l.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(l.stop)
	return l
}

// next returns the next event that the listener handled.
func (l *listener) next(t *testing.T) ticketing.Event {
	t.Helper()
	select {
	case e := <-l.events:
		return e
	case <-time.After(patience):
		t.Fatalf("no event on %s for %v", l.subject, patience)
		return nil
	}
}

// sameBytes decodes JSON and insists that the event encodes to what it was
// decoded from.
type sameBytes struct{ t *testing.T }

func (sameBytes) Marshal(any) ([]byte, error) {
	return nil, errors.New("sameBytes is for listeners")
}

func (c sameBytes) Unmarshal(data []byte, v any) error {
	if err := ticketing.JSON.Unmarshal(data, v); err != nil {
		return err
	}
	again, err := ticketing.JSON.Marshal(v)
	if err != nil || string(again) != string(data) {
		c.t.Errorf("decoded  %s\nbut encoded %s (error %v)", data, again, err)
	}
	return nil
}
