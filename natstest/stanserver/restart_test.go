package stanserver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

func TestRestartOfAMemoryStoreComesBackEmpty(t *testing.T) {
	s := stanserver.Run(t)
	publish(t, connect(t, s, "before"), "old")
	url := s.URL()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.URL() != url {
		t.Errorf("URL %q after the restart, %q before", s.URL(), url)
	}
	sc := connect(t, s, "after")
	publish(t, sc, "new")
	if got := received(t, sc, 1); got[0] != "new" {
		t.Errorf("received %q first, want the new message", got)
	}
}

func TestRestartOfAFileStoreGoesOnWhereItWas(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("shut down before=%t", down), func(t *testing.T) {
			s := stanserver.Run(t, stanserver.FileStore())
			publish(t, connect(t, s, "before"), "old")
			if down {
				s.Shutdown()
				if nc, err := nats.Connect(s.URL()); err == nil {
					nc.Close()
					t.Fatal("a server answers after Shutdown")
				}
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			sc := connect(t, s, "after")
			publish(t, sc, "new")
			if got := received(t, sc, 2); !slices.Equal(got, []string{"old", "new"}) {
				t.Errorf("received %q", got)
			}
		})
	}
}

// A server is killed between making a file and writing its version, once in a
// while.
func TestAStoreWithFilesThatWereNeverWrittenIsGoneOnWith(t *testing.T) {
	for _, name := range []string{"subs.dat", "msgs.1.dat", "msgs.1.idx"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := stanserver.Run(t, stanserver.FileStore(), stanserver.StoreDir(dir))
			publish(t, connect(t, s, "before"), "old")
			s.Shutdown()
			channel := filepath.Join(dir, "half-made")
			if err := os.Mkdir(channel, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(channel, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			sc := connect(t, s, "after")
			if err := sc.Publish("half-made", nil); err != nil {
				t.Error(err)
			}
			publish(t, sc, "new")
			if got := received(t, sc, 2); !slices.Equal(got, []string{"old", "new"}) {
				t.Errorf("received %q", got)
			}
		})
	}
}

func TestASessionIsLostWithTheMemoryStoreAndKeptWithTheFileStore(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []stanserver.Option
		lost bool
	}{
		{"memory", nil, true},
		{"file", []stanserver.Option{stanserver.FileStore()}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stanserver.Run(t, tt.opts...)
			lost := make(chan error, 1)
			sc := connect(t, s, "client", stan.Pings(1, 100),
				stan.SetConnectionLostHandler(func(_ stan.Conn, err error) { lost <- err }))
			if err := s.RestartStreaming(); err != nil {
				t.Fatal(err)
			}
			if !tt.lost {
				publish(t, sc, "the session is known")
				return
			}
			select {
			case <-lost:
			case <-time.After(patience):
				t.Error("the client was not told that its session is gone")
			}
		})
	}
}

func TestRestartStreamingKeepsTheConnection(t *testing.T) {
	s := stanserver.Run(t, stanserver.FileStore())
	sc := connect(t, s, "client")
	before, carrier := s.Streaming(), s.NATS().NATS()
	if err := s.RestartStreaming(); err != nil {
		t.Fatal(err)
	}
	if got := sc.NatsConn().Stats().Reconnects; got != 0 {
		t.Errorf("the client had to reconnect %d times", got)
	}
	if s.Streaming() == before || before.State() != stand.Shutdown {
		t.Error("the streaming server before the restart goes on")
	}
	if s.NATS().NATS() != carrier {
		t.Error("the NATS server was restarted too")
	}
	s.Shutdown()
	if err := s.RestartStreaming(); err == nil || !strings.Contains(err.Error(), "use Restart") {
		t.Errorf("error %v after Shutdown, want one that says to use Restart", err)
	}
}

func TestRestartOfTheNATSServerAloneKeepsTheMemoryStoresSession(t *testing.T) {
	s := stanserver.Run(t)
	sc := connect(t, s, "client", stan.PubAckWait(250*time.Millisecond))
	publish(t, sc, "before")
	if err := s.NATS().Restart(); err != nil {
		t.Fatal(err)
	}
	// Until both sides are connected again a publish or its ack is lost.
	deadline := time.Now().Add(patience)
	for {
		err := sc.Publish("ticket:created", []byte("after"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("publish after the restart: %v", err)
		}
	}
	if got := received(t, sc, 2); got[0] != "before" {
		t.Errorf("received %q", got)
	}
}

func TestShutdownIsIdempotentAndWaits(t *testing.T) {
	nothingLeft := leaktest.Check(t)
	s, err := stanserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	sc, err := stan.Connect(s.ClusterID(), "client", stan.NatsURL(s.URL()))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, sc, "a", "b", "c")
	if err := sc.Close(); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(s.Shutdown)
	}
	wg.Wait()
	if state := s.Streaming().State(); state != stand.Shutdown {
		t.Errorf("the server is in state %v after Shutdown", state)
	}
	nothingLeft()
	if err := s.Restart(); err != nil {
		t.Errorf("restart of a memory store: %v", err)
	}
	s.Shutdown()
}
