package natstest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ducnguyen96/ticketing-common"
)

// sequences is a wanted sequence beside the recorded one.
type sequences struct {
	want   []expected
	got    []*ticketing.Message
	labels []string // of got
	codec  ticketing.Codec
	known  map[pair]string // differences
}

// pair is a place in both sequences, or -1 where an element has no partner.
type pair struct{ want, got int }

// sequenceDiff compares a recorded sequence with the wanted one. It is empty
// when they are equal.
func sequenceDiff(want []expected, got []*ticketing.Message, codec ticketing.Codec) string {
	s := sequences{want: want, got: got, codec: codec, known: make(map[pair]string)}
	for _, m := range got {
		s.labels = append(s.labels, label(m.Subject, m.Key))
	}
	var b strings.Builder
	equal := true
	for _, p := range s.align() {
		switch {
		case p.got < 0:
			equal = false
			fmt.Fprintf(&b, "\n- %s", want[p.want].label)
		case p.want < 0:
			equal = false
			fmt.Fprintf(&b, "\n+ %s", s.labels[p.got])
		default:
			fmt.Fprintf(&b, "\n  %s", s.labels[p.got])
			if d := s.difference(p); d != "" {
				equal = false
				fmt.Fprintf(&b, "\n%s", indent(indent(d)))
			}
		}
	}
	switch {
	case equal:
		return ""
	case len(got) == 0:
		b.WriteString("\nnothing at all was recorded")
	}
	return b.String()
}

// worth is what a pair adds to an alignment: most for events that are equal,
// something for the same subject and key, and otherwise nothing. Equal is by
// subject and content: a message may have been sent without its key.
func (s *sequences) worth(p pair) int {
	switch {
	case s.want[p.want].subject != s.got[p.got].Subject:
		return 0
	case s.difference(p) == "":
		return equalEvents
	case s.want[p.want].label == s.labels[p.got]:
		return 1
	default:
		return 0
	}
}

const equalEvents = 3

func (s *sequences) difference(p pair) string {
	d, ok := s.known[p]
	if !ok {
		d = s.want[p.want].difference(s.got[p.got], s.codec)
		s.known[p] = d
	}
	return d
}

// align pairs the sequences off, in order, as well as it can be done: the
// longest common subsequence, with a weight.
func (s *sequences) align() []pair {
	n, m := len(s.want), len(s.got)
	var head, tail []pair
	for lo := 0; lo < min(n, m) && s.worth(pair{lo, lo}) == equalEvents; lo++ {
		head = append(head, pair{lo, lo})
	}
	lo := len(head)
	for n > lo && m > lo && s.worth(pair{n - 1, m - 1}) == equalEvents {
		n, m = n-1, m-1
		tail = append(tail, pair{n, m})
	}
	slices.Reverse(tail)

	// best[i][j] is the worth of aligning want[lo+i:n] with got[lo+j:m].
	best := make([][]int, n-lo+1)
	for i := range best {
		best[i] = make([]int, m-lo+1)
	}
	for i := n - lo - 1; i >= 0; i-- {
		for j := m - lo - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if w := s.worth(pair{lo + i, lo + j}); w > 0 {
				best[i][j] = max(best[i][j], w+best[i+1][j+1])
			}
		}
	}
	all := head
	for i, j := 0, 0; i < n-lo || j < m-lo; {
		switch {
		case j == m-lo || i < n-lo && best[i][j] == best[i+1][j]:
			all = append(all, pair{lo + i, -1})
			i++
		case i == n-lo || best[i][j] == best[i][j+1]:
			all = append(all, pair{-1, lo + j})
			j++
		default:
			all = append(all, pair{lo + i, lo + j})
			i, j = i+1, j+1
		}
	}
	return append(all, tail...)
}
