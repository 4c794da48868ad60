package ticketing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// DepositReceived is an event of a service's own.
type DepositReceived struct {
	ID     string `json:"id"`
	Amount int64  `json:"amount"`
}

func (DepositReceived) Subject() ticketing.Subject { return "deposit:received" }
func (d DepositReceived) Key() string              { return d.ID }

// printTB stands for the t of a test: it prints what would fail it.
type printTB struct{ testing.TB }

func (printTB) Helper()                           {}
func (printTB) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// t is the *testing.T of your test.
var t printTB

func ExamplePublisher() {
	var broker natstest.Recorder // in a service: a natswrap.Client

	deposits := ticketing.NewPublisher[DepositReceived](&broker, nil)
	err := deposits.Publish(context.Background(), DepositReceived{ID: "d-1", Amount: 500})
	fmt.Println(err)
	for _, m := range broker.Messages() {
		fmt.Printf("%s %s\n", m.Subject, m.Data)
	}
	// Output:
	// <nil>
	// deposit:received {"id":"d-1","amount":500}
}

// A failure says what is known, and so what to do.
func ExamplePublisher_Publish_outcomes() {
	var broker natstest.Recorder
	deposits := ticketing.NewPublisher[DepositReceived](&broker, nil)

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the request is gone already
	err := deposits.Publish(ctx, DepositReceived{ID: "d-1"}, ticketing.WithID("event-1"))
	switch {
	case err == nil:
		fmt.Println("stored")
	case errors.Is(err, ticketing.ErrNotSent), errors.Is(err, ticketing.ErrBusy):
		fmt.Println("not stored, try again")
	case errors.Is(err, ticketing.ErrUnknown):
		fmt.Println("may be stored, try again with the same id")
	case errors.Is(err, ticketing.ErrRejected):
		fmt.Println("will not be accepted")
	}
	fmt.Println(err)
	// Output:
	// not stored, try again
	// ticketing: publish deposit:received (id event-1): not sent: context canceled
}

// The caller does not wait; the receipt tells the outcome to whoever asks.
func ExamplePublisher_PublishAsync() {
	var broker natstest.Recorder
	deposits := ticketing.NewPublisher[DepositReceived](&broker, nil)

	receipt := deposits.PublishAsync(context.Background(), DepositReceived{ID: "d-1"}, ticketing.WithID("event-1"))
	fmt.Println(receipt.ID(), receipt.Wait(context.Background()))
	// Output:
	// event-1 <nil>
}

// The same event goes through a transaction, so that it is stored if and only
// if the change it reports is.
func ExamplePublisher_Via() {
	var broker natstest.Recorder
	deposits := ticketing.NewPublisher[DepositReceived](&broker, nil)

	var outbox []string
	tx := ticketing.SendFunc(func(_ context.Context, m *ticketing.Message) error {
		outbox = append(outbox, string(m.Data)) // in a service: INSERT … with the transaction
		return nil
	})
	err := deposits.Via(tx).Publish(context.Background(), DepositReceived{ID: "d-1"})
	fmt.Println(err, outbox, len(broker.Messages()))
	// Output:
	// <nil> [{"id":"d-1","amount":0}] 0
}

func ExampleListener() {
	var broker natstest.Recorder // in a service: a natswrap.Client
	ctx, cancel := context.WithCancel(context.Background())

	deposits := ticketing.NewListener(&broker, "accounts", func(_ context.Context, d *ticketing.Delivery[DepositReceived]) error {
		if d.Event.Amount <= 0 {
			return ticketing.Permanent(fmt.Errorf("deposit of %d", d.Event.Amount)) // a dead letter
		}
		fmt.Printf("%s: %d at attempt %d\n", d.Event.ID, d.Event.Amount, d.Attempt)
		cancel()
		return nil // the event is acknowledged now
	}, &ticketing.ListenerOptions{Concurrency: 8, HandlerTimeout: 5 * time.Second})

	go natstest.Deliver(t, &broker, DepositReceived{ID: "d-1", Amount: 500})
	fmt.Println(deposits.Listen(ctx)) // blocks until ctx ends
	// Output:
	// d-1: 500 at attempt 1
	// <nil>
}

func ExamplePermanent() {
	handle := func(context.Context, *ticketing.Delivery[DepositReceived]) error {
		return ticketing.Permanent(errors.New("no such account"))
	}
	fmt.Println(handle(context.Background(), nil))
	// Output: permanent: no such account
}

func ExampleRetryAfter() {
	handle := func(context.Context, *ticketing.Delivery[DepositReceived]) error {
		return ticketing.RetryAfter(30*time.Second, errors.New("bank is closed"))
	}
	fmt.Println(handle(context.Background(), nil))
	// Output: retry after 30s: bank is closed
}

func ExampleSubject_Validate() {
	fmt.Println(ticketing.Subject("deposit:received").Validate())
	fmt.Println(ticketing.Subject("deposit.*").Validate())
	// Output:
	// <nil>
	// invalid subject "deposit.*": it has a wildcard; an event has one subject
}
