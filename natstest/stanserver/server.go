// Package stanserver runs a real NATS Streaming server inside the process, for
// tests and examples: nothing to install, nothing to clean up, started in a
// few milliseconds.
//
// The server listens on a free port of 127.0.0.1 and nowhere else, keeps
// messages in memory unless it is told otherwise, installs no signal handler
// and logs nothing. [Run] stops it when the test ends; [Start] is for
// programs.
//
// NATS Streaming reached its end of life in 2023. Package natsserver runs its
// successor, JetStream.
package stanserver

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/serverlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats-streaming-server/stores"
)

// Server is a NATS Streaming server in this process, with the NATS server that
// carries it. Its methods may be called concurrently.
type Server struct {
	cfg  config
	nats *natsserver.Server
	auth atomic.Pointer[natsd.Options] // what the streaming server connects with

	mu        sync.Mutex
	streaming *stand.StanServer
	log       *serverlog.Logger
	running   bool   // the streaming server
	ownDir    string // to remove, where FileStore was given no StoreDir
	removed   bool
}

// Run starts a server for a test or a benchmark. When that ends the server is
// stopped and waited for, before its directory is removed. A server that does
// not start fails the test.
func Run(t testing.TB, opts ...Option) *Server {
	t.Helper()
	c := newConfig(opts)
	if c.fileStore && c.storeDir == "" {
		c.storeDir = t.TempDir()
	}
	s, err := start(c)
	if err != nil {
		t.Fatalf("stanserver.Run: %v", err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Start starts a server and returns when it accepts clients. The caller must
// call [Server.Shutdown].
func Start(opts ...Option) (*Server, error) {
	s, err := start(newConfig(opts))
	if err != nil {
		return nil, fmt.Errorf("stanserver: %w", err)
	}
	return s, nil
}

func start(c config) (*Server, error) {
	s := &Server{cfg: c}
	if c.fileStore && c.storeDir == "" {
		dir, err := os.MkdirTemp("", "stanserver-")
		if err != nil {
			return nil, fmt.Errorf("cannot make a store directory: %w", err)
		}
		s.ownDir, s.cfg.storeDir = dir, dir
	}
	// A NATS server of ours, instead of the one that the streaming server
	// would embed: it keeps its port, and is not waited for in steps of 25 ms.
	var err error
	s.nats, err = natsserver.Start(append(c.nats, natsserver.Configure(s.configureNATS))...)
	if err == nil {
		err = s.startStreaming()
	}
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// configureNATS runs after the caller's changes, at every start of the NATS
// server.
func (s *Server) configureNATS(o *natsd.Options) {
	o.JetStream = false
	s.auth.Store(&natsd.Options{Username: o.Username, Password: o.Password, Authorization: o.Authorization})
}

// URL returns the address for clients, "nats://127.0.0.1:port", or with the
// scheme "tls". It stays the same across Shutdown and Restart. It has no user
// and no password.
func (s *Server) URL() string { return s.nats.URL() }

// ClusterID returns the cluster id that clients connect with.
func (s *Server) ClusterID() string { return s.cfg.clusterID }

// NATS returns the NATS server that carries the streaming server. Restarting
// it alone is what a network outage looks like: sessions and subscriptions
// survive.
func (s *Server) NATS() *natsserver.Server { return s.nats }

// Streaming returns the streaming server itself, to look into it. After a
// Restart it is another one.
func (s *Server) Streaming() *stand.StanServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streaming
}

// Shutdown stops the server as an operator would: files are written and
// closed, clients are disconnected and not told more than that. It returns
// when that is done and the server's goroutines are gone. More calls do
// nothing.
//
// What is in a file store stays, so that Restart goes on where the server was,
// except where Start made the directory because it was given no StoreDir: that
// is removed.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	if s.ownDir != "" {
		// What cannot be removed is a temporary directory's: nothing depends
		// on it.
		_ = os.RemoveAll(s.ownDir)
		s.ownDir, s.removed = "", true
	}
}

// Restart starts the server again on the same port, after stopping it if it
// runs, and returns when it accepts clients. With a file store it goes on
// where it was. With the memory store it comes back empty: it knows no
// message, no durable position, and none of the sessions that its clients
// think they have.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return errors.New("stanserver: cannot restart: Shutdown removed the server's temporary directory; start it with StoreDir")
	}
	s.stop()
	if err := s.nats.Restart(); err != nil {
		return fmt.Errorf("stanserver: cannot restart: %w", err)
	}
	if err := s.startStreaming(); err != nil {
		s.stop()
		return fmt.Errorf("stanserver: cannot restart: %w", err)
	}
	return nil
}

// RestartStreaming restarts the streaming server alone, while the NATS server
// stays up: clients keep their connection, and only their sessions may be
// gone.
func (s *Server) RestartStreaming() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return errors.New("stanserver: cannot restart the streaming server: it is down; use Restart")
	}
	s.stopStreaming()
	if err := s.startStreaming(); err != nil {
		s.stop()
		return fmt.Errorf("stanserver: cannot restart the streaming server: %w", err)
	}
	return nil
}

// startStreaming starts a streaming server over the NATS server that runs.
func (s *Server) startStreaming() error {
	if s.cfg.fileStore {
		if err := removeUnwritten(s.cfg.storeDir); err != nil {
			return fmt.Errorf("the store cannot be looked through: %w", err)
		}
	}
	log := serverlog.New(s.cfg.log)
	o := stand.GetDefaultOptions()
	o.ID = s.cfg.clusterID
	o.NATSServerURL = s.nats.URL()
	o.CustomLogger = log
	o.Debug, o.Trace = log.Debug(), log.Trace()
	o.StoreType = stores.TypeMemory
	if s.cfg.fileStore {
		o.StoreType = stores.TypeFile
		o.FilestoreDir = s.cfg.storeDir
		o.FileStoreOpts.DoSync = false
	}
	for _, f := range s.cfg.streaming {
		f(o)
	}
	streaming, err := stand.RunServerWithOpts(o, s.auth.Load())
	if err != nil {
		_ = log.Close() // never fails
		return fmt.Errorf("the streaming server does not start: %w", err)
	}
	s.streaming, s.log, s.running = streaming, log, true
	return nil
}

// stop stops both servers, the streaming server first, as one that embeds its
// NATS server does.
func (s *Server) stop() {
	s.stopStreaming()
	if s.nats != nil {
		s.nats.Shutdown()
	}
}

func (s *Server) stopStreaming() {
	if !s.running {
		return
	}
	s.running = false
	s.streaming.Shutdown()
	_ = s.log.Close() // never fails
}
