// Package stanwrap is NATS Streaming as a broker: one [Client] that is a
// [ticketing.Sender] and a [ticketing.Receiver].
//
// A message is the event's plain payload, as the Node package writes it. The
// wire carries neither the event's id nor headers: a received message has an
// id that is made of its channel, its sequence and the server's timestamp,
// "ticket:created/42/1700000000000000000", the same at every delivery and
// different from a message that gets the same sequence after a memory store
// was restarted.
//
// NATS Streaming has no negative acknowledgement and no heartbeat for a
// message. What is handed back comes again after the ack wait, or at once when
// the subscription that holds it is closed. What is held for longer than the
// ack wait may be given to another member of the group; when it is delivered
// to this client again, that delivery is absorbed, and counts as one more
// Attempt when the message is handed over the next time. The server forgets the
// count when it restarts.
package stanwrap
