package stanserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/port"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

// Process is a NATS Streaming server in a child process, with the NATS server
// that carries it, which can be killed, suspended and restarted. It keeps its
// port, and its store directory where its role has a [FileStore]. The methods
// of [process.Process] are its own; they may be called concurrently.
type Process struct {
	*process.Process
	port *port.Reservation
}

// node is what a parent tells the role.
type node struct {
	Port     int
	StoreDir string
}

// nodeVar is the variable that has the node, as JSON.
const nodeVar = "TICKETING_STANSERVER_NODE"

// Role is a server as a child process: see [process.Dispatch]. The options are
// those of the server, but for the port, and the directory of a [FileStore],
// which [RunProcess] and [StartProcess] choose. It ends in order with SIGTERM.
func Role(opts ...Option) process.Role {
	return func(ctx context.Context) error {
		var n node
		if err := json.Unmarshal([]byte(os.Getenv(nodeVar)), &n); err != nil {
			return errors.New("stanserver: the role is not started by RunProcess or StartProcess")
		}
		opts := append(opts[:len(opts):len(opts)], Port(n.Port))
		if newConfig(opts).fileStore {
			opts = append(opts, StoreDir(n.StoreDir))
		}
		s, err := Start(opts...)
		if err != nil {
			return err
		}
		defer s.Shutdown()
		process.Ready(ctx, s.ClusterID())
		<-ctx.Done()
		return nil
	}
}

// RunProcess starts a server for a test in a child process. The role is one
// that the test program's TestMain dispatches to [Role], by [process.Dispatch].
// When the test ends the process is killed. A server that does not start fails
// the test.
func RunProcess(t testing.TB, role string, opts ...process.Option) *Process {
	t.Helper()
	p, err := StartProcess(role, t.TempDir(), append([]process.Option{process.Output(t.Output())}, opts...)...)
	if err != nil {
		t.Fatalf("stanserver.RunProcess: %v", err)
	}
	t.Cleanup(p.Kill)
	return p
}

// StartProcess is [RunProcess] outside a test. A file store is in dir. It
// returns when the server accepts clients. The caller must call Kill.
func StartProcess(role, dir string, opts ...process.Option) (*Process, error) {
	p, err := startProcess(role, dir, opts)
	if err != nil {
		return nil, fmt.Errorf("stanserver: %w", err)
	}
	return p, nil
}

func startProcess(role, dir string, opts []process.Option) (*Process, error) {
	reserved, err := port.Reserve(0)
	if err != nil {
		return nil, fmt.Errorf("cannot have a port of %s: %w", port.Loopback, err)
	}
	config, err := json.Marshal(node{reserved.Number, dir})
	if err != nil {
		return nil, err
	}
	p, err := process.Start(role, append(opts, process.Env(nodeVar+"="+string(config)))...)
	if err != nil {
		return nil, err
	}
	return &Process{p, reserved}, nil
}

// URL returns the address for clients, "nats://127.0.0.1:port". It stays the
// same over restarts.
func (p *Process) URL() string { return "nats://" + p.port.Addr() }

// ClusterID returns the cluster id that clients connect with.
func (p *Process) ClusterID() string { return p.Ready() }
