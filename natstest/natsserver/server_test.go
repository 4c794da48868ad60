package natsserver_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
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

const pollTick = 5 * time.Millisecond

// connect returns a connection that is closed with the test, and JetStream
// over it. A cluster on a busy machine may need longer than the client's default
// of 5 s for a stream.
func connect(t testing.TB, url string, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(60*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func createStream(t testing.TB, js jetstream.JetStream, replicas int) {
	t.Helper()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"event.>"}, Replicas: replicas,
	})
	if err != nil {
		t.Fatalf("create stream: %v", err)
	}
}

func publish(t testing.TB, js jetstream.JetStream, n int) {
	t.Helper()
	for i := range n {
		if _, err := js.Publish(t.Context(), "event.x", fmt.Append(nil, i)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

func stored(t testing.TB, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestRunGivesAServerThatStoresMessages(t *testing.T) {
	s := natsserver.Run(t)
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL %q is not on loopback", s.URL())
	}
	_, js := connect(t, s.URL())
	createStream(t, js, 1)
	publish(t, js, 3)
	if got := stored(t, js); got != 3 {
		t.Errorf("%d messages stored, want 3", got)
	}
	if !s.NATS().Running() {
		t.Error("the server that NATS returns does not run")
	}
}

func TestServersOfParallelTestsDoNotMeet(t *testing.T) {
	const servers = 8
	urls := make([]string, servers)
	t.Run("servers", func(t *testing.T) {
		for i := range servers {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				s := natsserver.Run(t)
				urls[i] = s.URL()
				_, js := connect(t, s.URL())
				createStream(t, js, 1)
				publish(t, js, i)
				if got := stored(t, js); got != uint64(i) {
					t.Errorf("%d messages stored, want %d", got, i)
				}
			})
		}
	})
	for _, url := range urls {
		if nc, err := nats.Connect(url); err == nil {
			nc.Close()
			t.Errorf("%s still answers after its test", url)
		}
	}
}

func TestStartRemovesOnlyItsOwnDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp) // Windows
	s, err := natsserver.Start()
	if err != nil {
		t.Fatal(err)
	}
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

	dir := filepath.Join(tmp, "mine")
	s, err = natsserver.Start(natsserver.StoreDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the caller's directory: %v", err)
	}
}

func TestMaxPayloadIsTheServers(t *testing.T) {
	s := natsserver.Run(t, natsserver.MaxPayload(512))
	nc, _ := connect(t, s.URL())
	if got := nc.MaxPayload(); got != 512 {
		t.Errorf("max payload %d, want 512", got)
	}
}

func TestPortIsWhereTheServerListens(t *testing.T) {
	first := natsserver.Run(t)
	port := first.NATS().Addr().(*net.TCPAddr).Port
	t.Run("taken", func(t *testing.T) {
		s, err := natsserver.Start(natsserver.Port(port))
		if err == nil {
			s.Shutdown()
			t.Fatal("two servers have one port")
		}
		if !strings.Contains(err.Error(), fmt.Sprint(port)) {
			t.Errorf("error %q does not name the port", err)
		}
	})
	t.Run("free", func(t *testing.T) {
		first.Shutdown()
		s := natsserver.Run(t, natsserver.Port(port))
		if s.URL() != first.URL() {
			t.Errorf("URL %s, want %s", s.URL(), first.URL())
		}
	})
}

func TestConfigureChangesAnythingElseAtEveryStart(t *testing.T) {
	calls := 0
	s := natsserver.Run(t, natsserver.Configure(func(o *server.Options) {
		calls++
		o.Users = []*server.User{{Username: "alice", Password: "secret"}}
	}))
	for range 2 {
		if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
			if err == nil {
				nc.Close()
			}
			t.Errorf("connect without a user: %v, want %v", err, nats.ErrAuthorization)
		}
		connect(t, s.URL(), nats.UserInfo("alice", "secret"))
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Errorf("Configure was called %d times for 3 starts", calls)
	}
}

func TestAServerWithoutJetStreamNeedsNoDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s, err := natsserver.Start(natsserver.Configure(func(o *server.Options) { o.JetStream = false }))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	connect(t, s.URL())
	if entries, _ := os.ReadDir(tmp); len(entries) != 0 {
		t.Errorf("%v made in the temporary directory", entries)
	}
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opt  natsserver.Option
		want string
	}{
		{"the store directory is a file", natsserver.StoreDir(file), "JetStream"},
		{"options that contradict each other", natsserver.Configure(func(o *server.Options) { o.MaxPending = 1 }), "max_payload"},
		{"an address that is not this host's", natsserver.Configure(func(o *server.Options) { o.Host = "192.0.2.1" }), "192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			nothingLeft := leaktest.Check(t)
			s, err := natsserver.Start(tt.opt)
			if err == nil {
				s.Shutdown()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if entries, _ := os.ReadDir(tmp); len(entries) != 0 {
				t.Errorf("%v left in the temporary directory", entries)
			}
			nothingLeft()
		})
	}
}

func TestTheServerLogsOnlyWhereItIsToldTo(t *testing.T) {
	var out testlog.Buffer
	s := natsserver.Run(t, natsserver.Logger(slog.New(slog.NewTextHandler(&out, nil))))
	connect(t, s.URL())
	s.Shutdown()
	for _, want := range []string{"Server is ready", "Initiating Shutdown"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, out.String())
		}
	}
}

type writeFunc func()

func (f writeFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func BenchmarkStartToFirstConnection(b *testing.B) {
	for b.Loop() {
		s, err := natsserver.Start()
		if err != nil {
			b.Fatal(err)
		}
		nc, err := nats.Connect(s.URL())
		if err != nil {
			b.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.AccountInfo(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		nc.Close()
		s.Shutdown()
		b.StartTimer()
	}
}
