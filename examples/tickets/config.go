package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// config is the service's environment. Beside what [natswrap.FromEnv] reads:
//
//	PORT              of HTTP, 3000; 0 takes a free one
//	JWT_KEY           that the auth service signs with, every byte of it; unset
//	                  or empty: a random one
//	TICKETS_DB        the database's file; unset: in memory
//	SHUTDOWN_TIMEOUT  from the signal to the end, 25s; Kubernetes kills after 30
//	LOG_LEVEL         debug, info, warn or error; info, with the embedded broker debug
type config struct {
	broker   natswrap.Config
	embedded bool // NATS_URL is unset
	port     int
	jwtKey   string
	db       string
	shutdown time.Duration
	logLevel slog.Level
}

// readConfig reports all problems together, by the variable's name.
func readConfig(lookup func(name string) (string, bool)) (config, error) {
	c := config{port: 3000, db: store.Memory, shutdown: natswrap.DefaultShutdownTimeout}
	var errs []error
	get := func(name string) string {
		value, _ := lookup(name)
		return strings.TrimSpace(value)
	}
	c.embedded = get("NATS_URL") == ""
	if !c.embedded {
		var err error
		if c.broker, err = natswrap.FromLookup(lookup); err != nil {
			errs = append(errs, err)
		}
	}
	if v := get("PORT"); v != "" {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			errs = append(errs, errors.New("PORT: is not a number from 0 to 65535"))
		}
		c.port = int(n)
	}
	c.jwtKey, _ = lookup("JWT_KEY") // not trimmed: the auth service does not, either
	c.db = cmp.Or(get("TICKETS_DB"), store.Memory)
	if v := get("SHUTDOWN_TIMEOUT"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			errs = append(errs, errors.New("SHUTDOWN_TIMEOUT: is not a duration such as 25s"))
		}
		c.shutdown = d
	}
	if c.embedded {
		c.logLevel = slog.LevelDebug // it is being looked at
	}
	if v := get("LOG_LEVEL"); v != "" {
		if err := c.logLevel.UnmarshalText([]byte(v)); err != nil {
			errs = append(errs, errors.New("LOG_LEVEL: is not debug, info, warn or error"))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return config{}, fmt.Errorf("the environment has to be changed:\n%w", err)
	}
	c.broker.ShutdownTimeout = c.shutdown
	return c, nil
}
