package ticketing

import (
	"fmt"
	"reflect"
)

// Event is what a service publishes: a struct whose JSON is the payload and
// whose Subject says where it goes. Subject has a value receiver and returns a
// constant, because it is read off the zero value before any event exists.
type Event interface {
	Subject() Subject
}

// Keyed is an [Event] with a key, usually the id of the aggregate it is about.
// A [Listener] handles the events of one subject and key in order.
type Keyed interface {
	Key() string
}

// subjectOf reads the subject off a zero value, which e points to. It panics
// when its type cannot be published by value or has no valid subject: that is a
// mistake in the program, and it shows when the program starts.
func subjectOf(caller string, e any) Subject {
	t := eventType(e)
	switch t.Kind() {
	case reflect.Pointer:
		panic(fmt.Sprintf("ticketing: %s[%v]: an event is a value: use %v", caller, t, t.Elem()))
	case reflect.Interface:
		panic(fmt.Sprintf("ticketing: %s[%v]: an event is a concrete type, not an interface", caller, t))
	}
	s := e.(Event).Subject()
	if err := s.Validate(); err != nil {
		panic(fmt.Sprintf("ticketing: %s[%v]: %v", caller, t, err))
	}
	return s
}

// eventType is the type of the event that e points to.
func eventType(e any) reflect.Type { return reflect.TypeOf(e).Elem() }

// keyOf is the key of the event that e points to, or empty. A pointer does not
// copy the event to the heap.
func keyOf(e any) string {
	if k, ok := e.(Keyed); ok {
		return k.Key()
	}
	return ""
}
