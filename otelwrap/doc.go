// Package otelwrap traces and measures what a service publishes and handles,
// with OpenTelemetry. It wraps the broker and the handlers; the rest of the
// module knows nothing of it, and a service that does not import it links
// nothing of OpenTelemetry.
//
//	tel := otelwrap.New(nil)
//	broker := tel.Broker(client) // a natswrap.Client, a natswrap.Wrapper, a natstest.Recorder
//	deposits := ticketing.NewPublisher[DepositReceived](broker, nil)
//	accounts := ticketing.NewListener(broker, "accounts", otelwrap.Handler(tel, credit), nil)
//
// The service makes the providers, with the SDK and the exporter of its choice.
// They should export in batches: a span ends in the callback of a publish, and
// an exporter that blocks there holds up the connection.
//
// # Spans
//
// Names and attributes follow the semantic conventions for messaging, version
// 1.43.0, which are in development: a later version of this package follows a
// later version of them.
//
//   - "publish ticket:created", of kind producer, from the call of Send to the
//     broker's answer. Its context goes with the message, in the headers that the
//     propagator sets (W3C Trace Context: traceparent). The caller's message is
//     not changed. A message that has a trace context already, because it comes
//     out of an outbox or is a dead letter, keeps it: then the span is of kind
//     client, and linked to that context.
//   - "process ticket:created", of kind consumer: one attempt of the handler. It
//     is a child of the publish, and linked to it; [Options.Link] makes it the
//     root of a trace of its own that is linked only. A span that the ctx of
//     Listen is in is linked, too, and is no parent.
//   - "ack ticket:created", of kind client: the settlement, also "retry", "drop"
//     and "abandon", as [ticketing.VerdictKind] has them. It is a child of the
//     last attempt, or of the publish where no handler saw the message.
//     [Options.OmitAcks] leaves the acknowledgements out.
//
// Beside the attributes of the conventions there are ticketing.attempt on a
// process span, and on the others where they apply ticketing.outcome (what is
// known of a publish), ticketing.attempts (before the settlement) and
// ticketing.reason (why a message was not acknowledged). The texts of errors
// are cut at 1 KiB. Payloads and keys are in none of them.
//
// The trace context takes about 80 bytes of the broker's limit of size, and
// baggage what is in it.
//
// NATS Streaming carries no headers in plain mode. There a process span is the
// root of its own trace, and a trace ends with its publish.
//
// An outbox takes an event that is written again for the same one whatever its
// headers are, so a transaction that is run again may have another trace.
//
// # Metrics
//
//	messaging.client.sent.messages       {message}  messages given to the broker, stored or not
//	messaging.client.consumed.messages   {message}  deliveries
//	messaging.client.operation.duration  s          of publishes and settlements
//	messaging.process.duration           s          of attempts
//
// Their attributes are the subject, the group, the operation and error.type.
//
// # error.type
//
// Of a publish it is too_large, invalid_event, no_stream, permission_denied,
// not_connected, closed, canceled or deadline_exceeded, where one of them is the
// reason, or else the outcome: not_sent, rejected, busy or unknown. Of an
// attempt it is panic, canceled, deadline_exceeded, one of those of a publish
// where the handler returned its error, early or wait where the event waits
// (ticketing.NextVersion, ticketing.Wait) and nothing has failed, or else what the
// error's method ErrorType returns, or the name of its Go type. An event that has
// taken effect before (ticketing.ErrApplied) is a success. Of a settlement that the broker
// could not be told it is settled, where the message was given back meanwhile,
// or _OTHER.
package otelwrap
