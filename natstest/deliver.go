package natstest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
)

// Deliver hands event to a listener that is receiving from r on the event's
// subject, waits for its verdict and returns it.
//
// It waits until a listener is subscribed and has room in its window; Listen
// runs in another goroutine, and need not have come that far. Of several
// members of one group one gets the event, each in turn. When more than one
// group listens on the subject, [ToGroup] says which one is meant.
//
// By default the first failed attempt is the result, or the first wait
// ([ticketing.NextVersion], [ticketing.Wait]): the listener is not allowed to
// keep the event for another one, so that no test waits for a backoff. [WithAttempt] makes that attempt a later one, such as the last;
// [UntilSettled] lets the listener go on.
//
// The verdict is all that Deliver waits for. A listener's OnDeadLetter was
// called before it.
//
// The test ends with Fatalf when the event cannot be encoded, when no listener
// takes it, and when there is no verdict in time ([Within]); then the message
// is taken back, and settling it later gives [ticketing.ErrSettled].
func Deliver[E ticketing.Event](t testing.TB, r *Recorder, event E, opts ...DeliverOption) Result {
	t.Helper()
	data, err := r.codec().Marshal(&event)
	if err != nil {
		t.Fatalf("natstest: Deliver: cannot encode %T: %v", event, err)
		return Result{}
	}
	return deliver(t, r, event.Subject(), data, opts)
}

// DeliverRaw is [Deliver] for a payload as it comes off the wire: garbage, an
// event of an older version, the data of a recorded message.
func DeliverRaw(t testing.TB, r *Recorder, subject ticketing.Subject, data []byte, opts ...DeliverOption) Result {
	t.Helper()
	return deliver(t, r, subject, data, opts)
}

// DeliverOption changes one [Deliver].
type DeliverOption func(*delivery)

// ToGroup delivers to that group's listener. It is needed when several groups
// listen on the subject.
func ToGroup(name string) DeliverOption {
	return func(d *delivery) { d.group = name }
}

// UntilSettled lets the listener keep the event and try again, with its own
// backoff, until it acknowledges it or stores it as a dead letter. The test
// waits as long, so give the listener a short backoff or run the test in a
// bubble of testing/synctest, where waiting takes no time.
func UntilSettled() DeliverOption {
	return func(d *delivery) { d.untilSettled = true }
}

// WithAttempt presets which attempt at the event this is: n-1 deliveries before
// it ended with a failed one. With a listener's MaxAttempts it is the last.
func WithAttempt(n int) DeliverOption {
	return func(d *delivery) { d.in.Attempt, d.in.Failures = n, n-1 }
}

// WithID sets the event's id. By default it is "delivered-" and the number of
// the message.
func WithID(id string) DeliverOption {
	return func(d *delivery) { d.in.ID = id }
}

// WithHeader adds a header value.
func WithHeader(name, value string) DeliverOption {
	return func(d *delivery) {
		if d.in.Header == nil {
			d.in.Header = make(map[string][]string, 1)
		}
		d.in.Header[name] = append(d.in.Header[name], value)
	}
}

// Within bounds the wait for a listener, and then the wait for its verdict,
// which with [UntilSettled] begins anew when a kept event is due again. Default
// [DefaultWait].
func Within(d time.Duration) DeliverOption {
	return func(dl *delivery) { dl.within = d }
}

// Result is what a listener made of a delivered message. Kind, After and Err
// are its verdict.
type Result struct {
	ticketing.Verdict
	// Kept are the attempts that failed before, with [UntilSettled]: each with
	// its error, and the wait until the next.
	Kept []ticketing.Verdict
	// ID is the message's, and also the id of a dead letter made of it.
	ID string
	// Group is whose listener it was.
	Group string
}

// Acked reports whether the message was acknowledged: its handler returned
// nil.
func (r Result) Acked() bool { return r.Kind == ticketing.Ack }

// Retried reports whether the message is to be tried again, After later,
// because of Err: the attempt failed, or the listener stopped before it.
func (r Result) Retried() bool { return r.Kind == ticketing.Retry }

// DeadLettered reports whether the message was stored as a dead letter because
// of Err. The dead letter is recorded.
func (r Result) DeadLettered() bool { return r.Kind == ticketing.Drop }

// String is for a failed test: "retried after 1s: card declined".
func (r Result) String() string {
	var s string
	switch r.Kind {
	case ticketing.Ack:
		s = "acked"
	case ticketing.Retry:
		s = fmt.Sprintf("retried after %v", r.After)
	case ticketing.Drop:
		s = "dead-lettered"
	case ticketing.Abandon:
		s = "abandoned"
	default:
		s = r.Kind.String()
	}
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

func deliver(t testing.TB, r *Recorder, subject ticketing.Subject, data []byte, opts []DeliverOption) Result {
	t.Helper()
	if err := subject.Validate(); err != nil {
		t.Fatalf("natstest: Deliver: %v", err)
		return Result{}
	}
	d := &delivery{recorder: r, within: DefaultWait, done: make(chan struct{})}
	d.in.Message = ticketing.Message{Subject: subject, Time: time.Now(), Data: data}
	d.in.Attempt = 1
	for _, opt := range opts {
		opt(d)
	}
	if d.in.ID == "" {
		d.in.ID = "delivered-" + strconv.FormatUint(r.nextDelivery(), 10)
	}
	d.in.Bind(d)
	d.timer = time.NewTimer(d.within)
	defer d.timer.Stop()

	if err := r.handOver(d); err != nil {
		t.Fatalf("natstest: Deliver %s: %v", subject, err)
		return Result{}
	}
	select {
	case <-d.done:
	case <-d.timer.C:
		if d.finish(ticketing.Verdict{}) {
			t.Fatalf("natstest: Deliver %s: %s", subject, d.overdue())
		}
	}
	return d.result
}
