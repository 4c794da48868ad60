package natstest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ducnguyen96/ticketing-common"
)

// RequireSequence fails the test unless the recorded events are exactly
// events, of whatever types, in this order, and returns their messages. Without
// events it requires that nothing was published. [Recorder.Reset] begins anew,
// and [Like] takes go-cmp options for an event of which the test does not know
// everything.
//
// On failure it prints the sequence of subjects and keys as a diff, and how an
// event differs that has its place but not its content.
func RequireSequence(t testing.TB, r *Recorder, events ...ticketing.Event) []*ticketing.Message {
	t.Helper()
	want := make([]expected, len(events))
	for i, e := range events {
		var err error
		if want[i], err = expect(e); err != nil {
			t.Fatalf("natstest: RequireSequence: event %d: %v", i+1, err)
			return nil
		}
	}
	got := r.Messages()
	if text := sequenceDiff(want, got, r.codec()); text != "" {
		t.Fatalf("natstest: the recorded sequence differs (-want +got):%s", text)
		return nil
	}
	return got
}

// Like is event for [RequireSequence], compared with go-cmp options.
func Like(event ticketing.Event, opts ...cmp.Option) ticketing.Event {
	return like{event, opts}
}

type like struct {
	ticketing.Event
	opts []cmp.Option
}

// expected is an element of a sequence that is looked for.
type expected struct {
	event   any
	subject ticketing.Subject
	label   string
	opts    []cmp.Option
}

func expect(e ticketing.Event) (expected, error) {
	var opts []cmp.Option
	for l, ok := e.(like); ok; l, ok = e.(like) {
		e, opts = l.Event, append(opts, l.opts...)
	}
	if e == nil {
		return expected{}, errors.New("it is nil")
	}
	v := reflect.ValueOf(e)
	if v.Kind() == reflect.Pointer {
		return expected{}, fmt.Errorf("%T is a pointer; an event is a value: use %v", e, v.Type().Elem())
	}
	p := reflect.New(v.Type()) // Key may have a pointer receiver
	p.Elem().Set(v)
	key := ""
	if k, ok := p.Interface().(ticketing.Keyed); ok {
		key = k.Key()
	}
	return expected{e, e.Subject(), label(e.Subject(), key), opts}, nil
}

// difference says how m is not the expected event, which has the same subject.
// It is empty when it is.
func (w expected) difference(m *ticketing.Message, codec ticketing.Codec) string {
	p := reflect.New(reflect.TypeOf(w.event))
	if err := codec.Unmarshal(m.Data, p.Interface()); err != nil {
		return fmt.Sprintf("does not decode into %T: %v: %s", w.event, err, payload(m))
	}
	return diff(w.event, p.Elem().Interface(), w.opts)
}

// label names an event in a sequence.
func label(s ticketing.Subject, key string) string {
	if key == "" {
		return string(s)
	}
	return string(s) + " " + key
}
