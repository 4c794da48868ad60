//go:build race

// Package race tells tests whether the race detector is on. It changes what
// sync.Pool keeps, so that allocations cannot be counted.
package race

// Enabled is true under the race detector.
const Enabled = true
