// Package deadletter is for the events that a listener could not handle: to
// look at them, to hand them to the listener again, and to give them up.
//
//	store := client.DeadLetters() // of a natswrap.Client
//	for l, err := range store.List(ctx, deadletter.Filter{Group: "orders-srv"}) {
//		if err != nil {
//			return err
//		}
//		if err := store.Replay(ctx, l); err != nil {
//			return err
//		}
//	}
//
// On JetStream a dead letter is a message of the stream that stores dead.>.
// Reading it consumes nothing and leaves no consumer behind. It is replayed on
// the subject that the event was published on, with a header that says for
// which group; listeners of the others skip it. A consumer that is none of
// this module's sees it again.
//
// On NATS Streaming it is a record in the channel dead.<group>.<subject>, in an
// envelope, because there are no headers. A replay is a record in the channel
// dead.<group>, which the group's listeners read beside their subjects, and
// nobody else. Nothing can be taken out of a channel: what became of a letter is
// a record behind it, and its message stays until the channel's limits remove
// it. The server does not list its channels, so List needs a group there, and
// looks at one subject or at those that the client is configured with; to look
// at a channel that does not exist makes it, and an empty one takes two seconds.
//
// A replay is a publish that is confirmed before the dead letter goes. One that
// is cut off in between leaves the letter, and can be repeated: the event keeps
// its id, and JetStream drops the second one inside its window for duplicates,
// package inbox at any time.
package deadletter
