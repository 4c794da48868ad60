package readme

import (
	"context"
	"log"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// region main

func main() {
	cfg, err := natswrap.FromEnv()
	if err != nil {
		log.Fatal(err) // every variable that is missing or malformed, by name
	}
	cfg.Subjects = append(ticketing.Subjects(), DepositReceived{}.Subject())

	err = natswrap.Run(context.Background(), cfg, func(ctx context.Context, c *natswrap.Client) error {
		deposits := ticketing.NewPublisher[DepositReceived](c, nil)
		if err := deposits.Publish(ctx, DepositReceived{ID: "D-1", Amount: 500}); err != nil {
			return err
		}
		return ticketing.NewListener(c, "accounts", credit, nil).Listen(ctx)
	})
	if err != nil {
		log.Fatal(err)
	}
}

func credit(ctx context.Context, d *ticketing.Delivery[DepositReceived]) error {
	// nil acknowledges; an error is tried again with backoff, in order per key,
	// and after ten attempts it is a dead letter
	return book(ctx, d.Event.ID, d.Event.Amount)
}

// endregion

func TestTheServiceOfTheReadmeBooksItsDepositAndStopsAtASignal(t *testing.T) {
	t.Setenv("NATS_URL", natsserver.Run(t).URL())
	t.Setenv("NATS_CLIENT_ID", "accounts-1")
	booked = make(chan DepositReceived)
	defer func() { booked = nil }()

	var running sync.WaitGroup
	running.Go(main)
	defer running.Wait()

	select {
	case got := <-booked:
		if want := (DepositReceived{ID: "D-1", Amount: 500}); got != want {
			t.Errorf("booked %+v", got)
		}
	case <-time.After(60 * time.Second):
		t.Error("nothing was booked") // Run catches signals all the same
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
}
