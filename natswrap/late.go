package natswrap

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

// The pauses between attempts to reach a broker that is not there yet.
const (
	lateMinPause = 50 * time.Millisecond
	lateMaxPause = 2 * time.Second
)

// dialLate dials until the broker is there, or fails with what waiting does not
// mend, or ctx ends.
func dialLate(ctx context.Context, cfg Config, dial connector) (backend, error) {
	for attempt := 0; ; attempt++ {
		b, err := dial(ctx, cfg)
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return b, err
		}
		level := slog.LevelDebug
		if attempt == 0 {
			level = slog.LevelWarn
		}
		cfg.logger().Log(ctx, level, "waiting for the broker", "error", err)
		pause := min(lateMinPause<<min(attempt, 10), lateMaxPause)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// unreachable reports whether err, of a first connect, says that nobody
// answered. Everything else is wrong with the configuration, or with the
// account, and is so the next time.
func unreachable(err error) bool {
	if errors.Is(err, nats.ErrAuthorization) { // of several servers one may be down as well
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" // what the peer has against our TLS
	}
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, stan.ErrConnectReqTimeout) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF)
}
