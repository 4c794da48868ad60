package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// How long a server is away, and how often a publisher tries meanwhile.
const (
	outage   = 300 * time.Millisecond
	tryEvery = 5 * time.Millisecond
)

// crashes is how often a server is killed in a row.
func (b *bench) crashes() int { return max(2*b.rounds/b.scale, 1) }

// measureRecoverJetStream measures the time from a killed server's return to
// the first event that is delivered.
func measureRecoverJetStream(ctx context.Context, b *bench) (metrics []metric, err error) {
	s, err := startJetStream()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return b.measureRecover(ctx, natswrap.Config{URLs: []string{s.child.URL()}, ClientID: "bench", Logger: errorsOnly}, s.child, 1000)
}

// measureRecoverStreaming is the same with a memory store, which comes back
// without the session. It includes the time that the client takes to find that
// out.
func measureRecoverStreaming(ctx context.Context, b *bench) (metrics []metric, err error) {
	s, err := startStreaming()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	cfg := natswrap.Config{URLs: []string{s.child.URL()}, ClientID: "bench", ClusterID: s.child.ClusterID(), Logger: errorsOnly}
	return b.measureRecover(ctx, cfg, s.child, 5000)
}

// restarter is a server that can be killed and started again.
type restarter interface {
	Kill()
	Restart() error
}

func (b *bench) measureRecover(ctx context.Context, cfg natswrap.Config, s restarter, most float64) ([]metric, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = client.Close(ctx) }()
	defer cancel(nil)

	publisher := ticketing.NewPublisher[events.TicketCreated](client, nil)
	delivered := make(chan time.Time, 1)
	listener := ticketing.NewListener(client, "bench", func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
		select {
		case delivered <- time.Now():
		default:
		}
		return nil
	}, &ticketing.ListenerOptions{Logger: errorsOnly})
	wg.Go(func() {
		if err := listener.Listen(ctx); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		for keepTrying(ctx) {
			_ = publisher.Publish(ctx, events.TicketCreated{ID: "id"})
		}
	})

	// next waits for a delivery after t.
	next := func(t time.Time) (time.Time, error) {
		for {
			select {
			case at := <-delivered:
				if at.After(t) {
					return at, nil
				}
			case <-ctx.Done():
				return t, context.Cause(ctx)
			}
		}
	}
	var millis []float64
	for range b.crashes() {
		if _, err := next(time.Now()); err != nil {
			return nil, err
		}
		s.Kill()
		if err := pause(ctx, outage); err != nil {
			return nil, err
		}
		if err := s.Restart(); err != nil {
			return nil, err
		}
		back := time.Now()
		at, err := next(back)
		if err != nil {
			return nil, err
		}
		millis = append(millis, at.Sub(back).Seconds()*1e3)
	}
	sum := summarize(millis)
	worst := sum
	worst.mid = sum.max
	return []metric{{
		what: "ms from the server's return to an event, the longest", ours: sum.mid, raw: math.NaN(), unit: "ms", digits: 0,
		result: worst, resultDigits: 0, bar: bar{atMost, most},
	}}, nil
}

// measureRecoverCluster measures for how long nothing can be published when the
// stream's leader is killed, side by side with the raw client.
func measureRecoverCluster(ctx context.Context, b *bench) (metrics []metric, err error) {
	s, err := startCluster()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	urls := s.child.URL()
	client, err := natswrap.Connect(ctx, natswrap.Config{URLs: strings.Split(urls, ","), ClientID: "bench", Replicas: 3, Logger: errorsOnly})
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(urls, nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	raw, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = client.Close(ctx) }()
	defer cancel(nil)

	publisher := ticketing.NewPublisher[events.TicketCreated](client, nil)
	event := events.TicketCreated{ID: "id"}
	var ours, theirs gap
	ours.run(ctx, &wg, func(ctx context.Context) error { return publisher.Publish(ctx, event) })
	theirs.run(ctx, &wg, func(ctx context.Context) error {
		// As without a deadline, and as our client's AckTimeout.
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := raw.Publish(ctx, string(event.Subject()), []byte("{}"))
		return err
	})

	var pairs []gaps
	for range b.crashes() {
		begin := time.Now()
		for _, g := range []*gap{&ours, &theirs} {
			if err := g.goesOn(ctx, begin); err != nil {
				return nil, err
			}
		}
		leader, err := leaderOf(ctx, raw)
		if err != nil {
			return nil, err
		}
		for _, srv := range s.child.Servers() {
			if srv.Name() != leader {
				continue
			}
			ours.longest.Store(0)
			theirs.longest.Store(0)
			killed := time.Now()
			srv.Kill()
			for _, g := range []*gap{&ours, &theirs} {
				if err := g.goesOn(ctx, killed); err != nil {
					return nil, err
				}
			}
			pairs = append(pairs, gaps{millis(&ours), millis(&theirs)})
			if err := srv.Restart(); err != nil {
				return nil, err
			}
		}
		if err := awaitReplicas(ctx, raw); err != nil {
			return nil, err
		}
	}
	result := summarize(collect(pairs, func(p gaps) float64 { return p.ours / p.raw }))
	return []metric{{
		what: "gap between publishes, the leader killed", unit: "ms", digits: 0,
		ours:   median(collect(pairs, func(p gaps) float64 { return p.ours })),
		raw:    median(collect(pairs, func(p gaps) float64 { return p.raw })),
		result: result, resultDigits: 2, bar: bar{atMost, 1.0},
	}}, nil
}

// gaps are what both sides met at one crash.
type gaps struct{ ours, raw float64 }

// gap is the longest time between two acknowledged publishes.
type gap struct {
	longest atomic.Int64
	last    atomic.Int64 // when the last one was acknowledged, in ns since 1970
}

func millis(g *gap) float64 { return time.Duration(g.longest.Load()).Seconds() * 1e3 }

// run publishes, one after the other, until ctx ends.
func (g *gap) run(ctx context.Context, wg *sync.WaitGroup, publish func(context.Context) error) {
	wg.Go(func() {
		g.last.Store(time.Now().UnixNano())
		for keepTrying(ctx) {
			if publish(ctx) != nil {
				continue
			}
			now := time.Now().UnixNano()
			g.longest.Store(max(g.longest.Load(), now-g.last.Load()))
			g.last.Store(now)
		}
	})
}

// goesOn waits for a publish that is acknowledged half a second after t or
// later: the leader that dies takes up to that to be missed.
func (g *gap) goesOn(ctx context.Context, t time.Time) error {
	for g.last.Load() < t.Add(500*time.Millisecond).UnixNano() {
		if !keepTrying(ctx) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func leaderOf(ctx context.Context, js jetstream.JetStream) (string, error) {
	s, err := js.Stream(ctx, jswrap.DefaultStream)
	if err != nil {
		return "", fmt.Errorf("who leads the stream: %w", err)
	}
	return s.CachedInfo().Cluster.Leader, nil
}

// awaitReplicas waits until every replica of the stream is current.
func awaitReplicas(ctx context.Context, js jetstream.JetStream) error {
	for keepTrying(ctx) {
		s, err := js.Stream(ctx, jswrap.DefaultStream)
		if err != nil {
			continue
		}
		current := 0
		for _, r := range s.CachedInfo().Cluster.Replicas {
			if r.Current && !r.Offline {
				current++
			}
		}
		if current == 2 {
			return nil
		}
	}
	return context.Cause(ctx)
}

// keepTrying waits a little, and reports whether ctx goes on.
func keepTrying(ctx context.Context) bool { return pause(ctx, tryEvery) == nil }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
