package main

import (
	"fmt"
	"maps"
	"slices"
)

// report is what became of everything.
type report struct {
	published, acknowledged, notSent, unknown int
	unknownStored                             int
	stored                                    int
	overtaken                                 int // stored after one of their key that was published later
	groups                                    []groupReport
	gap                                       string

	// What has to be zero, with examples.
	zero []count
}

type groupReport struct {
	name             string
	members          int
	again, reordered int
}

// count has to be zero, unless it is only for information.
type count struct {
	what     string
	n        int
	examples []string
	any      bool // only for information
}

// maxExamples is how many are printed.
const maxExamples = 10

func (c *count) add(format string, args ...any) {
	c.n++
	if len(c.examples) < maxExamples {
		c.examples = append(c.examples, fmt.Sprintf(format, args...))
	}
}

// check holds what the clients were told and saw against what is stored, in its
// order. dedupes says that the broker has to store an id once.
func check(l *ledger, stored []Entry, dedupes bool) *report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &report{stored: len(stored), gap: l.gap.Round(1e6).String()}
	lost := count{what: "acknowledged and not stored"}
	ghost := count{what: "failed as not stored, and stored"}
	twice := count{what: "stored twice", any: !dedupes}
	stranger := count{what: "stored and never published"}

	copies := make(map[Entry]int, len(stored))
	last := make(map[string]int)
	for i, e := range stored {
		if copies[e]++; copies[e] == 2 {
			twice.add("%s (again at %d)", e.id(), i+1)
		}
		if e.Publisher >= len(l.published) || e.N >= len(l.published[e.Publisher]) {
			stranger.add("%s (at %d)", e.id(), i+1)
		}
		if copies[e] == 1 {
			if n, ok := last[e.Key()]; ok && e.N < n {
				r.overtaken++
			} else {
				last[e.Key()] = e.N
			}
		}
	}
	hung := count{what: "publishes without an outcome"}
	refused := count{what: "rejected"}
	for publisher, outcomes := range l.published {
		for n, o := range outcomes {
			e := Entry{publisher, n}
			r.published++
			switch o {
			case acknowledged:
				r.acknowledged++
				if copies[e] == 0 {
					lost.add("%s", e.id())
				}
			case notSent:
				r.notSent++
				if copies[e] > 0 {
					ghost.add("%s", e.id())
				}
			case unknown:
				r.unknown++
				if copies[e] > 0 {
					r.unknownStored++
				}
			case rejected:
				refused.add("%s: %v", e.id(), l.rejection)
			case pending:
				hung.add("%s", e.id())
			}
		}
	}
	r.zero = append(r.zero, lost, ghost, twice, stranger, refused, hung,
		count{what: "publishes past their deadline", n: l.late})
	for _, name := range slices.Sorted(maps.Keys(l.groups)) {
		g := l.groups[name]
		gr, missing := checkGroup(name, g, copies)
		r.groups = append(r.groups, gr)
		r.zero = append(r.zero, missing)
		if g.members == 1 {
			r.zero = append(r.zero, count{what: "first delivered out of order to group " + name, n: g.reorderedAtFirst})
		}
	}
	ended := count{what: "listeners that gave up"}
	for _, err := range l.ended {
		ended.add("%v", err)
	}
	r.zero = append(r.zero, ended)
	return r
}

// checkGroup is called with the ledger's mu.
func checkGroup(name string, g *group, stored map[Entry]int) (groupReport, count) {
	gr := groupReport{name: name, members: g.members, reordered: g.reordered + g.reorderedAtFirst}
	missing := count{what: fmt.Sprintf("not delivered to group %s", name)}
	for e := range stored {
		switch times := g.times(e); times {
		case 0:
			missing.add("%s", e.id())
		default:
			gr.again += int(times) - 1
		}
	}
	return gr, missing
}

// maxRetained is what the heap may have grown by, in bytes: pools and caches
// of packages. The ledger is garbage by then.
const maxRetained = 8 << 20

// compare adds what the process has more of than before.
func (r *report) compare(before, after usage) {
	goroutines := count{what: fmt.Sprintf("goroutines too many: %d, at the start %d", after.goroutines, before.goroutines)}
	if goroutines.n = max(0, after.goroutines-before.goroutines); goroutines.n > 0 {
		goroutines.examples = after.stacks
	}
	heap := count{what: fmt.Sprintf("KiB of memory too many: %d, at the start %d", after.heap>>10, before.heap>>10)}
	if most := before.heap + maxRetained; after.heap > most {
		heap.n = int((after.heap - most) >> 10)
	}
	r.zero = append(r.zero, goroutines, heap)
}

// good reports whether all is zero that has to be.
func (r *report) good() bool {
	return !slices.ContainsFunc(r.zero, func(c count) bool { return c.n > 0 && !c.any })
}
