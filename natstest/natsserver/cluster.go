package natsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/port"
	"github.com/nats-io/nats-server/v2/server"
)

// clusterPatience is how long the servers of a cluster get to find each other
// and to elect a leader. It takes a second or less; an election that fails,
// and that of a cluster that has run before, takes 4 to 9 s more.
const clusterPatience = 60 * time.Second

// candidatePatience is how long the one candidate of a new cluster gets. It is
// more than another server waits before it stands as well.
const candidatePatience = 10 * time.Second

// Cluster is a set of JetStream servers in this process that replicate to each
// other. They do not tell their clients of each other, so that a client that was
// given proxies (package netfault) stays with these, and one that was given a
// single server's address has no other. [Configure] can have them told, as in
// production: it sets Cluster.NoAdvertise to false. A Cluster's methods may be
// called concurrently.
type Cluster struct {
	servers []*Server
	routes  []*port.Reservation // the servers' ports for each other
	ownDir  string
}

// RunCluster starts n servers for a test, at least two; three keep a stream
// with three replicas. It returns when a leader is elected and every server is
// known to it and current, so that a replicated stream can be created at once.
// That takes a second or less; an election that fails, and that of a cluster that
// has run before in its [StoreDir], takes 4 to 9 s more. When the test ends the
// servers are stopped and waited for. A cluster that does not start fails the test.
func RunCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	c, err := StartCluster(n, append([]Option{StoreDir(t.TempDir())}, opts...)...)
	if err != nil {
		t.Fatalf("natsserver.RunCluster: %v", err)
	}
	t.Cleanup(c.Shutdown)
	return c
}

// StartCluster is [RunCluster] outside a test. The caller must call
// [Cluster.Shutdown].
func StartCluster(n int, opts ...Option) (*Cluster, error) {
	c, err := startCluster(n, newConfig(opts))
	if err != nil {
		return nil, fmt.Errorf("natsserver: cluster of %d: %w", n, err)
	}
	return c, nil
}

func startCluster(n int, cfg config) (*Cluster, error) {
	switch {
	case n < 2:
		return nil, errors.New("it needs at least two servers")
	case cfg.port != 0:
		return nil, errors.New("Port is for a single server: each of these has a free one")
	}
	c := new(Cluster)
	if cfg.storeDir == "" {
		dir, err := os.MkdirTemp("", "natsserver-")
		if err != nil {
			return nil, fmt.Errorf("cannot make a store directory: %w", err)
		}
		c.ownDir, cfg.storeDir = dir, dir
	}
	if err := c.start(n, cfg); err != nil {
		c.Shutdown()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(n int, cfg config) error {
	if err := c.prepare(n, cfg); err != nil {
		return err
	}
	if c.isNew() {
		err := c.startWithCandidate(n, cfg.candidate)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		// On a machine that is very busy another server stood as well. One
		// that was told to follow and leads does not count itself among the
		// peers, which no time mends. Begin anew, and leave it to the servers.
		c.stopServers()
		for _, s := range c.servers {
			if err := os.RemoveAll(s.cfg.storeDir); err != nil {
				return err
			}
		}
	}
	return c.startServers(clusterPatience)
}

// isNew reports whether no server has run in its directory before.
func (c *Cluster) isNew() bool {
	for _, s := range c.servers {
		if _, err := os.Stat(filepath.Join(s.cfg.storeDir, server.JetStreamStoreDir)); err == nil {
			return false
		}
	}
	return true
}

// startWithCandidate starts the servers so that the first is elected.
func (c *Cluster) startWithCandidate(n int, patience time.Duration) error {
	for _, s := range c.servers[1:] {
		if err := follow(s.cfg.storeDir, n); err != nil {
			return fmt.Errorf("cannot prepare a store directory: %w", err)
		}
	}
	return c.startServers(patience)
}

func (c *Cluster) startServers(patience time.Duration) error {
	for i, s := range c.servers {
		if err := s.start(); err != nil {
			return fmt.Errorf("server n%d: %w", i+1, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.WaitReady(ctx)
}

// follow has a new server wait for another one to become the first leader.
//
// A server without a past stands for election 100 to 800 ms after its start,
// and the first leader needs the votes of all. When two stand within the time
// that a disk takes to write a vote, which a busy machine draws out, each
// votes for itself, and they try again 4 to 9 s later. A server that finds the
// RAFT group's size and peers on its disk waits that long in the first place.
// So all but one find a group of n without peers, as it is at the beginning,
// and the one is elected. If the server kept this elsewhere, the start would
// be slow at times, and not fail.
func follow(storeDir string, n int) error {
	dir := filepath.Join(storeDir, server.JetStreamStoreDir, server.DEFAULT_SYSTEM_ACCOUNT, "_js_", "_meta_")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The group's size, the number of known peers, and whether the group is
	// part of a larger one, which is not determined.
	group := make([]byte, 4+4+2)
	binary.LittleEndian.PutUint32(group, uint32(n))
	return os.WriteFile(filepath.Join(dir, "peers.idx"), group, 0o600)
}

// prepare makes n servers that know each other, without starting them.
func (c *Cluster) prepare(n int, cfg config) error {
	// Every server has to know the routes of all when it starts: their number
	// is the size of the RAFT group.
	var routes []string
	for range n {
		p, err := port.Reserve(0)
		if err != nil {
			return fmt.Errorf("cannot have a port of %s for routes: %w", port.Loopback, err)
		}
		c.routes = append(c.routes, p)
		routes = append(routes, p.Addr())
	}
	for i, p := range c.routes {
		name := nodeName(i)
		one := cfg
		one.storeDir = filepath.Join(cfg.storeDir, name)
		one.configure = append([]func(*server.Options){join(name, p.Number, routes)}, cfg.configure...)
		s, err := newServer(one)
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
	}
	return nil
}

// nodeName is what the i-th server of a cluster is called.
func nodeName(i int) string { return "n" + strconv.Itoa(i+1) }

// join makes a server one of a cluster, which does not tell its clients of the
// others.
func join(name string, routePort int, routes []string) func(*server.Options) {
	return func(o *server.Options) {
		o.ServerName = name
		o.Cluster.Name = "natsserver"
		o.Cluster.Host = port.Loopback
		o.Cluster.Port = routePort
		o.Cluster.NoAdvertise = true
		for _, addr := range routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: addr})
		}
	}
}

// URL returns the addresses of all servers for clients, separated by commas.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.servers))
	for i, s := range c.servers {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Servers returns the cluster's servers, in a slice of the caller's own. One
// may be shut down and restarted by itself.
func (c *Cluster) Servers() []*Server { return slices.Clone(c.servers) }

// Leader returns the server that leads JetStream's meta group, or nil while
// none does.
func (c *Cluster) Leader() *Server {
	for _, s := range c.servers {
		if ns := s.runs(); ns != nil && ns.JetStreamIsLeader() {
			return s
		}
	}
	return nil
}

// WaitReady waits until a leader is elected and knows every server that runs,
// and each of them is current. It is for a cluster that lost its leader or got
// a server back. It returns the ctx's error, and what is missing, when ctx
// ends before.
func (c *Cluster) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		missing := c.missing()
		if missing == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not ready: %s: %w", missing, context.Cause(ctx))
		}
	}
}

// missing says what the cluster is not ready for, or is empty.
func (c *Cluster) missing() string {
	leader := c.Leader()
	if leader == nil {
		return "no leader is elected"
	}
	known := leader.NATS().JetStreamClusterPeers()
	for _, s := range c.servers {
		ns := s.runs()
		switch {
		case ns == nil:
		case !ns.JetStreamIsCurrent():
			return "server " + ns.Name() + " is behind"
		case !slices.Contains(known, ns.Name()):
			return "the leader does not know server " + ns.Name()
		}
	}
	return ""
}

// Shutdown stops all servers and waits for them. More calls do nothing. The
// store directory stays, except where StartCluster made one because it was
// given no StoreDir.
func (c *Cluster) Shutdown() {
	c.stopServers()
	if c.ownDir != "" {
		_ = os.RemoveAll(c.ownDir) // as in Server.Shutdown
	}
}

func (c *Cluster) stopServers() {
	var wg sync.WaitGroup
	for _, s := range c.servers {
		wg.Go(s.Shutdown)
	}
	wg.Wait()
}
