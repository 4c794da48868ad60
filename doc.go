// Package ticketing is the typed front of a service's events over NATS: what a
// service publishes and listens to, with the broker behind a small contract.
//
// # Events
//
// An event is a struct whose JSON is the payload. Its Subject method says where
// it goes, so that subject and payload are one type and a wrong pairing does
// not compile:
//
//	type DepositReceived struct {
//		ID     string `json:"id"`
//		Amount int64  `json:"amount"`
//	}
//
//	func (DepositReceived) Subject() ticketing.Subject { return "deposit:received" }
//	func (d DepositReceived) Key() string              { return d.ID }
//
// Package events has the catalogue's six, as the Node package
// @ducnguyen96/ticketing-common has them on the wire.
//
// # Publishing
//
// [Publisher.Publish] returns nil only after the broker, or the transaction the
// event goes through, holds it. An error says what is known, and errors.Is
// tests it:
//
//   - [ErrNotSent]: surely not stored; try again.
//   - [ErrUnknown]: may be stored; try again with the same id ([WithID]).
//   - [ErrRejected]: will not be accepted as things are.
//   - [ErrBusy]: the stream or the window is full; try again later.
//
// [Publisher.PublishAsync] does not wait, and its failures reach an error hook
// or the log in any case.
//
// # Listening
//
// A [Listener] acknowledges an event after its [Handler] returned nil, and not
// before. An error, a panic or a timeout leads to another attempt with backoff,
// and in the end to the dead letters, which are confirmed stored before the
// event is taken off. Events of one subject and key are handled in order within
// one process; the events of different keys at the same time. Delivery is at
// least once: a handler may see an event again.
//
// Across processes and subjects an event's version tells the order.
// [NextVersion] makes a handler apply each version once and in order: an event
// that comes too early waits, and that is no failed attempt. [Wait] is for
// whatever else has to come first.
//
// # Brokers
//
// A [Sender] stores messages, a [Receiver] hands them over; package natswrap
// has both for JetStream and NATS Streaming, package natstest a recorder for
// unit tests, and package natstest/brokertest holds an implementation to the
// contract. Whatever is to be added (tracing, metrics, a bridge) is a Sender or
// a Receiver around another one.
package ticketing
