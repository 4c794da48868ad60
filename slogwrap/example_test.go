package slogwrap_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/slogwrap"
)

// printTB stands for the t of a test: it prints what would fail it.
type printTB struct{ testing.TB }

func (printTB) Helper()                           {}
func (printTB) Cleanup(func())                    {}
func (printTB) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (printTB) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// t is the *testing.T of your test.
var t printTB

func Example() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "duration" {
			return slog.Attr{} // they differ from run to run
		}
		return a
	}}))

	var recorder natstest.Recorder // in a service: a natswrap.Client
	broker := slogwrap.NewBroker(&recorder, &slogwrap.Options{Logger: log})
	deposits := ticketing.NewPublisher[deposit](broker, nil)
	credit := func(context.Context, *ticketing.Delivery[deposit]) error { return nil }
	stop := natstest.Listen(t, ticketing.NewListener(broker, "accounts", credit,
		&ticketing.ListenerOptions{Logger: slog.New(slog.DiscardHandler)})) // one line is enough

	event := deposit{ID: "d-1", Amount: "500"}
	if err := deposits.Publish(context.Background(), event, ticketing.WithID("event-1")); err != nil {
		fmt.Println(err)
	}
	natstest.Deliver(t, &recorder, event, natstest.WithID("event-1"))
	natstest.DeliverRaw(t, &recorder, event.Subject(), []byte("{"), natstest.WithID("event-2"))
	stop()
	// Output:
	// level=INFO msg="event published" subject=deposit:received id=event-1
	// level=INFO msg="event handled" subject=deposit:received group=accounts id=event-1 sequence=1 attempts=1
	// level=INFO msg="event published" subject=dead.accounts.deposit:received id=event-2
	// level=ERROR msg="event is a dead letter" subject=deposit:received group=accounts id=event-2 sequence=2 attempts=0 error="cannot decode slogwrap_test.deposit: unexpected end of JSON input"
}
