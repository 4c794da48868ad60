package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/internal/race"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestTheLoadIsMeasuredInTenTurns(t *testing.T) {
	t.Setenv("NATS_BACKEND", "")
	l := load{backend: "stan", requests: 40, clients: 4, apart: true, growth: 100}
	if race.Enabled {
		l.buildFlags = []string{"-race"} // what the test was compiled with is compiled already
	}
	var out bytes.Buffer
	if err := l.run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if n := strings.Count(out.String(), " MiB\n"); n != samples || !strings.Contains(out.String(), "requests/s over all; the broker had all events ") {
		t.Errorf("%d turns in\n%s", n, &out)
	}
	if err := (&load{backend: "stan", requests: 1, clients: 1}).run(t.Context(), &out); err == nil {
		t.Error("one request cannot be measured in ten turns")
	}
}
