package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

func TestTheSidesTakeTurnsAndWhoBeginsChanges(t *testing.T) {
	var order []string
	player := func(name string) side {
		return func(_ context.Context, t *turn) error {
			if t.n < 8 {
				name := name + " warms up"
				order = append(order, name)
				return nil
			}
			order = append(order, name)
			return nil
		}
	}
	turns := 0
	b := &bench{rounds: 3, scale: 1, profile: &profile{}}
	pairs, err := b.interleave(t.Context(), contest{
		n: 8, ours: player("ours"), raw: player("raw"),
		between: func(context.Context, *turn) error { turns++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ours warms up", "raw warms up", "ours", "raw", "raw", "ours", "ours", "raw"}
	if !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if len(pairs) != 3 || turns != len(want) {
		t.Errorf("%d rounds and %d turns, want 3 and %d", len(pairs), turns, len(want))
	}
}

func TestOneSideAloneIsNotCompared(t *testing.T) {
	b := &bench{rounds: 2, scale: 1, profile: &profile{side: "ours"}}
	pairs, err := b.interleave(t.Context(), contest{
		n:    1,
		ours: func(context.Context, *turn) error { return nil },
		raw:  func(context.Context, *turn) error { return errors.New("the raw side was run") },
	})
	if err != nil {
		t.Fatal(err)
	}
	m := timeRatio(pairs, bar{atMost, 1})
	if m.bar != (bar{}) || math.IsNaN(m.ours) || !math.IsNaN(m.raw) {
		t.Errorf("got %+v", m)
	}
}

func TestAFailedTurnEndsTheContest(t *testing.T) {
	broken := errors.New("broken")
	fine := func(context.Context, *turn) error { return nil }
	fails := func(context.Context, *turn) error { return broken }
	b := &bench{rounds: 1, scale: 1, profile: &profile{}}
	for name, c := range map[string]contest{
		"ours":    {n: 1, ours: fails, raw: fine},
		"raw":     {n: 1, ours: fine, raw: fails},
		"between": {n: 1, ours: fine, raw: fine, between: fails},
	} {
		if _, err := b.interleave(t.Context(), c); !errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestATurnCountsUntilItIsStopped(t *testing.T) {
	var kept [][]byte
	allocate := func(n int) {
		for range n {
			kept = append(kept, make([]byte, 64))
		}
	}
	got, err := take(t.Context(), func(_ context.Context, t *turn) error {
		allocate(1000)
		t.stop()
		allocate(9000)
		return nil
	}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if a := got.allocs(); a < 1 || a > 2 {
		t.Errorf("%v allocations per operation, want one and a few of the slice", a)
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	of := func(d time.Duration) *turn { return &turn{n: 1, elapsed: d} }
	// The machine gets slower, and ours is always a tenth quicker.
	pairs := []pair{
		{of(9 * time.Millisecond), of(10 * time.Millisecond)},
		{of(90 * time.Millisecond), of(100 * time.Millisecond)},
		{of(900 * time.Millisecond), of(1000 * time.Millisecond)},
	}
	if got := timeRatio(pairs, bar{}).result; math.Abs(got.min-0.9) > 1e-9 || math.Abs(got.max-0.9) > 1e-9 {
		t.Errorf("time ratio %v, want 0.9 throughout", got)
	}
	if got := throughputRatio(pairs, bar{}).result.mid; math.Abs(got-1/0.9) > 1e-9 {
		t.Errorf("throughput ratio %v, want %v", got, 1/0.9)
	}
}
