// Package outbox keeps an event from being lost between the database and the
// broker. The event is written into a table in the same transaction as the
// change that it reports, and a [Relay] brings it to the broker, for however
// long that takes.
//
//	err := outbox.InTx(ctx, store, func(tx *sql.Tx) error {
//		if _, err := tx.ExecContext(ctx, insertTicket, id, price); err != nil {
//			return err
//		}
//		return created.Via(store.Tx(tx)).Publish(ctx, events.TicketCreated{…})
//	})
//
// The table and its SQL are a [Store]: packages outbox/postgres and
// outbox/sqlite have one each, and package storetest holds one to the
// contract.
//
// The relay is at least once: it tries for ever, with the same id, and what it
// published but could not note down is published again. Where the broker
// deduplicates by id it absorbs that; elsewhere the consumer has to.
//
// Order: events of one key are published in the order in which their
// transactions committed, one at a time, provided that transactions that
// change the same aggregate lock it before they write the event, as an UPDATE
// of its row does. Those of different keys go out at the same time, and those
// without a key in any order.
package outbox
