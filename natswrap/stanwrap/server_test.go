package stanwrap_test

import (
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats-streaming-server/stores"
)

const clusterID = "test-cluster"

type testServer struct{ *server.StanServer }

func (s *testServer) URL() string { return s.ClientURL() }

func runServer(t testing.TB, change func(*server.Options, *natsd.Options)) *testServer {
	t.Helper()
	o := server.GetDefaultOptions()
	o.ID = clusterID
	n := server.DefaultNatsServerOptions
	n.Port = -1
	n.NoLog = true
	if change != nil {
		change(o, &n)
	}
	s, err := server.RunServerWithOpts(o, &n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return &testServer{s}
}

var _ = stores.TypeMemory
