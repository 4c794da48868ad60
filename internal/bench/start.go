package main

import (
	"context"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

// measureStartJetStream measures the time from nothing to a connection on
// which the JetStream API answers.
func measureStartJetStream(ctx context.Context, b *bench) ([]metric, error) {
	return b.measureStart(ctx, bar{atMost, 10}, func() (stop func(), err error) {
		s, err := natsserver.Start()
		if err != nil {
			return nil, err
		}
		nc, err := nats.Connect(s.URL())
		if err != nil {
			s.Shutdown()
			return nil, err
		}
		stop = func() {
			nc.Close()
			s.Shutdown()
		}
		js, err := jetstream.New(nc)
		if err == nil {
			_, err = js.AccountInfo(ctx)
		}
		return stop, err
	})
}

// measureStartStreaming measures the time from nothing to a session.
func measureStartStreaming(ctx context.Context, b *bench) ([]metric, error) {
	return b.measureStart(ctx, bar{atMost, 50}, func() (stop func(), err error) {
		s, err := stanserver.Start()
		if err != nil {
			return nil, err
		}
		sc, err := stan.Connect(s.ClusterID(), "bench", stan.NatsURL(s.URL()))
		if err != nil {
			s.Shutdown()
			return nil, err
		}
		return func() {
			_ = sc.Close() // the server goes as well
			s.Shutdown()
		}, nil
	})
}

// measureStart measures start a few times each round.
func (b *bench) measureStart(ctx context.Context, to bar, start func() (stop func(), err error)) ([]metric, error) {
	const perRound = 3
	var millis []float64
	for range b.rounds * perRound {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		begin := time.Now()
		stop, err := start()
		took := time.Since(begin)
		if stop != nil {
			stop()
		}
		if err != nil {
			return nil, err
		}
		millis = append(millis, took.Seconds()*1e3)
	}
	s := summarize(millis)
	return []metric{{
		what: "time in ms, in this process", ours: s.mid, raw: math.NaN(), unit: "ms", digits: 1,
		result: s, resultDigits: 1, bar: to,
	}}, nil
}
