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

// subjectOf reads the subject off E's zero value. It panics when E cannot be
// published by value or has no valid subject: that is a mistake in the
// program, and it shows when the program starts.
func subjectOf[E Event](caller string) Subject {
	t := reflect.TypeFor[E]()
	switch t.Kind() {
	case reflect.Pointer:
		panic(fmt.Sprintf("ticketing: %s[%v]: an event is a value: use %v", caller, t, t.Elem()))
	case reflect.Interface:
		panic(fmt.Sprintf("ticketing: %s[%v]: an event is a concrete type, not an interface", caller, t))
	}
	var zero E
	s := zero.Subject()
	if err := s.Validate(); err != nil {
		panic(fmt.Sprintf("ticketing: %s[%v]: %v", caller, t, err))
	}
	return s
}

// keyOf is the event's key, or empty. It takes a pointer so that asking for
// the interface does not copy the event to the heap.
func keyOf[E Event](e *E) string {
	if k, ok := any(e).(Keyed); ok {
		return k.Key()
	}
	return ""
}
