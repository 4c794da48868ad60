// Package slogwrap writes a line for each outcome: of a publish, and of a
// message that was handed over. It wraps the broker, and needs nothing but the
// standard library.
//
//	broker := slogwrap.NewBroker(client, nil) // a natswrap.Client, a natswrap.Wrapper, a natstest.Recorder
//	deposits := ticketing.NewPublisher[DepositReceived](broker, nil)
//	accounts := ticketing.NewListener(broker, "accounts", credit, nil)
//
// The lines, and their levels:
//
//	event published                  Options.Success
//	event not published              Warn, Error where trying again cannot help (rejected)
//	event handled                    Options.Success
//	event not handled                Warn; it is kept for another attempt
//	event handed back                Info; it comes again, as after a shutdown
//	event is a dead letter           Error
//	event given up                   Error; it comes again while its handler runs
//	settlement not told              Warn; the event may come again
//
// Every line has subject and id, those of a delivery group, sequence and
// attempts (zero where no handler saw the message). duration is from the call of
// Send to the broker's answer, or from the hand-over to the verdict, with all
// waits between. What failed has error, and by its kind outcome, retry_after,
// verdict, and stack for a panic. Payloads, keys and headers are in none of
// them; an error's text is what its author wrote.
//
// The ctx of a line is that of Send, or of the hand-over, for handlers of
// package slog that take something from it.
//
// A Listener logs failed attempts and dead letters without this package, and a
// Publisher the failures of PublishAsync. Where one line is enough, the Listener
// is given a logger that discards, and the Publisher an OnError that does
// nothing.
package slogwrap
