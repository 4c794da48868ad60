//go:build unix

package stanserver_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

// session connects to a server that is another process.
func session(t testing.TB, p *stanserver.Process, clientID string) stan.Conn {
	t.Helper()
	nc, err := nats.Connect(p.URL(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	sc, err := stan.Connect(p.ClusterID(), clientID, stan.NatsConn(nc))
	if err != nil {
		nc.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close() // before the session: see connect
		_ = sc.Close()
	})
	return sc
}

func TestAKilledServerKeepsWhatItsStoreKeeps(t *testing.T) {
	for _, tt := range []struct {
		role, clusterID string
		want            []string
	}{
		{"memory", "ticketing", []string{"new"}},
		{"files", "orders", []string{"old 1", "old 2", "new"}},
	} {
		t.Run(tt.role, func(t *testing.T) {
			p := stanserver.RunProcess(t, tt.role)
			if p.ClusterID() != tt.clusterID {
				t.Errorf("cluster id %q, want %q", p.ClusterID(), tt.clusterID)
			}
			publish(t, session(t, p, "before"), "old 1", "old 2")
			url := p.URL()
			if err := p.Restart(); err != nil {
				t.Fatal(err)
			}
			if p.URL() != url {
				t.Errorf("URL %q after the restart, %q before", p.URL(), url)
			}
			sc := session(t, p, "after")
			publish(t, sc, "new")
			if got := received(t, sc, len(tt.want)); !slices.Equal(got, tt.want) {
				t.Errorf("received %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAProcessThatCannotBeAServerSaysSo(t *testing.T) {
	if p, err := stanserver.StartProcess("no role", t.TempDir()); err == nil {
		p.Kill()
		t.Error("a server of an unknown role started")
	}
	if err := stanserver.Role()(t.Context()); err == nil || !strings.Contains(err.Error(), "RunProcess") {
		t.Errorf("a role without a parent: %v", err)
	}
}
