package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// broker is the servers and the paths to them.
type broker struct {
	servers []*process.Process
	proxies []*netfault.Proxy // one before each server
	urls    []string          // of the servers themselves
	dedupes bool

	base natswrap.Config // of the clients
	// read returns all that is stored, in its order, or why that could not be
	// read as a whole.
	read func(context.Context) ([]Entry, error)
	// leader returns the server that leads the stream, or the one that is
	// given where none does.
	leader func(context.Context, *process.Process) *process.Process
}

func startBroker(s settings, dir string) (*broker, error) {
	start := startJetStream
	if s.backend == natswrap.Stan {
		start = startStan
	}
	b, err := start(dir)
	if err != nil {
		return nil, err
	}
	for _, url := range b.urls {
		p, err := netfault.Start(url)
		if err != nil {
			b.stop()
			return nil, err
		}
		b.proxies = append(b.proxies, p)
		b.base.URLs = append(b.base.URLs, p.URL())
	}
	b.base.Backend = s.backend
	b.base.Subjects = []ticketing.Subject{subject}
	return b, nil
}

const (
	streamName = "SOAK"
	nodes      = 3
)

func startJetStream(dir string) (*broker, error) {
	c, err := natsserver.StartProcessCluster(roleNATS, filepath.Join(dir, roleNATS), nodes)
	if err != nil {
		return nil, err
	}
	b := &broker{dedupes: true, base: natswrap.Config{Stream: streamName, Replicas: nodes}}
	for _, p := range c.Servers() {
		b.servers = append(b.servers, p.Process)
		b.urls = append(b.urls, p.URL())
	}
	b.read = func(ctx context.Context) ([]Entry, error) { return readStream(ctx, b.urls) }
	b.leader = func(ctx context.Context, otherwise *process.Process) *process.Process {
		name := streamLeader(ctx, b.urls)
		i := slices.IndexFunc(c.Servers(), func(p *natsserver.Process) bool { return p.Name() == name })
		if i < 0 {
			return otherwise
		}
		return b.servers[i]
	}
	return b, nil
}

func startStan(dir string) (*broker, error) {
	p, err := stanserver.StartProcess(roleStan, filepath.Join(dir, roleStan))
	if err != nil {
		return nil, err
	}
	return &broker{
		servers: []*process.Process{p.Process},
		urls:    []string{p.URL()},
		base:    natswrap.Config{ClusterID: p.ClusterID()},
		read:    func(ctx context.Context) ([]Entry, error) { return readChannel(ctx, p.URL(), p.ClusterID()) },
		leader:  func(_ context.Context, only *process.Process) *process.Process { return only },
	}, nil
}

// config is a client's.
func (b *broker) config(clientID string, log *slog.Logger) natswrap.Config {
	c := b.base
	c.ClientID, c.Logger = clientID, log
	return c
}

func (b *broker) stop() {
	for _, p := range b.proxies {
		p.Close()
	}
	for _, s := range b.servers {
		s.Kill()
	}
}

// retryEvery is the pause between two looks at the broker.
const retryEvery = 200 * time.Millisecond

// readTimeout bounds one read of all that is stored.
const readTimeout = 30 * time.Second

// drained waits until every group has handled all that is stored, and returns
// that, or what is stored when ctx ends: the check will tell who is behind.
func (b *broker) drained(ctx context.Context, l *ledger) ([]Entry, error) {
	for {
		// The last look is after ctx ended.
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		stored, err := b.read(attempt)
		cancel()
		if err == nil && l.missing(stored) == 0 || ctx.Err() != nil {
			return stored, err
		}
		sleep(ctx, retryEvery)
	}
}
