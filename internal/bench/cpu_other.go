//go:build !unix

package main

import "time"

// cpuTime is not known here, and its ratios are not numbers.
func cpuTime() time.Duration { return 0 }
