package natswrap

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

// The pauses between attempts to reach a broker that is not there yet.
const (
	lateMinPause = 50 * time.Millisecond
	lateMaxPause = 2 * time.Second
)

// lateWarning is how often the log says at level Warn what is waited for. What
// keeps the broker away may change meanwhile.
const lateWarning = time.Minute

// dialLate dials until the broker is there, or fails with what waiting does not
// mend, or ctx ends.
func dialLate(ctx context.Context, cfg Config, dial connector) (backend, error) {
	var warned time.Time
	for attempt := 0; ; attempt++ {
		b, err := dial(ctx, cfg)
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return b, err
		}
		level := slog.LevelDebug
		if now := time.Now(); now.Sub(warned) >= lateWarning {
			level, warned = slog.LevelWarn, now
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

// unreachable reports whether err, of a first connect, says that the broker is
// not there: nobody answered, what answered is no broker yet, or the connection
// was lost on the way. Everything else is wrong with the configuration, or with
// the account, and is so the next time.
//
// NATS without JetStream counts as a server that has not come so far: the two
// look the same from here.
func unreachable(err error) bool {
	if errors.Is(err, nats.ErrAuthorization) { // of several servers one may be down as well
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" // what the peer has against our TLS
	}
	var dns *net.DNSError
	return errors.As(err, &dns) || slices.ContainsFunc(notThere, func(target error) bool { return errors.Is(err, target) })
}

// notThere are the errors of a broker that may come, or come back.
var notThere = []error{
	nats.ErrNoServers, nats.ErrTimeout, os.ErrDeadlineExceeded, io.EOF,
	// The connection was made, and lost before the broker was reached.
	ticketing.ErrNotConnected, nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrConnectionClosed,
	// It holds, and the broker behind it does not answer, or says that it is not ready.
	stan.ErrConnectReqTimeout, nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, jswrap.ErrNotReady,
}
