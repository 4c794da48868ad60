package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// bar is what a measurement has to reach. The zero value is none.
type bar struct {
	kind  barKind
	limit float64
}

type barKind uint8

const (
	noBar barKind = iota
	atMost
	atLeast
)

// metric is one line of the table.
type metric struct {
	what      string
	ours, raw float64 // in unit; NaN where there is none
	unit      string
	digits    int // decimals of ours and raw

	result       spread // what the bar is for: a ratio, a difference, or ours itself
	resultDigits int
	bar          bar
}

// reached reports whether the result, as it is printed, reaches the bar.
func (m *metric) reached() bool {
	got := round(m.result.mid, m.resultDigits)
	switch m.bar.kind {
	case atMost:
		return got <= m.bar.limit
	case atLeast:
		return got >= m.bar.limit
	default:
		return true
	}
}

func (m *metric) verdict() string {
	switch {
	case m.bar.kind == noBar:
		return ""
	case m.reached():
		return "pass"
	default:
		return "MISS"
	}
}

func (m *metric) toReach() string {
	limit := fmt.Sprintf("%.*f", min(m.resultDigits, 2), m.bar.limit)
	switch m.bar.kind {
	case atMost:
		return "<= " + limit
	case atLeast:
		return ">= " + limit
	default:
		return ""
	}
}

func (m *metric) value(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", m.digits, x, m.unit))
}

func (m *metric) outcome(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.*f", m.resultDigits, x)
}

// table collects what was measured.
type table struct {
	lines []line
}

type line struct {
	row string
	metric
}

func (t *table) add(row string, metrics ...metric) {
	for _, m := range metrics {
		t.lines = append(t.lines, line{row, m})
	}
}

// missed counts the bars that were not reached.
func (t *table) missed() int {
	n := 0
	for i := range t.lines {
		if !t.lines[i].reached() {
			n++
		}
	}
	return n
}

// print writes the table, and below it a line for each missed bar.
func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "row\tmeasured\tours\traw\tresult\tmin..max\tto reach\t")
	last := ""
	for i := range t.lines {
		l := &t.lines[i]
		name := l.row
		if name == last {
			name = ""
		}
		last = l.row
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s..%s\t%s\t%s\n",
			name, l.what, l.value(l.ours), l.value(l.raw),
			l.outcome(l.result.mid), l.outcome(l.result.min), l.outcome(l.result.max),
			l.toReach(), l.verdict())
	}
	tw.Flush()

	if t.missed() == 0 {
		return
	}
	fmt.Fprintln(w)
	for i := range t.lines {
		if l := &t.lines[i]; !l.reached() {
			fmt.Fprintf(w, "missed: %s, %s: %s, to reach %s\n", l.row, l.what, l.outcome(l.result.mid), l.toReach())
		}
	}
}
