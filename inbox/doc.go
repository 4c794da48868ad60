// Package inbox makes the effect of an event happen once, however often the
// event is delivered: that a consumer has handled it is noted down in the same
// database transaction as the effect.
//
//	store, err := sqlite.New(db, nil) // inbox/sqlite, or inbox/postgres
//	…
//	handle := inbox.Handler(store.InTx, "accounts",
//		func(ctx context.Context, tx *sql.Tx, d *ticketing.Delivery[DepositReceived]) error {
//			_, err := tx.ExecContext(ctx, addToBalance, d.Event.Amount, d.Event.AccountID)
//			return err
//		})
//	err = ticketing.NewListener(client, "accounts", handle, nil).Listen(ctx)
//
// A handler with a transaction of its own calls the store's Once in it.
//
// What is noted down is the pair of a consumer's name and an event's id. The
// name stands for the effect. Listeners that have different effects need
// different names, and so do listeners to several subjects where one id is
// used on more than one of them. A name that changes makes every event new.
//
// The id is the delivery's ([ticketing.Delivery].ID), the publisher's own
// where the wire carries it. Where it does not, as on NATS Streaming, the id
// is that of a stored message: then deliveries of one message are told apart
// from other messages, but not the two messages of an event that was published
// twice.
//
// Rows stay until a [Purger] deletes them.
package inbox
