package main

import (
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// usage is what this process has, without the servers.
type usage struct {
	goroutines int
	heap       uint64   // bytes, after garbage was collected
	stacks     []string // of the goroutines, where they did not end
}

func measure() usage {
	runtime.GC()
	runtime.GC() // pools keep things over one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{goroutines: runtime.NumGoroutine(), heap: m.HeapAlloc}
}

// settleTimeout is how long goroutines get to end after all was closed. That of
// nats.go which deletes the ordered consumer that another has replaced takes up
// to 10 seconds by itself.
const settleTimeout = 30 * time.Second

// measureAgain waits until there are no more goroutines than before.
func measureAgain(before usage) usage {
	deadline := time.After(settleTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for runtime.NumGoroutine() > before.goroutines {
		select {
		case <-tick.C:
		case <-deadline:
			after := measure()
			after.stacks = stacks()
			return after
		}
	}
	return measure()
}

// stacks are those of all goroutines, to find one that should have ended.
func stacks() []string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // a Builder takes all
	return strings.Split(strings.TrimSpace(b.String()), "\n\n")
}
