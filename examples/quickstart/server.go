package main

import (
	"fmt"
	"log/slog"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// embedded is a broker in this process. A service has none: it reads its
// configuration with natswrap.FromEnv.
type embedded struct {
	config natswrap.Config
	stop   func()
}

func startServer(backend natswrap.Backend) (*embedded, error) {
	config := natswrap.Config{
		ClientID: "quickstart",
		Backend:  backend,
		Logger:   slog.New(slog.DiscardHandler), // the output is the example
	}
	switch backend {
	case natswrap.JetStream:
		s, err := natsserver.Start()
		if err != nil {
			return nil, err
		}
		config.URLs = []string{s.URL()}
		return &embedded{config, s.Shutdown}, nil
	case natswrap.Stan:
		s, err := stanserver.Start()
		if err != nil {
			return nil, err
		}
		config.URLs, config.ClusterID = []string{s.URL()}, s.ClusterID()
		return &embedded{config, s.Shutdown}, nil
	default:
		return nil, fmt.Errorf("unknown backend %q: it is jetstream or stan", backend)
	}
}
