package natsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/port"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

// Process is a NATS server in a child process, which can be killed, suspended
// and restarted. It keeps its port and its store directory. The methods of
// [process.Process] are its own; they may be called concurrently.
type Process struct {
	*process.Process
	name  string
	port  *port.Reservation
	route *port.Reservation // nil outside a cluster
}

// ProcessCluster is a set of JetStream servers in child processes that
// replicate to each other. As those of a [Cluster] they do not tell their clients
// of each other, unless an option of their [Role] has them do it.
type ProcessCluster struct{ servers []*Process }

// node is what a parent tells the role.
type node struct {
	Port     int
	StoreDir string

	// In a cluster.
	Name      string
	RoutePort int
	Routes    []string
	Follow    bool // see the function
}

// nodeVar is the variable that has the node, as JSON.
const nodeVar = "TICKETING_NATSSERVER_NODE"

// Role is a server as a child process: see [process.Dispatch]. The options are
// those of the server, but for the port and the store directory, which
// [RunProcess] and the like choose. It ends in order with SIGTERM.
func Role(opts ...Option) process.Role {
	return func(ctx context.Context) error {
		var n node
		if err := json.Unmarshal([]byte(os.Getenv(nodeVar)), &n); err != nil {
			return errors.New("natsserver: the role is not started by RunProcess, StartProcess or one for a cluster")
		}
		return n.run(ctx, opts)
	}
}

// run is the child's life.
func (n *node) run(ctx context.Context, opts []Option) error {
	if n.Follow && process.Restarts(ctx) == 0 {
		if err := follow(n.StoreDir, len(n.Routes)); err != nil {
			return fmt.Errorf("natsserver: cannot prepare the store directory: %w", err)
		}
	}
	if n.Name != "" {
		opts = append([]Option{Configure(join(n.Name, n.RoutePort, n.Routes))}, opts...)
	}
	s, err := Start(append(opts, Port(n.Port), StoreDir(n.StoreDir))...)
	if err != nil {
		return err
	}
	defer s.Shutdown()
	// One that comes back may be the first of those that do.
	if process.Restarts(ctx) == 0 && !s.awaitCluster(ctx, len(n.Routes)) {
		return nil
	}
	process.Ready(ctx, "")
	<-ctx.Done()
	return nil
}

// awaitCluster waits until a server of a cluster of n has a leader, or is one
// that knows all others. It returns false when ctx ends.
func (s *Server) awaitCluster(ctx context.Context, n int) bool {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for ns := s.NATS(); n > 0 && (!ns.JetStreamIsCurrent() || ns.JetStreamIsLeader() && len(ns.JetStreamClusterPeers()) < n); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// RunProcess starts a server for a test in a child process. The role is one
// that the test program's TestMain dispatches to [Role], by [process.Dispatch].
// When the test ends the process is killed. A server that does not start fails
// the test.
func RunProcess(t testing.TB, role string, opts ...process.Option) *Process {
	t.Helper()
	p, err := StartProcess(role, t.TempDir(), append([]process.Option{process.Output(t.Output())}, opts...)...)
	if err != nil {
		t.Fatalf("natsserver.RunProcess: %v", err)
	}
	t.Cleanup(p.Kill)
	return p
}

// StartProcess is [RunProcess] outside a test. The server's files are below
// dir. It returns when the server accepts connections and JetStream is ready.
// The caller must call Kill.
func StartProcess(role, dir string, opts ...process.Option) (*Process, error) {
	p, err := newProcess("")
	if err == nil {
		err = p.start(role, &node{StoreDir: dir}, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("natsserver: %w", err)
	}
	return p, nil
}

func newProcess(name string) (*Process, error) {
	p, err := port.Reserve(0)
	if err != nil {
		return nil, fmt.Errorf("cannot have a port of %s: %w", port.Loopback, err)
	}
	return &Process{name: name, port: p}, nil
}

func (p *Process) start(role string, n *node, opts []process.Option) (err error) {
	n.Port = p.port.Number
	config, err := json.Marshal(n)
	if err == nil {
		p.Process, err = process.Start(role, append(opts, process.Env(nodeVar+"="+string(config)))...)
	}
	return err
}

// URL returns the address for clients, "nats://127.0.0.1:port". It stays the
// same over restarts.
func (p *Process) URL() string { return "nats://" + p.port.Addr() }

// Name returns what the server is called in its cluster, and so in
// [jetstream.StreamInfo], or nothing outside one.
//
// [jetstream.StreamInfo]: https://pkg.go.dev/github.com/nats-io/nats.go/jetstream#StreamInfo
func (p *Process) Name() string { return p.name }

// RunProcessCluster starts n servers for a test in child processes, at least
// two, in a role as for [RunProcess]. It returns when a leader is elected and
// knows all servers, so that a replicated stream can be created at once, which
// takes as long as with [RunCluster]. When the test ends the processes are killed.
// A cluster that does not start fails the test.
//
// Restart returns when the one server accepts connections, which is before it
// has caught up with the others, and before a leader is elected where there is
// none: a client has to try again.
func RunProcessCluster(t testing.TB, role string, n int, opts ...process.Option) *ProcessCluster {
	t.Helper()
	c, err := StartProcessCluster(role, t.TempDir(), n, append([]process.Option{process.Output(t.Output())}, opts...)...)
	if err != nil {
		t.Fatalf("natsserver.RunProcessCluster: %v", err)
	}
	t.Cleanup(c.Kill)
	return c
}

// StartProcessCluster is [RunProcessCluster] outside a test. The servers' files
// are below dir, where no server was before. The options but for StartTimeout
// are those of each process. The caller must call [ProcessCluster.Kill].
func StartProcessCluster(role, dir string, n int, opts ...process.Option) (*ProcessCluster, error) {
	c, err := startProcessCluster(role, dir, n, opts)
	if err != nil {
		return nil, fmt.Errorf("natsserver: cluster of %d processes: %w", n, err)
	}
	return c, nil
}

func startProcessCluster(role, dir string, n int, opts []process.Option) (*ProcessCluster, error) {
	if n < 2 {
		return nil, errors.New("it needs at least two servers")
	}
	c := new(ProcessCluster)
	for i := range n {
		p, err := newProcess(nodeName(i))
		if err == nil {
			p.route, err = port.Reserve(0)
		}
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, p)
	}
	// As in Cluster.start.
	err := c.start(role, dir, candidatePatience, true, opts)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		for _, p := range c.servers {
			if err := os.RemoveAll(filepath.Join(dir, p.name)); err != nil {
				return nil, err
			}
		}
		err = c.start(role, dir, clusterPatience, false, opts)
	}
	return c, err
}

// start starts all servers at once, because each waits for the others. Where
// one is not ready in time none is left.
func (c *ProcessCluster) start(role, dir string, patience time.Duration, candidate bool, opts []process.Option) error {
	var routes []string
	for _, p := range c.servers {
		routes = append(routes, p.route.Addr())
	}
	errs := make([]error, len(c.servers))
	var wg sync.WaitGroup
	for i, p := range c.servers {
		n := &node{
			StoreDir:  filepath.Join(dir, p.name),
			Name:      p.name,
			RoutePort: p.route.Number,
			Routes:    routes,
			Follow:    candidate && i > 0,
		}
		own := append(opts[:len(opts):len(opts)], process.Name(p.name), process.StartTimeout(patience))
		wg.Go(func() { errs[i] = p.start(role, n, own) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err != nil {
		c.Kill()
	}
	return err
}

// URL returns the addresses of all servers for clients, separated by commas.
func (c *ProcessCluster) URL() string {
	urls := make([]string, len(c.servers))
	for i, p := range c.servers {
		urls[i] = p.URL()
	}
	return strings.Join(urls, ",")
}

// Servers returns the cluster's servers, in a slice of the caller's own.
func (c *ProcessCluster) Servers() []*Process { return append([]*Process(nil), c.servers...) }

// Kill kills all servers, as [process.Process.Kill] does.
func (c *ProcessCluster) Kill() {
	for _, p := range c.servers {
		if p.Process != nil {
			p.Kill()
		}
	}
}
