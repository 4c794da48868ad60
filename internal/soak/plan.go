package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// step is one fault of the schedule.
type step struct {
	fault  fault
	target int // a server, where the fault is one server's
	at     time.Duration
	lasts  time.Duration
	lane   int
}

type fault string

// The faults of servers: one at a time, so that a majority is there.
const (
	faultKill       fault = "kill"
	faultKillLeader fault = "kill leader"
	faultSuspend    fault = "suspend"
	faultTerminate  fault = "terminate"
)

// The faults of the network between clients and servers.
const (
	faultCut          fault = "cut"
	faultCutAll       fault = "cut all"
	faultBreakAll     fault = "break all"
	faultBlackHole    fault = "black hole"
	faultDeaf         fault = "black hole to server"
	faultMute         fault = "black hole to client"
	faultDelayAll     fault = "delay all"
	faultHalfOpen     fault = "half-open at server"
	faultClientsAlone fault = "half-open at client"
	faultSilent       fault = "accept and say nothing"
)

var (
	serverFaults  = []fault{faultKill, faultSuspend, faultKillLeader, faultTerminate}
	networkFaults = []fault{
		faultCut, faultCutAll, faultBreakAll, faultBlackHole, faultDeaf, faultMute,
		faultDelayAll, faultHalfOpen, faultClientsAlone, faultSilent,
	}
)

// The pauses between two faults of a lane, and how long one lasts, at most. In
// a short run they are shorter, so that every fault has its turn.
const (
	least    = 500 * time.Millisecond
	maxGap   = 5 * time.Second
	maxLasts = 20 * time.Second
)

// plan makes the schedule, which is the same for the same arguments: a lane for
// servers and one for the network, side by side. With loseQuorum there is a
// second lane for servers.
func plan(seed uint64, total time.Duration, servers int, loseQuorum bool) []step {
	kinds := [][]fault{serverFaults, networkFaults}
	if loseQuorum {
		kinds = append(kinds, serverFaults)
	}
	gap, lasts := min(maxGap, total/16), min(maxLasts, total/8)
	var steps []step
	for lane, faults := range kinds {
		r := rand.New(rand.NewPCG(seed, uint64(lane)))
		var bag []fault // every fault has its turn before one comes again
		at := between(r, gap)
		for {
			if len(bag) == 0 {
				bag = slices.Clone(faults)
				r.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
			}
			s := step{fault: bag[0], target: r.IntN(servers), at: at, lasts: between(r, lasts), lane: lane}
			if s.at+s.lasts > total {
				break
			}
			steps = append(steps, s)
			bag = bag[1:]
			at += s.lasts + between(r, gap)
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return steps
}

// between returns a time from least to most.
func between(r *rand.Rand, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(max(most-least, 1))))
}

func (s step) String() string {
	return fmt.Sprintf("%s of %s for %.1fs", s.fault, serverName(s.target), s.lasts.Seconds())
}

// serverName is what the i-th server is called, by itself too.
func serverName(i int) string { return fmt.Sprint("n", i+1) }

// printSteps prints how often each fault happened.
func printSteps(out io.Writer, steps []step) {
	counts := make(map[fault]int)
	for _, s := range steps {
		counts[s.fault]++
	}
	var parts []string
	for _, f := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[f], f))
	}
	fmt.Fprintf(out, "%d faults: %s\n", len(steps), strings.Join(parts, ", "))
}
