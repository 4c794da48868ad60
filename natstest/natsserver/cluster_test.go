package natsserver_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAReplicatedStreamCanBeCreatedAtOnce(t *testing.T) {
	t.Parallel()
	c := natsserver.RunCluster(t, 3)
	urls := strings.Split(c.URL(), ",")
	if len(urls) != 3 || len(c.Servers()) != 3 {
		t.Fatalf("%d addresses and %d servers, want 3", len(urls), len(c.Servers()))
	}
	if c.Leader() == nil {
		t.Error("there is no leader")
	}
	// Whichever server is asked, the first request works.
	for i, url := range urls {
		_, js := connect(t, url)
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: "S" + string(rune('1'+i)), Subjects: []string{url[len(url)-5:]}, Replicas: 3,
		})
		if err != nil {
			t.Fatalf("create a stream with 3 replicas through %s: %v", url, err)
		}
		if got := len(stream.CachedInfo().Cluster.Replicas); got != 2 {
			t.Errorf("the leader has %d replicas, want 2", got)
		}
	}
}

func TestOneServerOfAClusterStandsForTheFirstElection(t *testing.T) {
	t.Parallel()
	// The servers say so in their debug log. More of them would be elected as
	// well, but one start in a few would take 4 to 9 s. A machine that is very
	// busy may need another try.
	candidates := 0
	for range 3 {
		var out testlog.Buffer
		natsserver.RunCluster(t, 3, natsserver.Logger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		if candidates = strings.Count(out.String(), "_meta_] Starting campaign"); candidates == 1 {
			return
		}
	}
	t.Errorf("%d servers stood for election, want 1", candidates)
}

func TestAClusterSurvivesItsLeaderAndTakesItBack(t *testing.T) {
	t.Parallel()
	c := natsserver.RunCluster(t, 3)
	_, js := connect(t, c.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(pollTick))
	createStream(t, js, 3)
	publish(t, js, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()

	leader := c.Leader()
	leader.Shutdown()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if c.Leader() == leader {
		t.Error("the server that was shut down still leads")
	}
	if got := storedInTheEnd(ctx, t, js); got != 3 {
		t.Errorf("%d messages without the leader, want 3", got)
	}

	if err := leader.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// storedInTheEnd is stored, for a stream that may be electing its leader.
func storedInTheEnd(ctx context.Context, t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		stream, err := js.Stream(attempt, "EVENTS")
		cancel()
		if err == nil {
			return stream.CachedInfo().State.Msgs
		}
		if ctx.Err() != nil {
			t.Fatalf("the stream has no leader: %v", err)
		}
	}
}

func TestAClusterTellsClientsOfItsServersOnlyWhereItIsConfiguredTo(t *testing.T) {
	for name, opts := range map[string][]natsserver.Option{
		"by default":    nil,
		"when it is to": {natsserver.Configure(func(o *server.Options) { o.Cluster.NoAdvertise = false })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, _ := connect(t, natsserver.RunCluster(t, 3, opts...).Servers()[0].URL())
			if told, want := nc.DiscoveredServers(), len(opts) > 0; len(told) > 0 != want {
				t.Errorf("the client was told of %q, want others: %t", told, want)
			}
		})
	}
}

func TestWaitReadySaysWhatIsMissingWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	c := natsserver.RunCluster(t, 3)
	// One of three cannot elect itself.
	leader := c.Leader()
	for _, s := range c.Servers() {
		if s != leader {
			s.Shutdown()
			break
		}
	}
	leader.Shutdown()
	ctx, cancel := context.WithCancelCause(t.Context())
	errStop := errors.New("stop")
	cancel(errStop)
	err := c.WaitReady(ctx)
	if !errors.Is(err, errStop) || !strings.Contains(err.Error(), "leader") {
		t.Errorf("error %v, want the context's and the missing leader", err)
	}
}

func TestAClusterThatHasRunBeforeKeepsItsMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(f func(jetstream.JetStream)) {
		t.Helper()
		c, err := natsserver.StartCluster(2, natsserver.StoreDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Shutdown()
		_, js := connect(t, c.URL())
		f(js)
	}
	run(func(js jetstream.JetStream) {
		createStream(t, js, 1)
		publish(t, js, 4)
	})
	run(func(js jetstream.JetStream) {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		if got := storedInTheEnd(ctx, t, js); got != 4 {
			t.Errorf("%d messages in the second run, want 4", got)
		}
	})
}

func TestShutdownOfAClusterLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	nothingLeft := leaktest.Check(t)
	c, err := natsserver.StartCluster(3)
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(tmp); len(entries) != 1 {
		t.Errorf("%d entries in the temporary directory, want the cluster's one", len(entries))
	}
	nc, js := connect(t, c.URL(), nats.NoReconnect())
	createStream(t, js, 3)
	nc.Close()
	c.Shutdown()
	c.Shutdown()
	if c.Leader() != nil {
		t.Error("there is a leader after Shutdown")
	}
	if entries, _ := os.ReadDir(tmp); len(entries) != 0 {
		t.Errorf("%v left in the temporary directory", entries)
	}
	nothingLeft()
}

func TestAClusterThatCannotBeSaysWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		n    int
		opts []natsserver.Option
		want string
	}{
		{"one server", 1, nil, "at least two"},
		{"one port for all", 3, []natsserver.Option{natsserver.Port(4222)}, "Port"},
		{"a store directory that is a file", 3, []natsserver.Option{natsserver.StoreDir(file)}, "not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := natsserver.StartCluster(tt.n, tt.opts...)
			if err == nil {
				c.Shutdown()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}
