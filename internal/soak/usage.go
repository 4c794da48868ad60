package main

import (
	"os"
	"runtime"
	"runtime/pprof"
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

// runtimesOwn is how many goroutines may be left: the runtime and the standard
// library start some of theirs when they are first needed. A leak of ours grows
// with the faults; the tests of the packages find a single one.
const runtimesOwn = 2

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
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return measure()
		}
	}
	return measure()
}
