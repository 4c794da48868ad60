package stanserver

import (
	"log/slog"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
)

// DefaultClusterID is the cluster id of a server that is given none.
const DefaultClusterID = "ticketing"

// Option changes how a server is started.
type Option func(*config)

type config struct {
	clusterID string
	fileStore bool
	storeDir  string
	log       *slog.Logger
	streaming []func(*stand.Options)
	nats      []natsserver.Option
}

func newConfig(opts []Option) config {
	c := config{clusterID: DefaultClusterID}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// ClusterID names the cluster, which clients have to name when they connect.
// Default [DefaultClusterID].
func ClusterID(id string) Option {
	return func(c *config) { c.clusterID = id }
}

// FileStore keeps messages, sessions and durable positions in files, in a
// temporary directory that goes with the test, or with the Server, so that
// they outlive a Restart. The files are not synced to disk: only a crash of
// the machine could tell. Default: the memory store, which comes back empty.
func FileStore() Option {
	return func(c *config) { c.fileStore = true }
}

// StoreDir is [FileStore] in dir, which is made if it is missing and never
// removed.
func StoreDir(dir string) Option {
	return func(c *config) { c.fileStore, c.storeDir = true, dir }
}

// Port listens for clients on that port of 127.0.0.1. Default: a free one.
func Port(port int) Option {
	return func(c *config) { c.nats = append(c.nats, natsserver.Port(port)) }
}

// MaxPayload is the largest message that the server accepts, in bytes. Default
// 1 MiB. NATS Streaming adds some 100 bytes of its own to every message.
func MaxPayload(bytes int) Option {
	return func(c *config) { c.nats = append(c.nats, natsserver.MaxPayload(bytes)) }
}

// Logger sends the server's log to log; see [natsserver.Logger]. Default: no
// log.
func Logger(log *slog.Logger) Option {
	return func(c *config) {
		c.log = log
		c.nats = append(c.nats, natsserver.Logger(log))
	}
}

// Configure calls f with the streaming server's options, to change anything
// that has no option here: limits, heartbeats to clients. It is called at
// every start, also by [Server.Restart], with the options as they are made
// anew. Several are called in turn. f must not call the Server.
func Configure(f func(*stand.Options)) Option {
	return func(c *config) { c.streaming = append(c.streaming, f) }
}

// ConfigureNATS is [Configure] for the NATS server that carries the streaming
// server: users and permissions, TLS. The streaming server connects to it like
// a client; it takes over a Username, Password or Authorization token, and
// needs its own share of anything else.
func ConfigureNATS(f func(*natsd.Options)) Option {
	return func(c *config) { c.nats = append(c.nats, natsserver.Configure(f)) }
}
