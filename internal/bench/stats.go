package main

import (
	"math"
	"slices"
)

// spread sums up a measurement that was made several times.
type spread struct{ mid, min, max float64 }

// summarize returns the median and the extremes of values, of which there is
// at least one.
func summarize(values []float64) spread {
	return spread{mid: median(values), min: slices.Min(values), max: slices.Max(values)}
}

// median returns the value in the middle, or the mean of the two there; NaN of
// nothing. It does not change values.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// round rounds x to a number of decimals.
func round(x float64, decimals int) float64 {
	f := math.Pow10(decimals)
	return math.Round(x*f) / f
}

// collect applies f to each of items.
func collect[T any](items []T, f func(T) float64) []float64 {
	values := make([]float64, len(items))
	for i, item := range items {
		values[i] = f(item)
	}
	return values
}
