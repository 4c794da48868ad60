// Package natsserver runs real NATS servers with JetStream inside the process,
// for tests and examples: nothing to install, nothing to clean up. A single
// server starts in a few milliseconds, a cluster in a second or less, and in 4 to
// 9 s more when an election fails.
//
// A server listens on a free port of 127.0.0.1 and nowhere else, installs no
// signal handler and logs nothing. It is a test's own: [Run] and [RunCluster]
// stop it when the test ends. [Start] and [StartCluster] are for programs.
package natsserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/port"
	"github.com/ducnguyen96/ticketing-common/internal/serverlog"
	"github.com/nats-io/nats-server/v2/server"
)

// Limits of JetStream that no test meets by chance: they are the same on every
// machine, however small its disk, and a stream that reserves as much as in
// production can be created.
const (
	maxMemory = 1 << 40
	maxStore  = 1 << 40
)

// How long a start waits for a port of its own choosing that somebody else
// holds, and how often it looks.
const (
	rebindPatience = 5 * time.Second
	pollInterval   = 2 * time.Millisecond
)

// Server is a NATS server in this process. Its methods may be called
// concurrently.
type Server struct {
	cfg  config
	port *port.Reservation

	mu      sync.Mutex
	nats    *server.Server
	log     *serverlog.Logger
	url     string
	running bool
	ownDir  string // to remove, where no StoreDir was given
	removed bool
}

// Run starts a server for a test or a benchmark. When that ends the server is
// stopped and waited for, before its directory is removed. A server that does
// not start fails the test.
func Run(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := Start(append([]Option{StoreDir(t.TempDir())}, opts...)...)
	if err != nil {
		t.Fatalf("natsserver.Run: %v", err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Start starts a server and returns when it accepts connections and JetStream
// is ready. The caller must call [Server.Shutdown].
func Start(opts ...Option) (*Server, error) {
	s, err := newServer(newConfig(opts))
	if err != nil {
		return nil, fmt.Errorf("natsserver: %w", err)
	}
	if err := s.start(); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("natsserver: %w", err)
	}
	return s, nil
}

func newServer(c config) (*Server, error) {
	p, err := port.Reserve(c.port)
	if err != nil {
		return nil, fmt.Errorf("cannot have port %d of %s: %w", c.port, port.Loopback, err)
	}
	return &Server{cfg: c, port: p}, nil
}

// URL returns the address for clients, "nats://127.0.0.1:port", or with the
// scheme "tls". It stays the same across Shutdown and Restart. It has no user
// and no password.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// NATS returns the server itself, to look into it or to change it while it
// runs. After a Restart it is another one.
func (s *Server) NATS() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nats
}

// runs returns the server if it runs, or nil.
func (s *Server) runs() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil
	}
	return s.nats
}

// Shutdown stops the server as an operator would: clients are disconnected,
// files are written and closed. It returns when that is done and the server's
// goroutines are gone. More calls do nothing.
//
// The store directory stays, so that Restart goes on where the server was,
// except where Start made one because it was given no StoreDir: that is
// removed.
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

// Restart starts the server again on the same port and with the same store
// directory, after stopping it if it runs. It returns when the server accepts
// connections, and where it is one of a cluster, its routes; see
// [Cluster.WaitReady] for more.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return errors.New("natsserver: cannot restart: Shutdown removed the server's temporary directory; start it with StoreDir")
	}
	s.stop()
	if err := s.start(); err != nil {
		return fmt.Errorf("natsserver: cannot restart: %w", err)
	}
	return nil
}

func (s *Server) stop() {
	if !s.running {
		return
	}
	s.running = false
	stores := s.nats.JetStreamEnabled()
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	if stores {
		settle()
	}
	_ = s.log.Close() // never fails
}

// start makes a server and starts it. While somebody else has the port, it
// tries again: between two runs, or where the system has no way to reserve a
// port, an outgoing connection may have got it for a moment.
func (s *Server) start() error {
	deadline := time.Now().Add(rebindPatience)
	for {
		err := s.launch()
		if err == nil || !port.InUse(err) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval) // between two looks, until the deadline
	}
}

// launch is one attempt to start.
func (s *Server) launch() error {
	o, err := s.options()
	if err != nil {
		return err
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("the server refuses its options: %w", err)
	}
	log := serverlog.New(s.cfg.log)
	ns.SetLoggerV2(log, log.Debug(), log.Trace(), false)

	// Start returns when the server listens. ReadyForConnections would say the
	// same up to 25 ms later, because it looks only so often.
	ns.Start()
	s.nats, s.log, s.running = ns, log, true
	err = s.listening(o)
	if err != nil {
		s.stop()
		return err
	}
	s.url = ns.ClientURL()
	return nil
}

// options makes the server's options: ours, then the caller's changes.
func (s *Server) options() (*server.Options, error) {
	o := &server.Options{
		Host:               port.Loopback,
		Port:               s.port.Number,
		NoSigs:             true,
		NoLog:              true,
		JetStream:          true,
		StoreDir:           s.cfg.storeDir,
		JetStreamMaxMemory: maxMemory,
		JetStreamMaxStore:  maxStore,
	}
	for _, f := range s.cfg.configure {
		f(o)
	}
	if o.JetStream && o.StoreDir == "" {
		if s.ownDir == "" {
			dir, err := os.MkdirTemp("", "natsserver-")
			if err != nil {
				return nil, fmt.Errorf("cannot make a store directory: %w", err)
			}
			s.ownDir = dir
		}
		o.StoreDir = s.ownDir
	}
	if o.StoreDir != "" {
		o.StoreDir = filepath.Clean(o.StoreDir)
	}
	return o, nil
}

// listening returns nil when the server accepts clients, and routes if it has
// any, or why it does not.
func (s *Server) listening(o *server.Options) error {
	if err := s.log.Err(); err != nil {
		return err
	}
	if !o.DontListen && s.nats.Addr() == nil {
		return errors.New("the server does not listen, and does not say why")
	}
	if o.Cluster.Port == 0 {
		return nil
	}
	// The server opens its route port in a goroutine.
	deadline := time.Now().Add(rebindPatience)
	for s.nats.ClusterAddr() == nil {
		if err := s.log.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not listen for routes after %v", rebindPatience)
		}
		time.Sleep(pollInterval) // between two looks, until the deadline
	}
	return nil
}
