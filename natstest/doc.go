// Package natstest tests services that publish and listen, without a broker.
// It needs no network, no container and no waiting.
//
// # What was published
//
// A [Recorder] is a [ticketing.Sender] that keeps what it is given. Its zero
// value is ready:
//
//	var r natstest.Recorder
//	svc := tickets.NewService(ticketing.NewPublisher[events.TicketCreated](&r, nil))
//	svc.Create(t.Context(), "concert", 20)
//	got := natstest.RequireOnePublished[events.TicketCreated](t, &r)
//
// [Published] returns the events of a type. [RequirePublished],
// [RequireOnePublished], [RequireNonePublished] and [RequireSequence] fail the
// test with what was recorded instead: the nearest events as diffs, and a line
// for each other subject. [Await] waits for an event that another goroutine
// publishes. All but [RequireNonePublished], which has nothing to return, return
// what they matched.
//
// Package outbox/outboxtest makes a Recorder of what is in an outbox's table, for
// the same assertions.
//
// # When publishing fails
//
// [Recorder.FailNext] makes the next publishes fail with an outcome, and
// [Recorder.Intercept] those that a function chooses:
//
//	r.FailNext(ticketing.OutcomeBusy, ticketing.OutcomeBusy) // the third succeeds
//
// What a broker would refuse, an invalid subject or header and with
// [Recorder].MaxPayload an event that is too large, is refused here too.
//
// # What a listener does
//
// A Recorder is a [ticketing.Receiver] as well. It does not loop publishes
// back: a listener gets what the test delivers, and [Deliver] returns what
// became of it:
//
//	natstest.Listen(t, listener)
//	res := natstest.Deliver(t, &r, events.TicketCreated{ID: "T1"})
//	if !res.Acked() {
//		t.Fatal(res)
//	}
//
// Deliver waits for the listener to subscribe and for its verdict, and never
// for a backoff: by default the first failed attempt is the result. The dead
// letters of a listener are published through the Recorder, which has recorded
// them when Deliver returns.
//
// # What it promises
//
// Nothing in this package sleeps or polls. The waits of [Await] and [Deliver]
// are woken by what they wait for, are bounded by [DefaultWait] where nothing
// else bounds them, and work in a bubble of testing/synctest. A Recorder may be
// used by any number of goroutines; the helpers that take a [testing.TB] end
// the test with Fatalf, and so belong on the test's own goroutine.
package natstest
