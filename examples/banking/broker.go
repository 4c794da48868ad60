package main

import (
	"log/slog"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/bank"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// broker is a server in a process of its own, which keeps its address and its
// files over a restart.
type broker struct {
	server
	address
}

type server interface {
	Kill()
	Restart() error
}

// address is what a service has to know to connect. A service that is not an
// example reads its configuration with natswrap.FromEnv.
type address struct {
	Backend   natswrap.Backend
	URL       string
	ClusterID string // on NATS Streaming
}

// startBroker starts a broker whose files are in dir.
func startBroker(o options, dir string) (*broker, error) {
	role, out := string(o.backend), process.Output(o.stderr)
	if o.backend == natswrap.Stan {
		p, err := stanserver.StartProcess(role, dir, out)
		if err != nil {
			return nil, err
		}
		return &broker{p, address{o.backend, p.URL(), p.ClusterID()}}, nil
	}
	p, err := natsserver.StartProcess(role, dir, out)
	if err != nil {
		return nil, err
	}
	return &broker{p, address{o.backend, p.URL(), ""}}, nil
}

// config is the configuration of the service called name.
func (a address) config(name string, log *slog.Logger) natswrap.Config {
	return natswrap.Config{
		URLs:      []string{a.URL},
		Backend:   a.Backend,
		ClusterID: a.ClusterID,
		ClientID:  name,
		Subjects:  []ticketing.Subject{bank.SubjectDepositReceived},
		Logger:    log,
	}
}
