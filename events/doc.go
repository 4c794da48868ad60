// Package events holds the payloads of the catalogue: the six events that the
// services of the ticketing system tell each other, as the Node package
// @ducnguyen96/ticketing-common has them on the wire.
//
// Each event is a plain struct whose JSON is the payload, with the fields in
// the order in which the Node services write them. Its Subject says where it
// goes and its Key which aggregate it is about. A service publishes and
// listens through the aliases:
//
//	created := ticketing.NewPublisher[events.TicketCreated](client, nil)
//	err := created.Publish(ctx, events.TicketCreated{ID: ticket.ID, Title: ticket.Title})
//
// Two aliases embed side by side in one struct, where two ticketing.Publisher
// would have the same field name:
//
//	type Service struct {
//		*events.TicketCreatedPublisher
//		*events.TicketUpdatedPublisher
//	}
//
// # On the wire
//
// A price is a JSON number, written with as many digits as JavaScript writes:
// 20 stays 20 and 20.5 stays 20.5. NaN and the infinities have no JSON, and
// publishing one fails. A time is what JavaScript's toISOString writes
// ([Timestamp]). An optional field is left out when it is empty.
//
// Reading is tolerant: fields that are not known are ignored, a missing field
// is its zero value, and so is a null. What a handler cannot do without it
// has to check.
//
// # Events of your own
//
// A service that needs another event declares it in its own code, with a
// Subject method on the value and, where order matters, a Key method. Nothing
// has to be registered here.
package events
