package stanserver_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

const (
	pollTick = 5 * time.Millisecond
	patience = 60 * time.Second
)

// connect returns a session that is closed with the test.
func connect(t testing.TB, s *stanserver.Server, clientID string, opts ...stan.Option) stan.Conn {
	t.Helper()
	nc, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(pollTick))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	sc, err := stan.Connect(s.ClusterID(), clientID, append([]stan.Option{stan.NatsConn(nc)}, opts...)...)
	if err != nil {
		nc.Close()
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		// In this order, because the server of the session may be gone: to say
		// goodbye to it would take a timeout.
		nc.Close()
		_ = sc.Close()
	})
	return sc
}

func publish(t testing.TB, sc stan.Conn, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := sc.Publish("ticket:created", []byte(p)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

// received subscribes from the beginning and returns the first n payloads.
func received(t testing.TB, sc stan.Conn, n int) []string {
	t.Helper()
	ch := make(chan string, 64)
	sub, err := sc.Subscribe("ticket:created", func(m *stan.Msg) { ch <- string(m.Data) }, stan.DeliverAllAvailable())
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	defer sub.Close()
	var got []string
	for range n {
		select {
		case p := <-ch:
			got = append(got, p)
		case <-time.After(patience):
			t.Fatalf("received %q and nothing more in %v, want %d messages", got, patience, n)
		}
	}
	return got
}

func TestRunGivesAServerThatStoresMessages(t *testing.T) {
	s := stanserver.Run(t)
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") || s.ClusterID() != "ticketing" {
		t.Errorf("server %q, cluster %q", s.URL(), s.ClusterID())
	}
	sc := connect(t, s, "client")
	publish(t, sc, "a", "b")
	if got := received(t, sc, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("received %q", got)
	}
}

func TestStartRemovesItsOwnDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp) // Windows
	s, err := stanserver.Start(stanserver.FileStore())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, connect(t, s, "client"), "a")
	if entries, _ := os.ReadDir(tmp); len(entries) != 1 {
		t.Errorf("%d entries in the temporary directory, want the server's one", len(entries))
	}
	if err := s.Restart(); err != nil {
		t.Fatalf("restart of a running server: %v", err)
	}
	s.Shutdown()
	if entries, _ := os.ReadDir(tmp); len(entries) != 0 {
		t.Errorf("%v left in the temporary directory", entries)
	}
	if err := s.Restart(); err == nil || !strings.Contains(err.Error(), "StoreDir") {
		t.Errorf("restart without a directory: %v, want an error that names StoreDir", err)
	}
}

func TestStoreDirOutlivesTheServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for run := range 2 {
		s, err := stanserver.Start(stanserver.StoreDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		sc := connect(t, s, fmt.Sprintf("client-%d", run))
		publish(t, sc, fmt.Sprint(run))
		if got := received(t, sc, run+1); len(got) != run+1 {
			t.Errorf("run %d received %q", run, got)
		}
		s.Shutdown()
	}
	// The same files under another cluster's id are refused.
	s, err := stanserver.Start(stanserver.StoreDir(dir), stanserver.ClusterID("other"))
	if err == nil {
		s.Shutdown()
		t.Fatal("a server started on another cluster's files")
	}
	if !strings.Contains(err.Error(), "cluster ID") {
		t.Errorf("error %q does not name the cluster ID", err)
	}
}

func TestClusterIDIsWhatClientsHaveToName(t *testing.T) {
	s := stanserver.Run(t, stanserver.ClusterID("banking"))
	if s.ClusterID() != "banking" {
		t.Errorf("cluster id %q", s.ClusterID())
	}
	connect(t, s, "client")
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := stan.Connect("ticketing", "client", stan.NatsConn(nc), stan.ConnectWait(time.Second)); err == nil {
		t.Error("a client connected with another cluster's id")
	}
}

func TestServersOfParallelTestsDoNotMeet(t *testing.T) {
	for i := range 6 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := stanserver.Run(t)
			sc := connect(t, s, "client")
			publish(t, sc, fmt.Sprint(i))
			if got := received(t, sc, 1); got[0] != fmt.Sprint(i) {
				t.Errorf("received %q", got)
			}
		})
	}
}

func TestMaxPayloadAndPortAreTheServers(t *testing.T) {
	first := stanserver.Run(t)
	first.Shutdown()
	var port int
	if _, err := fmt.Sscanf(first.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	s := stanserver.Run(t, stanserver.Port(port), stanserver.MaxPayload(4096))
	if s.URL() != first.URL() {
		t.Errorf("URL %s, want %s", s.URL(), first.URL())
	}
	if got := connect(t, s, "client").NatsConn().MaxPayload(); got != 4096 {
		t.Errorf("max payload %d, want 4096", got)
	}
	if second, err := stanserver.Start(stanserver.Port(port)); err == nil {
		second.Shutdown()
		t.Error("two servers have one port")
	}
}

func TestConfigureChangesAnythingElseAtEveryStart(t *testing.T) {
	calls := 0
	s := stanserver.Run(t,
		stanserver.Configure(func(o *stand.Options) {
			calls++
			o.MaxChannels = 1
		}),
		stanserver.ConfigureNATS(func(o *natsd.Options) {
			o.Username, o.Password = "alice", "secret"
		}))
	for range 2 {
		if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
			if err == nil {
				nc.Close()
			}
			t.Errorf("connect without a user: %v, want %v", err, nats.ErrAuthorization)
		}
		nc, err := nats.Connect(s.URL(), nats.UserInfo("alice", "secret"))
		if err != nil {
			t.Fatal(err)
		}
		sc, err := stan.Connect(s.ClusterID(), "client", stan.NatsConn(nc))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, sc, "a")
		if err := sc.Publish("order:created", nil); err == nil {
			t.Error("a second channel was made")
		}
		if err := sc.Close(); err != nil {
			t.Error(err)
		}
		nc.Close()
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Errorf("Configure was called %d times for 3 starts", calls)
	}
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opt  stanserver.Option
		want string
	}{
		{"the store directory is a file", stanserver.StoreDir(file), file},
		{"an unknown store", stanserver.Configure(func(o *stand.Options) { o.StoreType = "tape" }), "tape"},
		{"NATS options that contradict each other", stanserver.ConfigureNATS(func(o *natsd.Options) { o.MaxPending = 1 }), "max_payload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nothingLeft := leaktest.Check(t)
			s, err := stanserver.Start(tt.opt)
			if err == nil {
				s.Shutdown()
				t.Fatal("it started")
			}
			if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			nothingLeft()
		})
	}
}

func TestTheServerLogsOnlyWhereItIsToldTo(t *testing.T) {
	var out testlog.Buffer
	s := stanserver.Run(t, stanserver.Logger(slog.New(slog.NewTextHandler(&out, nil))))
	connect(t, s, "client")
	s.Shutdown()
	for _, want := range []string{"Streaming Server is ready", "STREAM: Shutting down", "Initiating Shutdown"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, out.String())
		}
	}
}

func BenchmarkStartToFirstConnection(b *testing.B) {
	for b.Loop() {
		s, err := stanserver.Start()
		if err != nil {
			b.Fatal(err)
		}
		sc, err := stan.Connect(s.ClusterID(), "bench", stan.NatsURL(s.URL()))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := sc.Close(); err != nil {
			b.Fatal(err)
		}
		s.Shutdown()
		b.StartTimer()
	}
}
