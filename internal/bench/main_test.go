package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

func TestMain(m *testing.M) {
	process.Dispatch(roles)
	// A process with the race detector waits a second before it exits.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

func TestEveryRowMeasuresSomething(t *testing.T) {
	for _, r := range rows() {
		if r.name == "linked" {
			continue // it builds programs, which package linktest does in its test
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{rounds: 1, scale: 100, profile: &profile{}}
			metrics, err := measure(t.Context(), b, r)
			if err != nil {
				t.Fatal(err)
			}
			if len(metrics) == 0 || metrics[0].bar.kind == noBar && !strings.Contains(r.name, "consume16") && !strings.Contains(r.name, "consume-default") && !strings.Contains(r.name, "/sampled-") {
				t.Errorf("got %d metrics, want some, and the first with a bar", len(metrics))
			}
			for _, m := range metrics {
				if !(m.ours > 0) {
					t.Errorf("%s: ours is %v", m.what, m.ours)
				}
			}
		})
	}
}

func TestARowThatIsCutShortIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTimeout)
	b := &bench{rounds: 1, scale: 1, profile: &profile{}}
	for _, name := range []string{"jetstream/publish/150B", "streaming/consume/4KiB", "recorder/150B", "start/streaming"} {
		chosen, err := choose(rows(), "^"+name+"$")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := measure(ctx, b, chosen[0]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAPatternThatMatchesNothingNamesTheRows(t *testing.T) {
	_, err := choose(rows(), "nothing")
	if err == nil || !strings.Contains(err.Error(), "jetstream/async/4KiB") {
		t.Errorf("got %v", err)
	}
	if _, err := choose(rows(), "("); err == nil {
		t.Error("a pattern that does not compile is taken")
	}
}

func TestTheCommandLineIsChecked(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-side theirs", "extra", "-unknown", "-cpuprofile x -run publish"} {
		if err := run(strings.Fields(args)); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}
