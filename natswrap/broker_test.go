package natswrap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

// eachBackend runs a test on both brokers.
func eachBackend(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("JetStream", func(t *testing.T) {
		s := natsserver.Run(t)
		cfg := quietly()
		cfg.URLs = []string{s.URL()}
		test(t, cfg)
	})
	t.Run("NATS Streaming", func(t *testing.T) {
		s := stanserver.Run(t)
		cfg := quietly()
		cfg.URLs, cfg.ClusterID, cfg.ClientID = []string{s.URL()}, s.ClusterID(), "tickets-1.prod"
		test(t, cfg)
	})
}

func mustConnect(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func TestAClientPublishesListensAndCloses(t *testing.T) {
	eachBackend(t, func(t *testing.T, cfg Config) {
		c := mustConnect(t, cfg)
		_, isStan := c.Stan()
		_, isJetStream := c.JetStream()
		if !c.Healthy() || c.Err() != nil || c.Backend() != cfg.backend() ||
			isStan != (c.Backend() == Stan) || isJetStream != (c.Backend() == JetStream) || !c.Conn().IsConnected() {
			t.Errorf("healthy %v, error %v, backend %s, stan %v, jetstream %v", c.Healthy(), c.Err(), c.Backend(), isStan, isJetStream)
		}
		if !c.Capabilities().Groups {
			t.Errorf("capabilities %+v", c.Capabilities())
		}
		if err := c.CheckSubject(t.Context(), ticketing.SubjectTicketCreated); err != nil {
			t.Errorf("CheckSubject: %v", err)
		}

		publisher := ticketing.NewPublisher[events.TicketCreated](c, nil)
		if err := publisher.Publish(t.Context(), events.TicketCreated{ID: "1"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := make(chan string, 8)
		l := ticketing.NewListener(c, "tickets-service", func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
			got <- d.Event.ID
			return nil
		}, &ticketing.ListenerOptions{Logger: cfg.Logger})
		listening := make(chan error, 1)
		go func() { listening <- l.Listen(ctx) }()
		if id := receive(t, "the event", got); id != "1" {
			t.Errorf("event %q, want 1", id)
		}
		cancel()
		if err := receive(t, "Listen", listening); err != nil {
			t.Errorf("Listen: %v", err)
		}

		closed := make(chan error, 1)
		c.OnClose(func(err error) { closed <- err })
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := c.Close(t.Context()); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		wg.Wait()
		receive(t, "Closed", c.Closed())
		if err := receive(t, "the close callback", closed); err != nil {
			t.Errorf("the callback heard %v, want nil", err)
		}
		if c.Healthy() {
			t.Error("it is healthy after Close")
		}
		if err := publisher.Publish(t.Context(), events.TicketCreated{}); !errors.Is(err, ticketing.ErrClosed) || !errors.Is(err, ticketing.ErrNotSent) {
			t.Errorf("a publish after Close: %v, want not sent and ErrClosed", err)
		}
		if err := l.Listen(t.Context()); err == nil {
			t.Error("Listen after Close ended in silence")
		}
	})
}

func TestCloseLetsARunningHandlerPublish(t *testing.T) {
	eachBackend(t, func(t *testing.T, cfg Config) {
		c := mustConnect(t, cfg)
		created := ticketing.NewPublisher[events.TicketCreated](c, nil)
		updated := ticketing.NewPublisher[events.TicketUpdated](c, nil)
		if err := created.Publish(t.Context(), events.TicketCreated{ID: "1"}); err != nil {
			t.Fatal(err)
		}
		started, goOn := make(chan struct{}), make(chan struct{})
		handled := make(chan error, 1)
		l := ticketing.NewListener(c, "g", func(ctx context.Context, _ *ticketing.Delivery[events.TicketCreated]) error {
			close(started)
			<-goOn
			err := updated.Publish(ctx, events.TicketUpdated{ID: "1"})
			handled <- err
			return err
		}, &ticketing.ListenerOptions{Logger: cfg.Logger})
		listening := make(chan error, 1)
		go func() { listening <- l.Listen(t.Context()) }()
		receive(t, "the handler", started)
		closing := make(chan error, 1)
		go func() { closing <- c.Close(t.Context()) }()
		// Close has begun when the client is not healthy any more.
		eventually(t, "closing has begun", func() bool { return !c.Healthy() })
		close(goOn)
		if err := receive(t, "the handler's publish", handled); err != nil {
			t.Errorf("the handler's publish: %v", err)
		}
		if err := receive(t, "Close", closing); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := receive(t, "Listen", listening); !errors.Is(err, ticketing.ErrClosed) {
			t.Errorf("Listen: %v, want ErrClosed", err)
		}
	})
}

func TestHealthFollowsTheServer(t *testing.T) {
	s := natsserver.Run(t)
	cfg := quietly()
	cfg.URLs = []string{s.URL()}
	c := mustConnect(t, cfg)
	port := s.NATS().Addr().(*net.TCPAddr).Port
	s.Shutdown()
	eventually(t, "it is not healthy", func() bool { return !c.Healthy() })
	select {
	case <-c.Closed():
		t.Error("a lost connection is closed for good")
	default:
	}
	natsserver.Run(t, natsserver.Port(port))
	eventually(t, "it is healthy again", c.Healthy)
}

func TestPublishesGoOnAfterARestartOfTheServer(t *testing.T) {
	s := natsserver.Run(t)
	cfg := quietly()
	cfg.URLs = []string{s.URL()}
	publisher := ticketing.NewPublisher[events.TicketCreated](mustConnect(t, cfg), nil)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an event is published", func() bool {
		return publisher.Publish(t.Context(), events.TicketCreated{ID: "1"}) == nil
	})
}

func TestConnectGivesUpWithItsContextWhereTheServerSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, cluster := range []string{"", "ticketing"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		cfg := good()
		cfg.URLs, cfg.ClusterID = []string{l.Addr().String()}, cluster
		start := time.Now()
		_, err := Connect(ctx, cfg)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cluster id %q: error = %v, want the context's", cluster, err)
		}
		if d := time.Since(start); d > 1500*time.Millisecond {
			t.Errorf("cluster id %q: it took %v", cluster, d)
		}
	}
}

// A NATS server without JetStream or NATS Streaming answers, and has neither.
func TestConnectGivesUpWithItsContextWhereTheBrokerIsMissing(t *testing.T) {
	s := natsserver.Run(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	cfg := quietly()
	cfg.URLs, cfg.ClusterID = []string{s.URL()}, "ticketing"
	start := time.Now()
	if _, err := Connect(ctx, cfg); err == nil {
		t.Error("it found NATS Streaming")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestConnectSaysThatTheServerRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, cluster := range []string{"", "ticketing"} {
		cfg := good()
		cfg.URLs, cfg.ClusterID = []string{addr}, cluster
		if _, err := Connect(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), addr) {
			t.Errorf("cluster id %q: error = %v", cluster, err)
		}
	}
}

// Without dialLate the first refused connection would be the end.
func TestConnectWaitsForABrokerThatComesUpLateWhereItIsToldTo(t *testing.T) {
	eachBackend(t, func(t *testing.T, cfg Config) {
		p := netfault.Run(t, cfg.URLs[0])
		cfg.URLs = []string{p.URL()}
		p.Cut()
		var log testlog.Buffer
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		cfg.WaitForConnection = true

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := Connect(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want the context's", err)
		}
		connected := make(chan error, 1)
		go func() {
			c, err := Connect(t.Context(), cfg)
			if err == nil {
				err = c.Close(t.Context())
			}
			connected <- err
		}()
		tries := p.Accepted()
		eventually(t, "it tries again", func() bool { return p.Accepted() > tries+1 })
		select {
		case err := <-connected:
			t.Fatalf("Connect returned (%v) before the broker was there", err)
		default:
		}
		p.Heal()
		if err := receive(t, "Connect", connected); err != nil {
			t.Errorf("error = %v once the broker was there", err)
		}
		if !strings.Contains(log.String(), "waiting for the broker") {
			t.Errorf("the log does not say what it waits for: %s", log.String())
		}
	})
}

func TestConnectDoesNotWaitForWhatWaitingDoesNotMend(t *testing.T) {
	s := natsserver.Run(t, natsserver.Configure(func(o *server.Options) { o.Username, o.Password = "user", "sesame" }))
	for _, cluster := range []string{"", "ticketing"} {
		for _, urls := range [][]string{{s.URL()}, {s.URL(), "nats://127.0.0.1:1"}} {
			cfg := quietly()
			cfg.URLs, cfg.ClusterID, cfg.WaitForConnection = urls, cluster, true
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			if _, err := Connect(ctx, cfg); !errors.Is(err, nats.ErrAuthorization) || ctx.Err() != nil {
				t.Errorf("cluster id %q, %q: error = %v, want the authorization's", cluster, urls, err)
			}
			cancel()
		}
	}
}

func TestNoPasswordIsInAnErrorOrALogLine(t *testing.T) {
	s := natsserver.Run(t)
	host := strings.TrimPrefix(s.URL(), "nats://")
	for name, urls := range map[string]string{
		"valid":           "nats://user:sesame@127.0.0.1:1",
		"token":           "nats://sesame@127.0.0.1:1",
		"several":         "nats://user:sesame@127.0.0.1:1,tls://user:sesame@127.0.0.1:1",
		"percent-encoded": "nats://user:ses%61me@127.0.0.1:1",
		"wholly encoded":  "nats%3A%2F%2Fuser%3Asesame%40127.0.0.1%3A1",
		"malformed":       "nats://user:ses%ame@127.0.0.1:1",
		"slash":           "nats://user:ses/ame@127.0.0.1:1",
		"comma":           "nats://user:ses,ame@127.0.0.1:1",
		"no host":         "nats://user:sesame@",
		"bad port":        "nats://user:sesame@127.0.0.1:sesame",
		"other scheme":    "mysql://user:sesame@127.0.0.1:1",
		"no scheme":       "user:sesame@127.0.0.1:1",
		"TLS not offered": "tls://user:sesame@" + host,
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			for _, cluster := range []string{"", "ticketing"} {
				cfg := Config{URLs: []string{urls}, ClientID: "a", ClusterID: cluster, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
				cfg.Logger.Info("connecting", "config", cfg)
				_, err := Connect(t.Context(), cfg)
				if err == nil {
					t.Fatal("it connected")
				}
				if strings.Contains(err.Error(), "ses") || strings.Contains(err.Error(), "ame@") {
					t.Errorf("the error has a part of the password: %v", err)
				}
			}
			_, err := FromLookup(env(map[string]string{"NATS_URL": urls, "NATS_CLIENT_ID": "a"}))
			if err != nil && (strings.Contains(err.Error(), "ses") || strings.Contains(err.Error(), "ame@")) {
				t.Errorf("FromLookup's error has a part of the password: %v", err)
			}
			if strings.Contains(log.String(), "ses") {
				t.Errorf("the log has a part of the password: %s", log.String())
			}
		})
	}
}

func TestRunOnARealBroker(t *testing.T) {
	eachBackend(t, func(t *testing.T, cfg Config) {
		h := newHarness()
		h.end(nil)
		h.connect = connectBackend
		err := h.run(t.Context(), cfg, func(ctx context.Context, c *Client) error {
			created := ticketing.NewPublisher[events.TicketCreated](c, nil)
			stopping := ctx.Done()
			l := ticketing.NewListener(c, "g", func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
				h.signals <- os.Interrupt
				<-stopping
				return nil
			}, &ticketing.ListenerOptions{Logger: cfg.Logger})
			if err := created.Publish(ctx, events.TicketCreated{ID: "1"}); err != nil {
				return err
			}
			return l.Listen(ctx)
		})
		if err != nil {
			t.Errorf("error = %v, want nil", err)
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never came true that %s", what)
		}
	}
}
