package main

import (
	"runtime"
	"time"
)

// usage is what this process has, without the servers.
type usage struct {
	goroutines int
	heap       uint64 // bytes, after garbage was collected
}

func measure() usage {
	runtime.GC()
	runtime.GC() // pools keep things over one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc}
}

// settleTimeout is how long goroutines get to end after all was closed.
const settleTimeout = 10 * time.Second

// measureAgain waits until there are no more goroutines than before.
func measureAgain(before usage) usage {
	deadline := time.After(settleTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for runtime.NumGoroutine() > before.goroutines {
		select {
		case <-tick.C:
		case <-deadline:
			return measure()
		}
	}
	return measure()
}
