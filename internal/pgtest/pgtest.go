// Package pgtest gives tests a PostgreSQL server: a throw-away cluster of the
// test process's own, made from the server's binaries, or the server that
// TICKETING_TEST_POSTGRES names by its URL.
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// Without either, tests are skipped, and fail where CI or
// TICKETING_REQUIRE_POSTGRES is set.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
)

// Variables that say where PostgreSQL is, and whether it has to be there.
const (
	urlVariable     = "TICKETING_TEST_POSTGRES"
	requireVariable = "TICKETING_REQUIRE_POSTGRES"
)

// shared is the cluster that the tests of a process have in common.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main is a package's whole TestMain: it runs the tests, stops the shared
// cluster, and fails when goroutines are left.
func Main(m *testing.M) { leaktest.Main(main{m}) }

type main struct{ m *testing.M }

func (m main) Run() int {
	code := m.m.Run()
	if shared.server != nil {
		shared.server.close()
	}
	return code
}

// missing skips the test, or fails it where PostgreSQL is required.
func missing(t testing.TB, err error) {
	t.Helper()
	text := fmt.Sprintf("the PostgreSQL tests are left out: %v; install the server (Debian: apt install postgresql) or set %s to a server's URL", err, urlVariable)
	if os.Getenv("CI") == "true" || os.Getenv(requireVariable) != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// URL returns the URL of the shared server. One that pgtest has started is made
// for tests: it does not sync, and finds a deadlock soon.
func URL(t testing.TB) string {
	t.Helper()
	if url := os.Getenv(urlVariable); url != "" {
		return url
	}
	shared.once.Do(func() { shared.server, shared.err = start("fsync=off", "deadlock_timeout=50ms") })
	if shared.err != nil {
		missing(t, shared.err)
	}
	return shared.server.URL()
}

// Schema makes a schema of the test's own on a server, and returns its name
// and a URL whose connections use it.
func Schema(t testing.TB, url string) (name, inSchema string) {
	t.Helper()
	name = "t_" + strings.ToLower(rand.Text()[:12])
	Exec(t, url, `CREATE SCHEMA `+name)
	t.Cleanup(func() {
		// The server may be one that the test has stopped.
		if conn, err := pgx.Connect(context.Background(), url); err == nil {
			_, _ = conn.Exec(context.Background(), `DROP SCHEMA `+name+` CASCADE`)
			_ = conn.Close(context.Background())
		}
	})
	return name, With(url, "search_path", name)
}

// With adds a parameter to a URL.
func With(url, name, value string) string {
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	return url + sep + name + "=" + value
}

// Exec runs statements on a connection of their own.
func Exec(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// New starts a cluster for one test, with settings such as
// "max_connections=10". A test that does not need its own shares one: see URL.
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings...)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(s.close)
	return s
}
