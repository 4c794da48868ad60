package deploy

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/examples/tickets/internal/api"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

const (
	tickets = "tickets-depl"
	podName = "tickets-depl-6d5f7c9b8-x2x9p"
)

// environment is what the container of tickets finds. Of a secret it finds
// something.
func environment(t *testing.T, b bundle) map[string]string {
	t.Helper()
	env := make(map[string]string)
	c := b.container(t, tickets)
	for _, from := range c.EnvFrom {
		config, ok := b.configs[from.ConfigMapRef.Name]
		if !ok {
			t.Errorf("there is no ConfigMap %s", from.ConfigMapRef.Name)
		}
		for name, value := range config.Data {
			env[name] = string(value)
		}
	}
	for _, v := range c.Env {
		if _, twice := env[v.Name]; twice {
			t.Errorf("%s is set twice", v.Name)
		}
		switch {
		case v.ValueFrom.FieldRef.FieldPath == "metadata.name":
			env[v.Name] = podName
		case v.ValueFrom.SecretKeyRef.Key != "" && v.ValueFrom.SecretKeyRef.Name != "":
			env[v.Name] = "from a secret"
		case v.Value != "":
			env[v.Name] = string(v.Value)
		default:
			t.Errorf("%s has no value", v.Name)
		}
	}
	return env
}

func TestEveryVariableOfTheServiceIsOneThatItReads(t *testing.T) {
	ours := literals(t, "../*.go")
	for _, broker := range brokers {
		t.Run(broker, func(t *testing.T) {
			env := environment(t, loadBroker(t, broker))
			asked := make(map[string]bool)
			if _, err := natswrap.FromLookup(func(name string) (string, bool) {
				asked[name] = true
				v, ok := env[name]
				return v, ok
			}); err != nil {
				t.Error(err)
			}
			for name := range env {
				switch nats := strings.HasPrefix(name, "NATS_"); {
				case nats && !asked[name]:
					t.Errorf("natswrap does not know %s", name)
				case !nats && !ours[name]:
					t.Errorf("the service does not know %s", name)
				}
			}
			if env["NATS_CLIENT_ID"] != podName {
				t.Error("NATS_CLIENT_ID is not the pod's name")
			}
		})
	}
}

// literals are the strings in Go files.
func literals(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s (%v)", pattern, err)
	}
	found := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					found[s] = true
				}
			}
			return true
		})
	}
	return found
}

func TestTheServiceFindsItsBroker(t *testing.T) {
	for broker, want := range map[string]natswrap.Backend{"jetstream": natswrap.JetStream, "streaming": natswrap.Stan} {
		t.Run(broker, func(t *testing.T) {
			b := loadBroker(t, broker)
			cfg := brokerConfig(t, b)
			data, err := json.Marshal(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var is struct{ Backend natswrap.Backend }
			if err := json.Unmarshal(data, &is); err != nil || is.Backend != want {
				t.Errorf("backend %q, want %q (error %v)", is.Backend, want, err)
			}
			for _, u := range cfg.URLs {
				server, err := url.Parse(u)
				if err != nil {
					t.Fatal(err)
				}
				if !b.serves(server.Hostname(), server.Port()) {
					t.Errorf("no Service has %s", server.Host)
				}
			}
		})
	}
}

func brokerConfig(t *testing.T, b bundle) natswrap.Config {
	t.Helper()
	env := environment(t, b)
	cfg, err := natswrap.FromLookup(func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// serves reports whether there is a Service with that port.
func (b bundle) serves(name, port string) bool {
	for _, p := range b.services[name].Spec.Ports {
		if strconv.Itoa(p.Port) == port {
			return true
		}
	}
	return false
}

func TestTheGracePeriodIsLongerThanTheShutdown(t *testing.T) {
	b := loadBroker(t, "jetstream")
	shutdown := natswrap.DefaultShutdownTimeout
	if v := environment(t, b)["SHUTDOWN_TIMEOUT"]; v != "" {
		var err error
		if shutdown, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	preStop := time.Duration(b.container(t, tickets).Lifecycle.PreStop.Sleep.Seconds) * time.Second
	grace := time.Duration(b.workloads[tickets].pod().TerminationGracePeriodSeconds) * time.Second
	if grace < preStop+shutdown+5*time.Second {
		t.Errorf("a grace period of %v for preStop %v and a shutdown of %v", grace, preStop, shutdown)
	}
}

func TestTheProbesAskWhatTheServiceServes(t *testing.T) {
	b := loadBroker(t, "jetstream")
	c := b.container(t, tickets)
	handler := api.New(nil, nil, nil)
	for _, p := range c.probes() {
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, httptest.NewRequestWithContext(t.Context(), http.MethodGet, p.HTTPGet.Path, nil))
		if res.Code != http.StatusOK {
			t.Errorf("%s: status %d", p.HTTPGet.Path, res.Code)
		}
	}
	if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.StartupProbe == nil {
		t.Error("liveness is the process, readiness the broker and the store, and the start takes its time")
	}
	if port := environment(t, b)["PORT"]; port != strconv.Itoa(c.port("http")) || !b.serves("tickets-srv", port) {
		t.Errorf("the service listens on %s, its container has %d, and the Service %+v", port, c.port("http"), b.services["tickets-srv"].Spec.Ports)
	}
}

func TestTheDatabaseIsOnAVolumeThatStays(t *testing.T) {
	b := loadBroker(t, "jetstream")
	dir := path.Dir(environment(t, b)["TICKETS_DB"])
	for _, m := range b.container(t, tickets).VolumeMounts {
		if m.MountPath != dir {
			continue
		}
		for _, v := range b.workloads[tickets].pod().Volumes {
			if v.Name == m.Name && v.PersistentVolumeClaim != nil {
				return
			}
		}
	}
	t.Errorf("%s is on no persistent volume", dir)
}
