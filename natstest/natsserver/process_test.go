//go:build unix

package natsserver_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAKilledServerComesBackWithWhatItAcknowledged(t *testing.T) {
	p := natsserver.RunProcess(t, "nats")
	reconnected := make(chan struct{}, 1)
	_, js := connect(t, p.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(pollTick),
		nats.ReconnectHandler(func(*nats.Conn) { reconnected <- struct{}{} }))
	createStream(t, js, 1)
	url := p.URL()
	for i := 1; i <= 3; i++ {
		publish(t, js, 10)
		p.Kill()
		if nc, err := nats.Connect(p.URL()); err == nil {
			nc.Close()
			t.Fatal("a killed server answers")
		}
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
		<-reconnected
		if got := stored(t, js); got != uint64(10*i) {
			t.Errorf("%d messages after %d kills, want %d", got, i, 10*i)
		}
	}
	if p.URL() != url || p.Name() != "" {
		t.Errorf("URL %q, before %q; name %q", p.URL(), url, p.Name())
	}
}

func TestASuspendedServerIsSilentUntilItIsResumed(t *testing.T) {
	p := natsserver.RunProcess(t, "nats")
	nc, js := connect(t, p.URL())
	createStream(t, js, 1)
	if err := p.Suspend(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err == nil {
		t.Error("a suspended server answers")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	publish(t, js, 1)
}

func TestAServerEndsInOrderWhenItIsTerminated(t *testing.T) {
	p := natsserver.RunProcess(t, "nats")
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestAClusterOfProcessesSurvivesAnyOfThem(t *testing.T) {
	c := natsserver.RunProcessCluster(t, "nats", 3)
	_, js := connect(t, c.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(pollTick))
	createStream(t, js, 3) // at once
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	acknowledged := 0
	for _, p := range c.Servers() {
		p.Kill()
		for range 5 {
			// The id makes it one message, however often it is tried.
			id := fmt.Sprint("m", acknowledged)
			for {
				attempt, cancel := context.WithTimeout(ctx, time.Second)
				_, err := js.Publish(attempt, "event.x", nil, jetstream.WithMsgID(id))
				cancel()
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("without %s: %v", p.Name(), err)
				}
			}
			acknowledged++
		}
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
		awaitReplicas(ctx, t, js)
	}
	if got := storedInTheEnd(ctx, t, js); got != uint64(acknowledged) {
		t.Errorf("%d messages, want %d", got, acknowledged)
	}
	nc, _ := connect(t, c.Servers()[0].URL())
	if told := nc.DiscoveredServers(); len(told) != 0 {
		t.Errorf("the client was told of %q, want no other servers", told)
	}
	if len(strings.Split(c.URL(), ",")) != 3 {
		t.Errorf("URL %q", c.URL())
	}
}

// awaitReplicas waits until two replicas follow the leader, so that another
// server can go.
func awaitReplicas(ctx context.Context, t *testing.T, js jetstream.JetStream) {
	t.Helper()
	tick := time.NewTicker(pollTick)
	defer tick.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		stream, err := js.Stream(attempt, "EVENTS")
		cancel()
		current := 0
		if err == nil {
			for _, r := range stream.CachedInfo().Cluster.Replicas {
				if r.Current && !r.Offline {
					current++
				}
			}
		}
		if current == 2 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d replicas are current, error %v", current, err)
		}
	}
}

func TestAProcessThatCannotBeAServerSaysSo(t *testing.T) {
	if p, err := natsserver.StartProcess("no role", t.TempDir()); err == nil {
		p.Kill()
		t.Error("a server of an unknown role started")
	}
	for n, role := range map[int]string{1: "nats", 2: "no role"} {
		if c, err := natsserver.StartProcessCluster(role, t.TempDir(), n); err == nil {
			c.Kill()
			t.Errorf("a cluster of %d in role %q started", n, role)
		}
	}
	if err := natsserver.Role()(t.Context()); err == nil || !strings.Contains(err.Error(), "RunProcess") {
		t.Errorf("a role without a parent: %v", err)
	}
}
