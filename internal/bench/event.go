package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ducnguyen96/ticketing-common/events"
)

// eventSize is a size of an event's JSON, and how it is called.
type eventSize struct {
	name  string
	bytes int
}

var (
	small = eventSize{"150B", 150}
	large = eventSize{"4KiB", 4096}
)

// subject is that of all events here.
const subject = "ticket:created"

// makeEvent returns an event whose JSON has the size, of aggregate i.
func makeEvent(size eventSize, i int) events.TicketCreated {
	e := events.TicketCreated{
		ID:      fmt.Sprintf("507f1f77bcf86cd7%08x", i),
		Price:   20.5,
		UserID:  "507f191e810c19729de860ea",
		Version: 1,
	}
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // it has nothing that cannot be encoded
	}
	e.Title = strings.Repeat("x", size.bytes-len(data))
	return e
}

// aggregates is how many different ones the stored events are of.
const aggregates = 1000

// storedEvents makes the events for consumers.
func storedEvents(size eventSize) func(i int) events.TicketCreated {
	return func(i int) events.TicketCreated { return makeEvent(size, i%aggregates) }
}
