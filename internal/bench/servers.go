package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

// The kinds of server, which are this program's roles as a child.
const (
	kindJetStream = "jetstream"
	kindStreaming = "streaming"
)

var roles = process.Roles{
	kindJetStream: natsserver.Role(),
	kindStreaming: stanserver.Role(),
}

// child is a server, or a cluster of them, in processes of its own.
type child interface {
	URL() string
	Kill()
}

// server is a child with its directory.
type server[C child] struct {
	child C
	dir   string
}

// startServer starts a child with a directory of its own.
func startServer[C child](start func(dir string) (C, error)) (*server[C], error) {
	dir, err := os.MkdirTemp("", "ticketing-bench-")
	if err != nil {
		return nil, err
	}
	c, err := start(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &server[C]{c, dir}, nil
}

func startJetStream() (*server[*natsserver.Process], error) {
	return startServer(func(dir string) (*natsserver.Process, error) {
		return natsserver.StartProcess(kindJetStream, dir)
	})
}

func startStreaming() (*server[*stanserver.Process], error) {
	return startServer(func(dir string) (*stanserver.Process, error) {
		return stanserver.StartProcess(kindStreaming, dir)
	})
}

func startCluster() (*server[*natsserver.ProcessCluster], error) {
	return startServer(func(dir string) (*natsserver.ProcessCluster, error) {
		return natsserver.StartProcessCluster(kindJetStream, dir, 3)
	})
}

// stop ends the server and removes what it has stored.
func (s *server[C]) stop() error {
	s.child.Kill()
	return os.RemoveAll(s.dir)
}

// warnings is the log of this module's clients: what they do as usual is of no
// interest here.
var warnings = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

// errorsOnly is their log where servers are killed.
var errorsOnly = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
