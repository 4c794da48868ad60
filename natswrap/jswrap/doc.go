// Package jswrap is JetStream as a broker: one [Client] that is a
// [ticketing.Sender] and [ticketing.Receiver] over one connection.
//
// On the wire a message is the event's payload with the headers Ticketing-Id,
// the event's id, and Nats-Msg-Id, by which the stream tells duplicates. A
// publish is confirmed when the stream's quorum has it; that is not yet a sync
// to disk (the server's sync_interval).
//
// A subscription is a durable pull consumer with explicit acknowledgement and
// without a delivery limit: attempts are counted by the listener. Messages are
// asked for in batches of our own size, so that what is asked for and what is
// held never exceed the window together.
package jswrap
