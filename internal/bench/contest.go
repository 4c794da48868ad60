package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"
)

// bench is one run of this program.
type bench struct {
	rounds  int
	scale   int // the numbers of events are divided by it
	profile *profile
}

// n scales a number of operations.
func (b *bench) n(n int) int { return max(n/b.scale, 1) }

// contest is this module against the raw client.
type contest struct {
	n         int // operations in a turn
	ours, raw side
	between   func(context.Context, *turn) error // after each turn, off the clock; may be nil
}

// side does t.n operations.
type side func(ctx context.Context, t *turn) error

// turn is one measurement of one side.
type turn struct {
	n       int
	start   time.Time
	before  runtime.MemStats
	stopped bool

	elapsed time.Duration
	cpu     time.Duration // of this process; at start, what it had used before
	mallocs uint64
}

// take lets s have a turn.
func take(ctx context.Context, s side, n int) (*turn, error) {
	t := &turn{n: n}
	runtime.GC()
	runtime.ReadMemStats(&t.before)
	t.cpu = cpuTime()
	t.start = time.Now()
	err := s(ctx, t)
	t.stop()
	return t, err
}

// stop ends the measurement before the side returns: what it does from here on
// is not counted.
func (t *turn) stop() {
	if t.stopped {
		return
	}
	t.stopped = true
	t.elapsed = time.Since(t.start)
	t.cpu = cpuTime() - t.cpu
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	t.mallocs = after.Mallocs - t.before.Mallocs
}

func (t *turn) micros() float64    { return float64(t.elapsed.Nanoseconds()) / 1e3 / float64(t.n) }
func (t *turn) perSecond() float64 { return float64(t.n) / t.elapsed.Seconds() }
func (t *turn) cpuMicros() float64 { return float64(t.cpu.Nanoseconds()) / 1e3 / float64(t.n) }
func (t *turn) allocs() float64    { return float64(t.mallocs) / float64(t.n) }

// pair is a round: a turn of each side, one right after the other. A side that
// was not wanted is nil.
type pair struct{ ours, raw *turn }

// interleave measures the rounds of c, after a short warm-up. Who begins
// changes from round to round, because the second finds a warmer machine.
func (b *bench) interleave(ctx context.Context, c contest) ([]pair, error) {
	play := func(s side, n int) (*turn, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		t, err := take(ctx, s, n)
		if err == nil && c.between != nil {
			err = c.between(ctx, t)
		}
		return t, err
	}
	type player struct {
		name string
		side side
		turn func(*pair) **turn
	}
	players := []player{
		{"ours", c.ours, func(p *pair) **turn { return &p.ours }},
		{"raw", c.raw, func(p *pair) **turn { return &p.raw }},
	}
	switch b.profile.side {
	case "ours":
		players = players[:1]
	case "raw":
		players = players[1:]
	}
	for _, p := range players {
		if _, err := play(p.side, max(c.n/4, 1)); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := b.profile.start(); err != nil {
		return nil, err
	}
	pairs := make([]pair, b.rounds)
	for i := range pairs {
		for j := range players {
			p := players[(i+j)%len(players)]
			t, err := play(p.side, c.n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			*p.turn(&pairs[i]) = t
		}
	}
	return pairs, b.profile.stop()
}

// compare makes a metric of pairs: how compares the two values of a round.
// Where only one side was run there is nothing to compare.
func compare(pairs []pair, what, unit string, digits int, value func(*turn) float64, resultDigits int, how func(ours, raw float64) float64, to bar) metric {
	of := func(t *turn) float64 {
		if t == nil {
			return math.NaN()
		}
		return value(t)
	}
	m := metric{
		what: what, unit: unit, digits: digits, resultDigits: resultDigits, bar: to,
		ours:   median(collect(pairs, func(p pair) float64 { return of(p.ours) })),
		raw:    median(collect(pairs, func(p pair) float64 { return of(p.raw) })),
		result: summarize(collect(pairs, func(p pair) float64 { return how(of(p.ours), of(p.raw)) })),
	}
	if math.IsNaN(m.result.mid) {
		m.bar = bar{}
	}
	return m
}

func ratio(ours, raw float64) float64      { return ours / raw }
func difference(ours, raw float64) float64 { return ours - raw }

// timeRatio compares the time of an operation: below 1 ours is quicker.
func timeRatio(pairs []pair, to bar) metric {
	return compare(pairs, "time ratio", "µs", 2, (*turn).micros, 3, ratio, to)
}

// throughputRatio compares operations per second: above 1 ours is quicker.
func throughputRatio(pairs []pair, to bar) metric {
	return compare(pairs, "throughput ratio", "/s", 0, (*turn).perSecond, 3, ratio, to)
}

// cpuRatio compares the processor time that the client takes for an operation.
// It has no bar, and less noise than what has one: it does not count the wait
// for a busy machine.
func cpuRatio(pairs []pair) metric {
	return compare(pairs, "client CPU ratio", "µs", 2, (*turn).cpuMicros, 3, ratio, bar{})
}

// moreAllocs compares the allocations of an operation: how many more ours has.
func moreAllocs(pairs []pair, to bar) metric {
	return compare(pairs, "allocations over raw", "", 1, (*turn).allocs, 1, difference, to)
}
