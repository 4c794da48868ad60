package natstest

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
)

// view is what a recorder held at one moment, seen by a test about E.
type view[E ticketing.Event] struct {
	subject ticketing.Subject
	resets  int // of the recorder, then
	all     []*ticketing.Message
	of      []*ticketing.Message // those of the subject
	events  []E                  // of, decoded
}

// look decodes what is recorded of E. If it cannot it fails the test and
// returns false.
func look[E ticketing.Event](t testing.TB, r *Recorder) (v view[E], ok bool) {
	t.Helper()
	var err error
	if v.subject, err = subjectOf[E](); err != nil {
		t.Fatalf("natstest: %v", err)
		return v, false
	}
	if err := v.add(r.codec(), r.Messages()); err != nil {
		t.Fatalf("natstest: %v", err)
		return v, false
	}
	return v, true
}

// add adds messages to the view.
func (v *view[E]) add(codec ticketing.Codec, messages []*ticketing.Message) error {
	v.all = append(v.all, messages...)
	for _, m := range messages {
		if m.Subject != v.subject {
			continue
		}
		v.of = append(v.of, m)
		var e E
		if err := codec.Unmarshal(m.Data, &e); err != nil {
			return fmt.Errorf("record %d of %s does not decode into %T: %w: %s",
				len(v.of), v.subject, e, err, payload(m))
		}
		v.events = append(v.events, e)
	}
	return nil
}

// subjectOf reads the subject off E's zero value.
func subjectOf[E ticketing.Event]() (ticketing.Subject, error) {
	switch t := reflect.TypeFor[E](); t.Kind() {
	case reflect.Pointer:
		return "", fmt.Errorf("%v is a pointer; an event is a value: use %v", t, t.Elem())
	case reflect.Interface:
		return "", fmt.Errorf("%v is an interface; an event has a concrete type", t)
	}
	return (*new(E)).Subject(), nil
}
