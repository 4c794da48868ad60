package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ducnguyen96/ticketing-common/examples/banking/internal/transactions"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
)

// programVar makes the test binary the program, with its children.
const programVar = "BANKING_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVar) != "" {
		main()
		return
	}
	pgtest.Main(m)
}

// program runs the program as a process of its own.
func program(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("its processes cannot be killed there")
	}
	var out, err bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), programVar+"=1")
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

const table = `
way                the user was told                  balance   should be   result
not awaited        100 yes, 20 yes, 3 yes, 1000 yes   1100      1123        23 lost
awaited            100 yes, 20 no, 3 no, 1000 yes     1100      1123        23 refused, but booked
outbox and inbox   100 yes, 20 yes, 3 yes, 1000 yes   1123      1123        every deposit, once
`

func requireStory(t *testing.T, beginning string, args ...string) (stdout string) {
	t.Helper()
	status, stdout, stderr := program(t, args...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d\n%s%s", status, stdout, stderr)
	}
	if !strings.HasPrefix(stdout, beginning+"\n") || !strings.HasSuffix(stdout, table) {
		t.Errorf("it begins or ends otherwise than expected:\n%s", stdout)
	}
	return stdout
}

func TestOnlyTheThirdWayKeepsEveryDeposit(t *testing.T) {
	t.Run("jetstream", func(t *testing.T) {
		t.Parallel()
		stdout := requireStory(t, "broker: jetstream, a process of its own; databases: SQLite")
		for _, page := range []string{"README.md", "../../README.md"} {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			want := stdout
			if page != "README.md" { // the main one has less
				want = table
			}
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have what the program prints:\n%s", page, want)
			}
		}
	})
	t.Run("stan", func(t *testing.T) {
		t.Parallel()
		requireStory(t, "broker: stan, a process of its own; databases: SQLite", "-backend=stan")
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		db := ownDatabase(t)
		requireStory(t, "broker: jetstream, a process of its own; databases: PostgreSQL", "-db", db)
		requireNoSchemas(t, db)
	})
}

// ownDatabase makes a database for the test.
func ownDatabase(t *testing.T) string {
	t.Helper()
	server := pgtest.URL(t)
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	name := "banking_" + strings.ToLower(rand.Text()[:8])
	pgtest.Exec(t, server, `CREATE DATABASE `+name)
	t.Cleanup(func() { pgtest.Exec(t, server, `DROP DATABASE `+name) })
	u.Path = "/" + name
	return u.String()
}

func requireNoSchemas(t *testing.T, db string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var n int
	err = conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_namespace WHERE starts_with(nspname, 'banking_')`).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d schemas are left, error %v", n, err)
	}
}

func TestWrongFlagsAreRefusedWithoutASecret(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-backend=kafka"}, 2, `unknown backend "kafka": it is jetstream or stan`},
		{[]string{"-unknown"}, 2, "flag provided but not defined"},
		{[]string{"-help"}, 0, "default SQLite"},
		{[]string{"-db=mysql://root:secret@127.0.0.1/bank"}, 1, "-db is not a URL that begins with postgres://"},
		{[]string{"-db=postgres://root:secret@127.0.0.1:port/bank"}, 1, "-db is not a URL that begins with postgres://"},
		{[]string{"-db=postgres://root:secret@127.0.0.1:1/bank"}, 1, "cannot connect to the database of -db"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), tt.args, &stdout, &stderr)
		if status != tt.status || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%v: status %d, want %d, with %q:\n%s", tt.args, status, tt.status, tt.want, stderr.String())
		}
		if strings.Contains(stderr.String(), "secret") {
			t.Errorf("%v: the password is printed:\n%s", tt.args, stderr.String())
		}
	}
}

func TestTheOutcomeSaysWhatIsWrong(t *testing.T) {
	yes := func(d transactions.Deposit) answer { return answer{d, nil} }
	no := func(d transactions.Deposit) answer { return answer{d, errors.New("expected here")} }
	booked := map[string]int64{"D-1": 100, "D-4": 1000}
	for _, tt := range []struct {
		result  string
		told    []answer
		booked  map[string]int64
		balance int64
	}{
		{"every deposit, once", []answer{yes(before), yes(after)}, booked, 1100},
		{"100 lost", []answer{yes(before), yes(after)}, booked, 1000},
		{"1000 too much", []answer{yes(before), yes(after)}, booked, 2100},
		{"1000 refused, but booked", []answer{yes(before), no(after)}, booked, 100},
		{"1000 refused, but booked", []answer{yes(before), no(after)}, booked, 1100},
		{"1000 too much", []answer{yes(before), yes(after)}, map[string]int64{"D-1": 100}, 1100},
		{"not all booked", []answer{yes(before), yes(after)}, map[string]int64{"D-1": 100}, 100},
	} {
		o := outcome{told: tt.told, booked: tt.booked, balance: tt.balance}
		if got := o.verdict(); got != tt.result || o.kept() != (tt.result == "every deposit, once") {
			t.Errorf("told %v, booked %v, balance %d: %q, kept %t, want %q", tt.told, tt.booked, tt.balance, got, o.kept(), tt.result)
		}
	}
}
