package jswrap_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/brokertest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

const maxPayload = 1 << 20

func TestTheBrokerContractHoldsOnOneServer(t *testing.T) {
	conform(t, natsserver.Run(t, natsserver.MaxPayload(maxPayload)).URL(), 1, false)
}

func TestTheBrokerContractHoldsWithEnvelopes(t *testing.T) {
	conform(t, natsserver.Run(t, natsserver.MaxPayload(maxPayload)).URL(), 1, true)
}

func TestTheBrokerContractHoldsOnACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster of three takes its time")
	}
	conform(t, natsserver.RunCluster(t, 3, natsserver.MaxPayload(maxPayload)).URL(), 3, false)
}

func conform(t *testing.T, url string, replicas int, envelopes bool) {
	brokertest.Run(t, brokertest.Harness{
		Connect: func(t testing.TB) brokertest.Conn {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			c, err := jswrap.Connect(ctx, jswrap.Config{
				URLs:     []string{url},
				Name:     "conformance",
				Subjects: withoutDeadLetters(brokertest.Subjects()),
				Replicas: replicas,
				Logger:   slog.New(slog.DiscardHandler),

				CloudEvents: envelopes,
			})
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Crash:      func(c brokertest.Conn) { c.(*jswrap.Client).Conn().Close() },
		MaxPayload: maxPayload,
	})
}

// withoutDeadLetters leaves out the dead letters, which have a stream of their own.
func withoutDeadLetters(all []ticketing.Subject) []ticketing.Subject {
	var some []ticketing.Subject
	for _, s := range all {
		if len(s) < 5 || s[:5] != "dead." {
			some = append(some, s)
		}
	}
	return some
}
