// Command raw does with both clients what a service does without this module:
// the measure for command service.
package main

import (
	"context"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
)

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := js.Publish(context.Background(), "ticket:created", []byte("{}")); err != nil {
		log.Fatal(err)
	}
	consumer, err := js.Consumer(context.Background(), "TICKETING", "tickets-service")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := consumer.Consume(func(m jetstream.Msg) { _ = m.Ack() }); err != nil {
		log.Fatal(err)
	}
	sc, err := stan.Connect(os.Getenv("NATS_CLUSTER_ID"), os.Getenv("NATS_CLIENT_ID"), stan.NatsConn(nc))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sc.QueueSubscribe("ticket:created", "tickets-service", func(m *stan.Msg) { _ = m.Ack() }, stan.SetManualAckMode()); err != nil {
		log.Fatal(err)
	}
	if err := sc.Publish("ticket:created", []byte("{}")); err != nil {
		log.Fatal(err)
	}
}
