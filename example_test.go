package ticketing_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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

// Events with different keys are handled at the same time, those with the same
// key one after the other.
func ExampleKeyed() {
	var broker natstest.Recorder
	started, release := make(chan struct{}), make(chan struct{})
	accounts := ticketing.NewListener(&broker, "accounts", func(_ context.Context, d *ticketing.Delivery[DepositReceived]) error {
		if d.Event.Amount == 500 {
			close(started)
			<-release // this one takes a while
		}
		fmt.Printf("%s: %d\n", d.Event.Key(), d.Event.Amount)
		return nil
	}, &ticketing.ListenerOptions{Concurrency: 8})
	stop := run(accounts)

	var all sync.WaitGroup
	all.Go(func() { natstest.Deliver(t, &broker, DepositReceived{ID: "d-1", Amount: 500}) })
	<-started
	all.Go(func() { natstest.Deliver(t, &broker, DepositReceived{ID: "d-1", Amount: 20}) })
	natstest.Deliver(t, &broker, DepositReceived{ID: "d-2", Amount: 70})
	close(release)
	all.Wait()
	stop()
	// Output:
	// d-2: 70
	// d-1: 500
	// d-1: 20
}

// AccountChanged is an event with a version, from 1.
type AccountChanged struct {
	ID      string `json:"id"`
	Balance int64  `json:"balance"`
	Version int    `json:"version"`
}

func (AccountChanged) Subject() ticketing.Subject { return "account:changed" }
func (a AccountChanged) Key() string              { return a.ID }

// Each version is applied once and in order. One that comes too early waits for
// those before it, and that is no failed attempt.
func ExampleNextVersion() {
	var broker natstest.Recorder
	stored := map[string]int{} // in a service: a column, read and written in one transaction
	tried := make(chan struct{}, 10)
	copies := ticketing.NewListener(&broker, "reports", func(_ context.Context, d *ticketing.Delivery[AccountChanged]) error {
		defer func() { tried <- struct{}{} }()
		if err := ticketing.NextVersion(stored[d.Event.ID], d.Event.Version); err != nil {
			return err
		}
		stored[d.Event.ID] = d.Event.Version
		fmt.Printf("version %d at attempt %d\n", d.Event.Version, d.Attempt)
		return nil
	}, &ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler)})
	stop := run(copies)

	var early sync.WaitGroup
	early.Go(func() {
		natstest.Deliver(t, &broker, AccountChanged{ID: "a-1", Version: 2}, natstest.UntilSettled())
	})
	<-tried
	natstest.Deliver(t, &broker, AccountChanged{ID: "a-1", Version: 1})
	early.Wait()
	fmt.Println(natstest.Deliver(t, &broker, AccountChanged{ID: "a-1", Version: 1}))
	stop()
	// Output:
	// version 1 at attempt 1
	// version 2 at attempt 1
	// acked: version 1: already applied: the stored version is 2
}

// An event that cannot be handled is stored beside the others, with the reason,
// and the listener goes on.
func ExampleListener_deadLetters() {
	var broker natstest.Recorder
	deposits := ticketing.NewListener(&broker, "accounts", func(_ context.Context, d *ticketing.Delivery[DepositReceived]) error {
		return errors.New("no such account") // after the tenth attempt a dead letter
	}, &ticketing.ListenerOptions{
		Logger: slog.New(slog.DiscardHandler),
		OnDeadLetter: func(d ticketing.DeadLetter) {
			fmt.Printf("%d attempts: %v\n", d.Attempts, d.Err) // in a service: an alert
		},
	})
	stop := run(deposits)

	natstest.Deliver(t, &broker, DepositReceived{ID: "d-1"}, natstest.WithAttempt(10))
	for _, m := range broker.Messages() {
		fmt.Printf("%s %s %s\n", m.Subject, m.Data, m.Header[ticketing.HeaderDeadReason])
	}
	stop()
	// Output:
	// 10 attempts: no such account
	// dead.accounts.deposit:received {"id":"d-1","amount":0} [no such account]
}

// run runs a listener beside the example until it is stopped.
func run(l interface{ Listen(context.Context) error }) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Listen(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			fmt.Println(err)
		}
	}
}

// counted is a Sender around another one. It has one method to wrap, and with it
// the synchronous and the asynchronous path. What is said about the Sender within
// is passed on.
type counted struct {
	ticketing.Sender
	stored *atomic.Int64
}

func (c counted) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	c.Sender.Send(ctx, m, func(err error) {
		if err == nil {
			c.stored.Add(1)
		}
		done(err)
	})
}

func (c counted) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	if within, ok := c.Sender.(ticketing.SubjectChecker); ok {
		return within.CheckSubject(ctx, s)
	}
	return nil
}

// Whatever is added to every publish is a Sender around another one. Packages
// otelwrap and slogwrap have tracing, metrics and logging.
func ExampleSender() {
	var broker natstest.Recorder
	sender := counted{&broker, new(atomic.Int64)}
	deposits := ticketing.NewPublisher[DepositReceived](sender, nil)

	_ = deposits.Publish(context.Background(), DepositReceived{ID: "d-1"})
	deposits.PublishAsync(context.Background(), DepositReceived{ID: "d-2"})
	fmt.Println(sender.stored.Load(), "stored")
	// Output: 2 stored
}

// limited is a Handler around another one.
func limited[E ticketing.Event](h ticketing.Handler[E], atOnce int) ticketing.Handler[E] {
	place := make(chan struct{}, atOnce)
	return func(ctx context.Context, d *ticketing.Delivery[E]) error {
		select {
		case place <- struct{}{}:
			defer func() { <-place }()
			return h(ctx, d)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Whatever is added to every attempt is a function around the handler.
func ExampleHandler() {
	credit := func(_ context.Context, d *ticketing.Delivery[DepositReceived]) error {
		fmt.Println("credit", d.Event.Amount)
		return nil
	}
	handler := limited(credit, 2)
	fmt.Println(handler(context.Background(), &ticketing.Delivery[DepositReceived]{Event: DepositReceived{Amount: 500}}))
	// Output:
	// credit 500
	// <nil>
}

func ExampleWait() {
	handle := func(context.Context, *ticketing.Delivery[DepositReceived]) error {
		return ticketing.Wait(errors.New("the account is not open yet"))
	}
	fmt.Println(handle(context.Background(), nil))
	// Output: wait: the account is not open yet
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
