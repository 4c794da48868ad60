package natstest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ducnguyen96/ticketing-common"
)

// What a failure prints at most: enough to see what happened, little enough to
// be read.
const (
	maxNearest = 3
	maxListed  = 10
	maxPayload = 200
)

// payload is m's data for a line of text.
func payload(m *ticketing.Message) string {
	data, more := m.Data, ""
	if len(data) > maxPayload {
		cut := maxPayload
		for cut > maxPayload-utf8.UTFMax && !utf8.RuneStart(data[cut]) {
			cut--
		}
		data, more = data[:cut], fmt.Sprintf("… (%d bytes)", len(m.Data))
	}
	s := string(data)
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		s = fmt.Sprintf("%q", s)
	}
	return s + more
}

// list has a line for each event of the view.
func (v *view[E]) list() string {
	var b strings.Builder
	for i, m := range v.of {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  and %d more", len(v.of)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %d: %s", i+1, payload(m))
	}
	return b.String()
}

// others has a line for each other subject, in the order of their first
// records, or says that nothing was recorded.
func (v *view[E]) others() string {
	if len(v.all) == 0 {
		return "\nnothing at all was recorded"
	}
	var subjects []ticketing.Subject
	count := make(map[ticketing.Subject]int)
	for _, m := range v.all {
		if m.Subject == v.subject {
			continue
		}
		if count[m.Subject]++; count[m.Subject] == 1 {
			subjects = append(subjects, m.Subject)
		}
	}
	if len(subjects) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nalso recorded:")
	for _, s := range subjects {
		fmt.Fprintf(&b, "\n  %d %s", count[s], s)
	}
	return b.String()
}

// instead is what was recorded and did not match.
func (v *view[E]) instead() string {
	if len(v.of) == 0 {
		return v.others()
	}
	return fmt.Sprintf("\nrecorded %s:%s%s", v.subject, v.list(), v.others())
}

// nearest shows the events that differ least from want, best first.
func nearest[E ticketing.Event](want E, events []E, opts []gocmp.Option) string {
	type candidate struct {
		number, differences int
		event               E
	}
	candidates := make([]candidate, len(events))
	for i, e := range events {
		candidates[i] = candidate{i + 1, differences(want, e, opts), e}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.differences, b.differences) })
	var b strings.Builder
	for _, c := range candidates[:min(len(candidates), maxNearest)] {
		plural := "s"
		if c.differences == 1 {
			plural = ""
		}
		fmt.Fprintf(&b, "\nevent %d, %d difference%s:\n%s", c.number, c.differences, plural, indent(diff(want, c.event, opts)))
	}
	return b.String()
}

// differences counts the leaves in which two values differ.
func differences(want, got any, opts []gocmp.Option) int {
	var c counter
	gocmp.Equal(want, got, gocmp.Options(opts), gocmp.Reporter(&c))
	return int(c)
}

// counter is a reporter to go-cmp that only counts.
type counter int

func (c *counter) PushStep(gocmp.PathStep) {}
func (c *counter) PopStep()                {}
func (c *counter) Report(r gocmp.Result) {
	if !r.Equal() {
		*c++
	}
}

// diff is cmp.Diff with plain spaces: it mixes in others, so that nobody takes
// its text for stable.
func diff(want, got any, opts []gocmp.Option) string {
	return strings.ReplaceAll(gocmp.Diff(want, got, opts...), "\u00a0", " ")
}

// indent moves each line of s two columns to the right.
func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ")
}
