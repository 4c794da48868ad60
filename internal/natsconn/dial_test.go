package natsconn

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// runServer starts a core NATS server on a free loopback port.
func runServer(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(60 * time.Second) {
		t.Fatal("the server did not start")
	}
	return s
}

// silentPort accepts connections and says nothing.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String() // the kernel accepts into the backlog
}

func refusedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDialGivesUpWithItsContextWhereTheServerSaysNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Dial(ctx, Config{URLs: []string{"nats://user:pa55word@" + silentPort(t)}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the context's", err)
	}
	if d := time.Since(start); d > 1500*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	if strings.Contains(err.Error(), "pa55word") {
		t.Errorf("the error has the password: %v", err)
	}
}

func TestDialSaysThatAConnectionWasRefused(t *testing.T) {
	addr := refusedPort(t)
	_, err := Dial(t.Context(), Config{URLs: []string{"nats://user:pa55word@" + addr}})
	if !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("error = %v, want nats.ErrNoServers", err)
	}
	for _, want := range []string{addr, "refused"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "pa55word") {
		t.Errorf("the error has the password: %v", err)
	}
}

func TestDialLeavesNoConnectionBehindWhenItsContextEndsInTheHandshake(t *testing.T) {
	s := runServer(t, nil)
	for range 20 { // the end of ctx races with the handshake
		ctx, cancel := context.WithCancel(t.Context())
		nc, err := Dial(ctx, Config{URLs: []string{s.ClientURL()}}, nats.TokenHandler(func() string {
			cancel()
			return ""
		}))
		switch {
		case err == nil: // it was quicker
			nc.Close()
		case !errors.Is(err, context.Canceled):
			t.Errorf("error = %v, want the context's", err)
		}
		cancel()
	}
	eventually(t, "the server has no client", func() bool { return s.NumClients() == 0 })
}

func TestDialGivesUpAtOnceWhenItsContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, Config{URLs: []string{"nats://127.0.0.1:1"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
}

func TestAWebSocketHandshakeEndsWithItsContextToo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, Config{URLs: []string{"ws://" + silentPort(t)}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the context's", err)
	}
}

func TestDialTriesEveryServer(t *testing.T) {
	s := runServer(t, nil)
	nc, err := Dial(t.Context(), Config{URLs: []string{refusedPort(t), s.ClientURL()}, Name: "tickets-7"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.Opts.Name != "tickets-7" || nc.Opts.MaxReconnect != -1 || nc.Opts.ReconnectBufSize != -1 || nc.Opts.RetryOnFailedConnect || !nc.Opts.SkipHostLookup {
		t.Errorf("options are %+v", nc.Opts)
	}
}

// The client tells only what the server said that it tried last, and the order
// is random: see dialer.explain.
func TestOfSeveralServersTheErrorTellsWhatEachSaid(t *testing.T) {
	s := runServer(t, func(o *server.Options) { o.Username, o.Password = "user", "right" })
	refused := refusedPort(t)
	w := watch()
	for range 8 {
		_, err := Dial(t.Context(), Config{URLs: []string{"nats://user:wrong@" + s.Addr().String(), refused}}, w.Options()...)
		if !errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrNoServers) {
			t.Fatalf("error = %v, want nats.ErrAuthorization, and not that there is no server", err)
		}
		for _, part := range []string{s.Addr().String() + ": nats: Authorization", refused + ": dial"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q has no %q", err, part)
			}
		}
	}
	_, err := Dial(t.Context(), Config{URLs: []string{refused, refusedPort(t)}}, w.Options()...)
	if !errors.Is(err, nats.ErrNoServers) || strings.Count(err.Error(), "refused") != 2 {
		t.Errorf("error = %v, want nats.ErrNoServers and both reasons", err)
	}
	select {
	case <-w.closed:
		t.Error("OnClosed was called for a connection that never was")
	default:
	}
}

func TestNoErrorHasAPassword(t *testing.T) {
	s := runServer(t, func(o *server.Options) { o.Username, o.Password = "user", "right" })
	addr := s.Addr().String()
	for name, urls := range map[string][]string{
		"wrong password":  {"nats://user:sesame@" + addr},
		"wrong token":     {"nats://sesame@" + addr},
		"several":         {"nats://user:sesame@" + addr, "nats://user:sesame@" + refusedPort(t)},
		"percent-encoded": {"nats://user:ses%61me@" + addr},
		"no such host":    {"nats://user:sesame@host.invalid"},
		"malformed":       {"nats://user:sesame%@" + addr},
		"encoded twice":   {"nats%3A%2F%2Fuser%3Asesame%40" + addr},
		"no scheme":       {"user:sesame@" + addr},
		"comma":           {"nats://user:ses,ame@" + addr},
		"WebSocket":       {"ws://user:sesame@" + addr},
		"none":            nil,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(t.Context(), Config{URLs: urls})
			if err == nil {
				t.Fatal("it connected")
			}
			for _, part := range []string{"sesame", "ses%61me", "ses", "ame@"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("the error has %q of the password: %v", part, err)
				}
			}
		})
	}
}

func TestFilesThatAreMissingOrDoNotGoTogetherAreRefused(t *testing.T) {
	missing := t.TempDir() + "/missing"
	for name, c := range map[string]Config{
		"creds":          {CredsFile: missing},
		"nkey":           {NKeyFile: missing},
		"ca":             {TLSCA: missing},
		"cert":           {TLSCert: missing, TLSKey: missing},
		"cert alone":     {TLSCert: missing},
		"key alone":      {TLSKey: missing},
		"creds and nkey": {CredsFile: missing, NKeyFile: missing},
	} {
		c.URLs = []string{runServer(t, nil).ClientURL()}
		nc, err := Dial(t.Context(), c)
		if name == "creds" && err == nil {
			nc.Close() // a server that asks for no credentials never looks
			continue
		}
		if err == nil {
			nc.Close()
			t.Errorf("%s: it connected", name)
		}
	}
}

func TestAnOptionThatFailsFailsTheDial(t *testing.T) {
	reason := errors.New("a reason")
	_, err := Dial(t.Context(), Config{URLs: []string{"127.0.0.1:1"}}, func(*nats.Options) error { return reason })
	if !errors.Is(err, reason) {
		t.Errorf("error = %v, want the option's", err)
	}
}

func TestAnNKeyIsReadFromItsFile(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s := runServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	nc, err := Dial(t.Context(), Config{URLs: []string{s.ClientURL()}, NKeyFile: file})
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if nc, err := Dial(t.Context(), Config{URLs: []string{s.ClientURL()}}); err == nil {
		nc.Close()
		t.Error("it connected without the nkey")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
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
