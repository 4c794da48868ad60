package natswrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func TestWaitingIsForBrokersThatMayComeAndNotForWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		err  error
		wait bool
	}{
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		{&net.DNSError{}, true},
		{nats.ErrNoServers, true},
		{nats.ErrTimeout, true},
		{os.ErrDeadlineExceeded, true},
		{io.EOF, true},
		{fmt.Errorf("%w: the connection was lost before NATS Streaming was reached", ticketing.ErrNotConnected), true},
		{nats.ErrReconnectBufExceeded, true},
		{nats.ErrDisconnected, true},
		{nats.ErrConnectionClosed, true},
		{stan.ErrConnectReqTimeout, true},
		{nats.ErrNoResponders, true},
		{jetstream.ErrJetStreamNotEnabled, true},
		{fmt.Errorf("%w: %w", jswrap.ErrNotReady, &jetstream.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"}), true},

		{nats.ErrAuthorization, false},
		{errors.Join(nats.ErrAuthorization, &net.OpError{Op: "dial", Err: errors.New("connection refused")}), false},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, false},
		{stanwrap.ErrClientIDInUse, false},
		{ticketing.ErrPermission, false},
		{jetstream.ErrJetStreamNotEnabledForAccount, false},
		{&jetstream.APIError{Code: 400, ErrorCode: 10058, Description: "stream name already in use"}, false},
		{errors.New("it lacks the subjects ticket:created"), false},
	} {
		if got := unreachable(fmt.Errorf("connect: %w", test.err)); got != test.wait {
			t.Errorf("%v is waited for: %v, want %v", test.err, got, test.wait)
		}
	}
}

// What keeps the broker away may change, and nobody reads the level Debug.
func TestWaitingForTheBrokerIsSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testlog.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		_, err := dialLate(ctx, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(context.Context, Config) (backend, error) {
			return nil, nats.ErrNoServers
		})
		if !errors.Is(err, nats.ErrNoServers) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v", err)
		}
		if n := strings.Count(log.String(), "waiting for the broker"); n != 3 {
			t.Errorf("said %d times in 150 s, want 3:\n%s", n, log.String())
		}
	})
}

// NATS answers before its JetStream does.
func TestConnectWaitsForAJetStreamThatComesUpLate(t *testing.T) {
	var enabled atomic.Bool
	s := natsserver.Run(t, natsserver.Configure(func(o *server.Options) { o.JetStream = enabled.Load() }))
	cfg := quietly()
	var log testlog.Buffer
	cfg.URLs, cfg.WaitForConnection, cfg.Logger = []string{s.URL()}, true, slog.New(slog.NewTextHandler(&log, nil))
	connected := make(chan error, 1)
	go func() {
		c, err := Connect(t.Context(), cfg)
		if err == nil {
			err = c.Close(t.Context())
		}
		connected <- err
	}()
	eventually(t, "it waits", func() bool {
		return strings.Contains(log.String(), "waiting for the broker") || len(connected) > 0
	})
	enabled.Store(true)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "Connect", connected); err != nil {
		t.Errorf("error = %v once JetStream was there", err)
	}
}
