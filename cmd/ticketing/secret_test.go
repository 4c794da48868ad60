package main

import (
	"bytes"
	"strings"
	"testing"
)

// addresses are of databases, with a password that nothing may show.
var addresses = map[string]int{
	"host=127.0.0.1 port=1 user=app password=s3cret dbname=x":        exitNoServer,
	"dbname=x password = 'my s3cret' user=app host=127.0.0.1 port=1": exitNoServer,
	"connect_timeout=9 port=1 host=127.0.0.1 password=s3cret":        exitNoServer,
	"postgres://root:s3cret@127.0.0.1:1/x":                           exitNoServer,

	// Of other databases' clients.
	"root:s3cret@tcp(db)/x":                  exitUsage,
	"root:s3cret@tcp(db)/x?parseTime=true":   exitUsage,
	"mysql://root:s3cret@db/x":               exitUsage,
	"Server=db;User Id=sa;Password=s3cret":   exitUsage,
	"Server=db; User=sa; pwd=s3cret":         exitUsage,
	"user=sa;password=s3cret;host=127.0.0.1": exitUsage,
	"host=127.0.0.1;user=sa;password=s3cret": exitUsage,
	"database=x;user=sa;password=s3cret":     exitUsage,
	"file:x.db?_key=:s3cret@":                exitUsage,
	"sqlite:root:s3cret@db":                  exitUsage,

	// With something special in the password.
	"host=127.0.0.1 port=1 password=my s3cret dbname=x":   exitUsage,
	"host=127.0.0.1 port=1 password='my s3cret":           exitUsage,
	"postgres://root:my@s3cret@127.0.0.1:1/x":             exitUsage,
	"postgres://root:my@127.0.0.1:1,s3cret@127.0.0.1:1/x": exitUsage,
	"postgres://localhost:1/s3cret@127.0.0.1:1/x":         exitUsage,
	"postgres://root:s3/cret s3cret@127.0.0.1:1/x":        exitUsage,
}

func TestADatabasesAddressIsNotShownWhateverIsWrongWithIt(t *testing.T) {
	for address, want := range addresses {
		t.Run(address, func(t *testing.T) {
			if got := discreetly(t, "outbox", "stats", "--db", address); got != want {
				t.Errorf("status %d, want %d", got, want)
			}
			t.Setenv("DATABASE_URL", address)
			if got := discreetly(t, "outbox", "stats"); got != want {
				t.Errorf("status %d with DATABASE_URL, want %d", got, want)
			}
		})
	}
}

func TestAnAddressInTheWrongPlaceIsNotShown(t *testing.T) {
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	for address := range addresses {
		long := strings.ReplaceAll(address, "s3cret", strings.Repeat("s3cret", 20)) // which errors clip
		for _, a := range []string{address, long} {
			for _, args := range [][]string{
				{a}, {"outbox", a}, {"outbox", "stats", a}, {"outbox", "stats", "-db=" + a},
				{"doctor", a}, {"dead", "list", "--limit=" + a}, {"dead", "list", "--since", a},
				{"dead", "show", a}, {"dead", "list", "--group", a}, {"listen", a}, {"publish", a, "{}"},
			} {
				if got := discreetly(t, args...); got == 0 {
					t.Errorf("status 0 of %q", args)
				}
			}
		}
	}
}

// A token or an address in base64, as a Secret has it, is no file either.
func TestWhatIsNotPlainlyAFileIsNotShown(t *testing.T) {
	for _, s := range []string{"s3cret", "czNjcmV0/s3cret==", "eyJhbGciOiJub25l.eyJpZCI6MX0.s3creteyJhbGciOi", "s3cret@x.db", "a=s3cret.db", "a:s3cret.db"} {
		if got := discreetly(t, "outbox", "stats", "--db", s); got != exitUsage {
			t.Errorf("status %d of %q", got, s)
		}
	}
}

// discreetly runs the program, which must not print the password.
func discreetly(t *testing.T, args ...string) int {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &out, &errs)
	for _, printed := range []string{out.String(), errs.String()} {
		if strings.Contains(printed, "s3cret") {
			t.Errorf("%q prints %s", args, printed)
		}
	}
	return code
}
