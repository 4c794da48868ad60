package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// printTB stands for the t of a test: it prints what would fail it.
type printTB struct{ testing.TB }

func (printTB) Helper()                           {}
func (printTB) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// t is the *testing.T of your test.
var t printTB

// service is what is tested: it embeds the publisher of its event.
type service struct {
	*ticketing.Publisher[ticketCreated]
}

func (s service) Create(ctx context.Context, title string, price int) error {
	if price <= 0 {
		return errors.New("a ticket has a price")
	}
	return s.Publish(ctx, ticketCreated{ID: "T-" + title, Title: title, Price: price})
}

// A service under test gets a Recorder in place of its connection.
func Example() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}

	if err := svc.Create(context.Background(), "rock", 20); err != nil {
		t.Fatalf("create: %v", err)
	}

	got := natstest.RequireOnePublished[ticketCreated](t, &r)
	fmt.Println(got.ID, got.Price)
	// Output: T-rock 20
}

// Messages has what the events alone do not tell: ids, keys, headers.
func ExampleRecorder() {
	var r natstest.Recorder
	p := ticketing.NewPublisher[ticketCreated](&r, nil)
	_ = p.Publish(context.Background(), ticketCreated{ID: "T1"},
		ticketing.WithID("e1"), ticketing.WithHeader("Traceparent", "00-1-2-01"))

	for _, m := range r.Messages() {
		fmt.Println(m.Subject, m.ID, m.Key, m.Header["Traceparent"], string(m.Data))
	}
	// Output: ticket:created e1 T1 [00-1-2-01] {"id":"T1","title":"","price":0}
}

func ExampleRecorder_FailNext() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}
	r.FailNext(ticketing.OutcomeBusy, ticketing.OutcomeNotSent)

	for range 3 {
		err := svc.Create(context.Background(), "rock", 20)
		fmt.Println(errors.Is(err, ticketing.ErrBusy), errors.Is(err, ticketing.ErrNotSent), err == nil)
	}
	fmt.Println(len(natstest.Published[ticketCreated](t, &r)), "published")
	// Output:
	// true false false
	// false true false
	// false false true
	// 1 published
}

// An acknowledgement gets lost: the publisher cannot know whether the event is
// stored, and here it is.
func ExampleRecorder_Intercept() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}
	r.Intercept(func(m *ticketing.Message) *natstest.Fault {
		if m.Key != "T-opera" {
			return nil // not this one
		}
		return &natstest.Fault{Outcome: ticketing.OutcomeUnknown, Stored: true}
	})

	for _, title := range []string{"rock", "opera"} {
		err := svc.Create(context.Background(), title, 20)
		fmt.Println(title, errors.Is(err, ticketing.ErrUnknown))
	}
	fmt.Println(len(r.Messages()), "stored")
	// Output:
	// rock false
	// opera true
	// 2 stored
}

func ExamplePublished() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}
	_ = svc.Create(context.Background(), "rock", 20)
	_ = svc.Create(context.Background(), "opera", 90)

	for _, e := range natstest.Published[ticketCreated](t, &r) {
		fmt.Println(e.Title, e.Price)
	}
	// Output:
	// rock 20
	// opera 90
}

// A failure shows the events that come nearest.
func ExampleRequirePublished() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}
	_ = svc.Create(context.Background(), "rock", 25)

	natstest.RequirePublished(t, &r, ticketCreated{Title: "rock", Price: 20},
		cmpopts.IgnoreFields(ticketCreated{}, "ID"))
	// Output:
	// natstest: the wanted ticket:created was not published; nearest of 1 (-want +got):
	// event 1, 1 difference:
	//     natstest_test.ticketCreated{
	//     	... // 1 ignored field
	//     	Title: "rock",
	//   - 	Price: 20,
	//   + 	Price: 25,
	//     }
}

func ExampleRequireOnePublished() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}
	_ = svc.Create(context.Background(), "rock", 20)

	got := natstest.RequireOnePublished[ticketCreated](t, &r)
	fmt.Println(got.Title)
	// Output: rock
}

func ExampleRequireNonePublished() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}

	fmt.Println(svc.Create(context.Background(), "rock", -1))
	natstest.RequireNonePublished[ticketCreated](t, &r)
	// Output: a ticket has a price
}

func ExampleRequireSequence() {
	var r natstest.Recorder
	tickets := ticketing.NewPublisher[ticketCreated](&r, nil)
	orders := ticketing.NewPublisher[orderCreated](&r, nil)
	_ = tickets.Publish(context.Background(), ticketCreated{ID: "T1", Price: 20})
	_ = orders.Publish(context.Background(), orderCreated{ID: "O1", UserID: "U1"})

	natstest.RequireSequence(t, &r,
		ticketCreated{ID: "T1", Price: 20},
		expired{OrderID: "O0"},
		orderCreated{ID: "O1", UserID: "U1"},
	)
	// Output:
	// natstest: the recorded sequence differs (-want +got):
	//   ticket:created T1
	// - expiration:complete
	//   order:created O1
}

func ExampleLike() {
	var r natstest.Recorder
	orders := ticketing.NewPublisher[orderCreated](&r, nil)
	_ = orders.Publish(context.Background(), orderCreated{ID: "O1", UserID: "generated"})

	got := natstest.RequireSequence(t, &r,
		natstest.Like(orderCreated{ID: "O1"}, cmpopts.IgnoreFields(orderCreated{}, "UserID")))
	fmt.Println(got[0].Subject, got[0].Key)
	// Output: order:created O1
}

// Await is for events that another goroutine publishes.
func ExampleAwait() {
	var r natstest.Recorder
	svc := service{ticketing.NewPublisher[ticketCreated](&r, nil)}
	go func() {
		_ = svc.Create(context.Background(), "opera", 90)
		_ = svc.Create(context.Background(), "rock", 20)
	}()

	got := natstest.Await(context.Background(), t, &r, func(e ticketCreated) bool { return e.Price < 50 })
	fmt.Println(got.Title)
	// Output: rock
}

// Deliver tells what a listener made of an event: here one that fails once.
func ExampleDeliver() {
	var r natstest.Recorder
	declined := errors.New("card declined")
	listener := ticketing.NewListener(&r, "payments",
		func(_ context.Context, d *ticketing.Delivery[orderCreated]) error {
			if d.Attempt == 1 {
				return ticketing.RetryAfter(time.Minute, declined)
			}
			return nil
		}, &ticketing.ListenerOptions{Logger: quiet})

	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- listener.Listen(ctx) }()

	res := natstest.Deliver(t, &r, orderCreated{ID: "O1"})
	fmt.Println(res.Retried(), res.After, errors.Is(res.Err, declined))
	res = natstest.Deliver(t, &r, orderCreated{ID: "O1"}, natstest.WithAttempt(2))
	fmt.Println(res)

	cancel()
	fmt.Println(<-stopped)
	// Output:
	// true 1m0s true
	// acked
	// <nil>
}

// A listener has to put away what it cannot decode.
func ExampleDeliverRaw() {
	var r natstest.Recorder
	listener := ticketing.NewListener(&r, "payments",
		func(context.Context, *ticketing.Delivery[orderCreated]) error { return nil },
		&ticketing.ListenerOptions{Logger: quiet})

	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- listener.Listen(ctx) }()

	res := natstest.DeliverRaw(t, &r, "order:created", []byte(`{"id":7}`))
	fmt.Println(res.DeadLettered(), r.Messages()[0].Subject)

	cancel()
	<-stopped
	// Output: true dead.payments.order:created
}
