package main

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
		{[]float64{1, 1, 1, 100}, 1},
		{[]float64{-2, 8, 0, 7, 1000}, 7},
	} {
		before := slices.Clone(tt.values)
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", before, got, tt.want)
		}
		if !slices.Equal(tt.values, before) {
			t.Errorf("median changed its argument to %v", tt.values)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestSummarizeHasTheExtremesBesideTheMedian(t *testing.T) {
	if got, want := summarize([]float64{1.2, 0.8, 1.0, 0.9}), (spread{mid: 0.95, min: 0.8, max: 1.2}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRoundKeepsThatManyDecimals(t *testing.T) {
	for _, tt := range []struct {
		x        float64
		decimals int
		want     float64
	}{{0.9699, 3, 0.970}, {1.0004, 3, 1}, {4.04, 1, 4}, {-8.96, 1, -9}, {31, 0, 31}} {
		if got := round(tt.x, tt.decimals); got != tt.want {
			t.Errorf("round(%v, %d) = %v, want %v", tt.x, tt.decimals, got, tt.want)
		}
	}
}
