package main

import (
	"fmt"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// startBroker starts a broker in this process and points cfg at it. Its files
// are in a temporary directory, and go with it.
func startBroker(cfg *natswrap.Config, backend string) (stop func(), err error) {
	cfg.ClientID = "tickets"
	switch cfg.Backend = natswrap.Backend(backend); cfg.Backend {
	case natswrap.JetStream, "":
		s, err := natsserver.Start()
		if err != nil {
			return nil, err
		}
		cfg.Backend, cfg.URLs = natswrap.JetStream, []string{s.URL()}
		return s.Shutdown, nil
	case natswrap.Stan:
		s, err := stanserver.Start(stanserver.FileStore())
		if err != nil {
			return nil, err
		}
		cfg.URLs, cfg.ClusterID = []string{s.URL()}, s.ClusterID()
		return s.Shutdown, nil
	default:
		return nil, fmt.Errorf("unknown backend %q: it is jetstream or stan", backend)
	}
}
