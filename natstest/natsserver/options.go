package natsserver

import (
	"log/slog"
	"math"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Option changes how a server is started.
type Option func(*config)

type config struct {
	storeDir  string
	port      int
	log       *slog.Logger
	configure []func(*server.Options)
	candidate time.Duration // see candidatePatience
}

func newConfig(opts []Option) config {
	c := config{candidate: candidatePatience}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// StoreDir keeps JetStream's files below dir, which is made if it is missing
// and never removed. The servers of a cluster get a directory each below it.
// Default: a temporary directory that goes with the test, or with the Server.
func StoreDir(dir string) Option {
	return func(c *config) { c.storeDir = dir }
}

// Port listens for clients on that port of 127.0.0.1. Default: a free one. A
// cluster does not accept it.
func Port(port int) Option {
	return func(c *config) { c.port = port }
}

// MaxPayload is the largest message that the server accepts, in bytes. Default
// 1 MiB, as a server that is not configured.
func MaxPayload(bytes int) Option {
	return Configure(func(o *server.Options) { o.MaxPayload = int32(min(bytes, math.MaxInt32)) })
}

// Logger sends the server's log to log; its level decides about debug lines
// and the protocol trace, which is four below debug. Default: no log. In a
// test, slog.New(slog.NewTextHandler(t.Output(), nil)) makes it a part of the
// test's output.
func Logger(log *slog.Logger) Option {
	return func(c *config) { c.log = log }
}

// Configure calls f with the server's options, to change anything that has no
// option here: users and permissions, TLS, JetStream's limits. It is called at
// every start, also by [Server.Restart], with the options as they are made
// anew, and for every server of a cluster. Several are called in turn. f must
// not call the Server.
func Configure(f func(*server.Options)) Option {
	return func(c *config) { c.configure = append(c.configure, f) }
}
