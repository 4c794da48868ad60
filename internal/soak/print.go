package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print prints the table.
func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(n any, what string, args ...any) {
		fmt.Fprintf(w, "%v\t  %s\n", n, fmt.Sprintf(what, args...))
	}
	line(r.published, "published")
	line(r.acknowledged, "acknowledged")
	line(r.notSent, "not sent or busy")
	line(r.unknown, "unknown, of which %d are stored", r.unknownStored)
	line(r.stored, "stored")
	line(r.gap, "without an acknowledgement, at most")
	line(r.overtaken, "stored after one of their key that was published later")
	for _, g := range r.groups {
		line(g.again, "handled again by group %s", g.name)
		line(g.reordered, "handled after one of their key that is stored later by group %s of %d", g.name, g.members)
	}
	fmt.Fprintln(w, "\t")
	for _, c := range r.zero {
		verdict := "must be 0: ok"
		switch {
		case c.any:
			verdict = "may be any"
		case c.n > 0:
			verdict = "must be 0: FAILED"
		}
		line(c.n, "%s (%s)", c.what, verdict)
	}
	_ = w.Flush() // what out does not take nobody reads
	for _, c := range r.zero {
		if c.n > 0 && len(c.examples) > 0 {
			fmt.Fprintf(out, "\n%s:\n", c.what)
			for _, e := range c.examples {
				fmt.Fprintf(out, "  %s\n", e)
			}
		}
	}
}
