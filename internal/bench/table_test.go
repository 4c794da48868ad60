package main

import (
	"math"
	"strings"
	"testing"
)

func TestABarIsComparedWithWhatIsPrinted(t *testing.T) {
	for _, tt := range []struct {
		result float64
		digits int
		bar    bar
		want   bool
	}{
		{1.0004, 3, bar{atMost, 1}, true}, // printed as 1.000
		{1.0006, 3, bar{atMost, 1}, false},
		{0.9696, 3, bar{atLeast, 0.97}, true}, // printed as 0.970
		{0.969, 3, bar{atLeast, 0.97}, false},
		{4.04, 1, bar{atMost, 4}, true},
		{4.1, 1, bar{atMost, 4}, false},
		{-9, 1, bar{atMost, 4}, true},
		{1e9, 1, bar{}, true},
	} {
		m := metric{result: spread{mid: tt.result}, resultDigits: tt.digits, bar: tt.bar}
		if got := m.reached(); got != tt.want {
			t.Errorf("%v against %q: reached = %v, want %v", tt.result, m.toReach(), got, tt.want)
		}
	}
}

func TestTheTableEndsWithALinePerMissedBar(t *testing.T) {
	var tbl table
	tbl.add("first",
		metric{what: "time ratio", ours: 55, raw: 50, unit: "µs", result: spread{1.1, 1, 1.2}, resultDigits: 3, bar: bar{atMost, 1.03}},
		metric{what: "allocations", ours: 5, raw: math.NaN(), result: spread{5, 5, 5}, bar: bar{atMost, 5}})
	tbl.add("second", metric{what: "throughput ratio", ours: 2, raw: 1, result: spread{2, 2, 2}, resultDigits: 3})
	var out strings.Builder
	tbl.print(&out)
	const want = `row     measured          ours   raw    result  min..max      to reach  
first   time ratio        55 µs  50 µs  1.100   1.000..1.200  <= 1.03   MISS
        allocations       5      -      5       5..5          <= 5      pass
second  throughput ratio  2      1      2.000   2.000..2.000            

missed: first, time ratio: 1.100, to reach <= 1.03
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := tbl.missed(); got != 1 {
		t.Errorf("missed() = %d, want 1", got)
	}
}
