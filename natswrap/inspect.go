package natswrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

// Finding is something that [Inspect] looked at.
type Finding struct {
	Check string // what: "connection", "stream TICKETING"
	// Level is how bad it is: Info is fine, Warn may be meant so, and with an
	// Error events are lost or a service does not start.
	Level  slog.Level
	Detail string
}

// Inspect looks at a configuration and at the broker that it names, and changes
// nothing there: whether the configuration is valid and the connection can be
// made; on NATS Streaming whether the client id is free; on JetStream whether the
// stream stores the subjects, dead letters have a place, and the groups'
// consumers are as listeners need them. It is for whoever is on call; a service
// has [Client.Healthy].
//
// On NATS Streaming it registers with the client id for a moment. One that a
// client has which still answers the server is left alone.
//
// No finding has a password in it.
func Inspect(ctx context.Context, cfg Config) []Finding {
	if ctx == nil {
		return []Finding{{"configuration", slog.LevelError, errNilContext.Error()}}
	}
	var found []Finding
	report := func(check string, level slog.Level, detail string) {
		found = append(found, Finding{check, level, detail})
	}
	if err := cfg.Validate(); err != nil {
		report("configuration", slog.LevelError, err.Error())
		return found
	}
	report("configuration", slog.LevelInfo, cfg.String())
	cfg.WaitForConnection, cfg.Logger = false, slog.New(slog.DiscardHandler)
	if cfg.backend() == Stan {
		inspectStan(ctx, cfg, report)
	} else {
		inspectJetStream(ctx, cfg, report)
	}
	return found
}

func inspectJetStream(ctx context.Context, cfg Config, report jswrap.Report) {
	jc := cfg.jetStream()
	jc.ConnectOnly = true
	start := time.Now()
	c, err := jswrap.Connect(ctx, jc)
	if err != nil {
		report("connection", slog.LevelError, err.Error())
		return
	}
	defer closeInspected(ctx, c)
	reportConnection(c, time.Since(start), report)
	c.Inspect(ctx, report)
}

func inspectStan(ctx context.Context, cfg Config, report jswrap.Report) {
	sc := cfg.stan()
	sc.ClientIDWait = time.Nanosecond
	start := time.Now()
	c, err := stanwrap.Connect(ctx, sc)
	switch {
	case errors.Is(err, stanwrap.ErrClientIDInUse):
		report("connection", slog.LevelInfo, fmt.Sprintf("NATS Streaming cluster %s answers", sc.ClusterID))
		report("client id", slog.LevelWarn, fmt.Sprintf("%s is in use by a client that runs: this service's, or another's that has to have an id of its own", sc.ClientID))
		return
	case err != nil:
		report("connection", slog.LevelError, err.Error())
		return
	}
	defer closeInspected(ctx, c)
	reportConnection(c, time.Since(start), report)
	report("client id", slog.LevelInfo, sc.ClientID+" is free")
	report("channels", slog.LevelInfo, "are made at their first use; the server does not list them to its clients")
}

func reportConnection(b backend, took time.Duration, report jswrap.Report) {
	nc := b.Conn()
	report("connection", slog.LevelInfo, fmt.Sprintf("%s, nats-server %s, connected in %v",
		nc.ConnectedUrlRedacted(), nc.ConnectedServerVersion(), took.Round(time.Microsecond)))
}

// closeInspected closes b, also where ctx has ended.
func closeInspected(ctx context.Context, b backend) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = b.Close(ctx) // nothing was sent or received
}
