package main

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/store"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func from(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestWithoutAnyVariableTheDefaultsHold(t *testing.T) {
	c, err := readConfig(from(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !c.embedded || c.port != 3000 || c.db != store.Memory || c.jwtKey != "" ||
		c.shutdown != 25*time.Second || c.broker.ShutdownTimeout != c.shutdown || c.logLevel != slog.LevelDebug {
		t.Errorf("config %+v", c)
	}
}

func TestEveryVariableIsRead(t *testing.T) {
	c, err := readConfig(from(map[string]string{
		"NATS_URL": "http://nats-srv:4222", "NATS_CLUSTER_ID": "ticketing", "NATS_CLIENT_ID": "tickets-depl-1",
		"PORT": "8080", "JWT_KEY": "asdf", "TICKETS_DB": "/data/tickets.db", "SHUTDOWN_TIMEOUT": "10s", "LOG_LEVEL": "warn",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.embedded || c.port != 8080 || c.db != "/data/tickets.db" || c.jwtKey != "asdf" ||
		c.broker.ShutdownTimeout != 10*time.Second || c.logLevel != slog.LevelWarn ||
		c.broker.ClientID != "tickets-depl-1" || c.broker.ClusterID != "ticketing" {
		t.Errorf("config %+v", c)
	}
}

// The auth service signs with every byte of it, and a Secret made of a file ends
// with a line.
func TestTheKeyIsTakenAsItIs(t *testing.T) {
	for _, key := range []string{"asdf\n", " asdf", " ", ""} {
		if c, err := readConfig(from(map[string]string{"JWT_KEY": key})); err != nil || c.jwtKey != key {
			t.Errorf("the key %q is read as %q (error %v)", key, c.jwtKey, err)
		}
	}
}

func TestEveryVariableThatIsWrongIsNamedAtOnceAndNotQuoted(t *testing.T) {
	const wrong = "wrong-value"
	_, err := readConfig(from(map[string]string{
		"NATS_URL": "nats://nats:" + wrong, "PORT": wrong, "SHUTDOWN_TIMEOUT": "-" + wrong, "LOG_LEVEL": wrong,
	}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"NATS_URL", "NATS_CLIENT_ID", "PORT", "SHUTDOWN_TIMEOUT", "LOG_LEVEL"} {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	if strings.Contains(err.Error(), wrong) {
		t.Errorf("a value is in %v", err)
	}
}

func TestTheServiceDoesNotStartWhenAPartOfItIsMissing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"a backend":  {map[string]string{"NATS_BACKEND": "kafka"}, `unknown backend "kafka": it is jetstream or stan`},
		"a broker":   {map[string]string{"NATS_URL": "nats://127.0.0.1:1", "NATS_CLIENT_ID": "t"}, "127.0.0.1:1"},
		"a database": {map[string]string{"TICKETS_DB": t.TempDir() + "/missing/tickets.db"}, "missing/tickets.db"},
		"a port":     {map[string]string{"PORT": port}, "PORT chooses another port"},
		"variables":  {map[string]string{"PORT": "x"}, "the environment has to be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out := new(output)
			if err := run(ctx, out, out, from(test.env)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q\n%s", err, test.want, out)
			}
		})
	}
}

func TestTheFlagChoosesTheBackend(t *testing.T) {
	t.Setenv("NATS_BACKEND", "jetstream")
	t.Setenv("PORT", "8080")
	for flag, want := range map[string]natswrap.Backend{"": natswrap.JetStream, "stan": natswrap.Stan} {
		if got, _ := lookup(flag)("NATS_BACKEND"); got != string(want) {
			t.Errorf("with the flag %q the backend is %q", flag, got)
		}
		if got, _ := lookup(flag)("PORT"); got != "8080" {
			t.Errorf("PORT is %q", got)
		}
	}
}
