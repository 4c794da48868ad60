package readme

import (
	"context"
	"errors"
	"fmt"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/otelwrap"
	"github.com/ducnguyen96/ticketing-common/slogwrap"
)

// region deposited

func TestADepositIsReported(t *testing.T) {
	var broker natstest.Recorder
	bank := NewBank(ticketing.NewPublisher[DepositReceived](&broker, nil))

	if err := bank.Deposit(t.Context(), "D-1", 500); err != nil {
		t.Fatal(err)
	}
	natstest.RequirePublished(t, &broker, DepositReceived{ID: "D-1", Amount: 500})
}

func TestADepositIsCredited(t *testing.T) {
	var broker natstest.Recorder
	natstest.Listen(t, ticketing.NewListener(&broker, "accounts", credit, nil))

	res := natstest.Deliver(t, &broker, DepositReceived{ID: "D-1", Amount: 500})
	if !res.Acked() {
		t.Fatal(res)
	}
}

// endregion

func ExamplePublisher_Publish() {
	var broker natstest.Recorder
	deposits := ticketing.NewPublisher[DepositReceived](&broker, nil)
	ctx, event, id := context.Background(), DepositReceived{ID: "D-1", Amount: 500}, "e-1"
	// region outcomes
	switch err := deposits.Publish(ctx, event, ticketing.WithID(id)); {
	case errors.Is(err, ticketing.ErrNotSent):
		// surely not stored: try again
	case errors.Is(err, ticketing.ErrUnknown):
		// may be stored: try again with the same id
	case errors.Is(err, ticketing.ErrBusy):
		// the stream or the window is full: later
	case errors.Is(err, ticketing.ErrRejected):
		// will not be accepted as things are
	}
	// endregion
	fmt.Println(len(broker.Messages()), "published")
	// Output: 1 published
}

func ExampleListener() {
	var recorder natstest.Recorder
	c := &recorder
	// region observed
	tel := otelwrap.New(nil) // with the providers and the propagator of the service
	broker := slogwrap.NewBroker(tel.Broker(c), nil)
	deposits := ticketing.NewPublisher[DepositReceived](broker, nil)
	accounts := ticketing.NewListener(broker, "accounts", otelwrap.Handler(tel, credit), nil)
	// endregion
	_ = accounts
	fmt.Println(deposits.Publish(context.Background(), DepositReceived{ID: "D-1", Amount: 500}))
	// Output: <nil>
}
