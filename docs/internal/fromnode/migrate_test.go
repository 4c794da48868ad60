package fromnode

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// region old-config

// oldConfig reads OLD_NATS_URL, OLD_NATS_CLUSTER_ID and so on.
func oldConfig() (natswrap.Config, error) {
	return natswrap.FromLookup(func(name string) (string, bool) {
		return os.LookupEnv("OLD_" + name)
	})
}

// endregion

// region both

// listenOnBoth listens as one group on two brokers, until ctx ends or one of
// the two cannot go on.
func listenOnBoth[E ticketing.Event](ctx context.Context, a, b ticketing.Receiver, group string, h ticketing.Handler[E]) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 2)
	for _, r := range []ticketing.Receiver{a, b} {
		go func() { ended <- ticketing.NewListener(r, group, h, nil).Listen(ctx) }()
	}
	err := <-ended
	stop()
	return errors.Join(err, <-ended)
}

// endregion

// Publishers move from NATS Streaming to JetStream while the listeners hear
// both.
func Example_listenOnBoth() {
	streaming, err := stanserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer streaming.Shutdown()
	jetStream, err := natsserver.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer jetStream.Shutdown()
	for name, value := range map[string]string{
		"OLD_NATS_URL":        streaming.URL(),
		"OLD_NATS_CLUSTER_ID": streaming.ClusterID(),
		"OLD_NATS_CLIENT_ID":  "orders-1",
		"NATS_URL":            jetStream.URL(),
		"NATS_CLIENT_ID":      "orders-1",
	} {
		if err := os.Setenv(name, value); err != nil {
			log.Fatal(err)
		}
		defer os.Unsetenv(name)
	}

	cfg, err := natswrap.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	oldCfg, err := oldConfig()
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	from, err := natswrap.Connect(ctx, oldCfg)
	if err != nil {
		log.Fatal(err)
	}
	defer from.Close(ctx)
	to, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer to.Close(ctx)

	published := ticketing.NewPublisher[events.ExpirationComplete](from, nil)
	for _, id := range []string{"o1", "o2"} {
		if err := published.Publish(ctx, events.ExpirationComplete{OrderID: id}); err != nil {
			log.Fatal(err)
		}
		published = published.Via(to) // the publisher has moved
	}

	listening, stop := context.WithCancel(ctx)
	defer stop()
	got := make(chan string, 2)
	go func() {
		seen := map[string]bool{<-got: true, <-got: true}
		fmt.Println(from.Backend(), "and", to.Backend(), seen)
		stop()
	}()
	err = listenOnBoth(listening, from, to, "orders-service", func(_ context.Context, d *ticketing.Delivery[events.ExpirationComplete]) error {
		got <- d.Event.OrderID
		return nil
	})
	fmt.Println(err)
	// Output:
	// stan and jetstream map[o1:true o2:true]
	// <nil>
}
