// Package linktest looks at what a service links that imports this module.
package linktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	// What the programs import, so that a change of it is one of this test.
	_ "github.com/ducnguyen96/ticketing-common/events"
	_ "github.com/ducnguyen96/ticketing-common/natswrap"
	_ "github.com/ducnguyen96/ticketing-common/otelwrap"
)

// What a service may link at most. The raw clients are 24 packages and
// 10.4 MiB. Of what a service has on top, a fifth is for client certificates
// and nkeys, a tenth is log/slog, and the rest is this module's code, which was
// a little below 12 MiB before the recovery from stuck writers and changed
// consumers. A bound close above finds what is linked by mistake.
const (
	maxPackages   = 36
	maxBytes      = 12<<20 + 32<<10
	maxEventBytes = 24 << 10 // for an event more that is published and listened to
)

func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// dependencies lists the packages of a program: those of the standard library,
// and the others without the program itself.
func dependencies(t *testing.T, program string) (standard, others []string) {
	t.Helper()
	const format = `{{if not (eq .Name "main")}}{{.Standard}} {{.ImportPath}}{{end}}`
	for line := range strings.Lines(run(t, "list", "-deps", "-f", format, program)) {
		switch kind, path, _ := strings.Cut(strings.TrimSpace(line), " "); kind {
		case "true":
			standard = append(standard, path)
		case "false":
			others = append(others, path)
		}
	}
	return standard, others
}

// size builds a program and returns its binary's size.
func size(t *testing.T, program string, flags ...string) int64 {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	run(t, slices.Concat([]string{"build", "-o", binary}, flags, []string{program})...)
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestAServiceLinksNoServerTestHelperOrSQLDriver(t *testing.T) {
	standard, others := dependencies(t, "./service")
	_, raw := dependencies(t, "./raw")
	t.Logf("packages outside the standard library: %d (the raw clients: %d)", len(others), len(raw))
	if len(others) > maxPackages {
		t.Errorf("%d packages outside the standard library, want at most %d:\n%s", len(others), maxPackages, strings.Join(others, "\n"))
	}
	if len(raw) == 0 || !slices.Contains(others, "github.com/ducnguyen96/ticketing-common/natswrap") {
		t.Fatalf("the list is not what it should be: %q", others)
	}
	for _, path := range standard {
		if path == "testing" || strings.HasPrefix(path, "testing/") || strings.HasPrefix(path, "database/sql") || strings.HasPrefix(path, "net/http/httptest") {
			t.Errorf("a service links %s", path)
		}
	}
	for _, path := range others {
		for _, unwanted := range []string{
			"nats-io/nats-server", "nats-io/nats-streaming-server", "/natstest", "/internal/leaktest",
			"go.uber.org/goleak", "pgregory.net/rapid", "google/go-cmp", "lib/pq", "jackc/pgx", "sqlite",
			"/outbox", "/inbox", "/examples", "/otelwrap", "/slogwrap", "opentelemetry.io", "go-logr",
		} {
			if strings.Contains(path, unwanted) {
				t.Errorf("a service links %s", path)
			}
		}
	}
}

// A service that traces links the API of OpenTelemetry and not its SDK, which is
// what it chooses itself.
func TestATracedServiceLinksTheAPIAlone(t *testing.T) {
	_, plain := dependencies(t, "./service")
	_, traced := dependencies(t, "./traced")
	if !slices.Contains(traced, "github.com/ducnguyen96/ticketing-common/otelwrap") {
		t.Fatalf("the list is not what it should be: %q", traced)
	}
	t.Logf("packages outside the standard library: %d (without tracing: %d)", len(traced), len(plain))
	for _, path := range traced {
		if strings.Contains(path, "opentelemetry.io/otel/sdk") || strings.Contains(path, "/exporters/") || strings.Contains(path, "grpc") {
			t.Errorf("a traced service links %s", path)
		}
		if !slices.Contains(plain, path) && !strings.Contains(path, "opentelemetry.io/") && !strings.Contains(path, "go-logr/") &&
			!strings.HasSuffix(path, "/otelwrap") && !strings.HasSuffix(path, "/internal/around") && !strings.Contains(path, "cespare/xxhash") {
			t.Errorf("a traced service links %s as well", path)
		}
	}
}

func TestAServiceIsNotMuchLargerThanTheRawClients(t *testing.T) {
	if testing.Short() {
		t.Skip("it links five programs")
	}
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	service, raw := size(t, "./service"), size(t, "./raw")
	t.Logf("built plainly: %.2f MiB (the raw clients: %.2f MiB)", mib(service), mib(raw))
	stripped, rawStripped := size(t, "./service", "-ldflags=-s -w"), size(t, "./raw", "-ldflags=-s -w")
	t.Logf("stripped: %.2f MiB (the raw clients: %.2f MiB)", mib(stripped), mib(rawStripped))
	if service > maxBytes {
		t.Errorf("a service has %.2f MiB, want at most %.2f", mib(service), mib(maxBytes))
	}
	const more = 5 // the service publishes one of six and listens to one
	event := (size(t, "./catalogue") - service) / more
	t.Logf("an event more: %.1f KiB", float64(event)/(1<<10))
	if event > maxEventBytes {
		t.Errorf("an event more has %d bytes, want at most %d: what does not depend on its type belongs into code that all share", event, maxEventBytes)
	}
}
