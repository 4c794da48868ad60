package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// connectTimeout bounds what comes before the work, closeTimeout what comes
// after.
const (
	connectTimeout = 10 * time.Second
	closeTimeout   = 5 * time.Second
)

// config reads the environment. A client id is for services; this program has
// one of its own.
func (a *app) config() (natswrap.Config, error) {
	cfg, err := natswrap.FromLookup(func(name string) (string, bool) {
		v, ok := os.LookupEnv(name)
		if name == "NATS_CLIENT_ID" && strings.TrimSpace(v) == "" {
			return "ticketing", true
		}
		return v, ok
	})
	if err != nil {
		return cfg, usage(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	if a.verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(a.errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg, nil
}

// withClient calls f with a connection that makes and changes no stream.
func (a *app) withClient(ctx context.Context, f func(ctx context.Context, c *natswrap.Client) error) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cfg.ConnectOnly = true
	if cfg.Envelope == natswrap.CloudEvents && cfg.Source == "" {
		cfg.Source = cfg.ClientID // which is another each time, from here on
	}
	cfg.ClientID += "-cli-" + strings.ToLower(rand.Text()[:8]) // beside the service's own
	dialing, cancel := context.WithTimeoutCause(ctx, connectTimeout,
		fmt.Errorf("no answer within %v: %w", connectTimeout, context.DeadlineExceeded))
	defer cancel()
	c, err := natswrap.Connect(dialing, cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = c.Close(ctx) // what was published was confirmed
	}()
	return f(ctx, c)
}

func subject(s string) (ticketing.Subject, error) {
	if err := ticketing.Subject(s).Validate(); err != nil {
		return "", usage(err)
	}
	return ticketing.Subject(s), nil
}
