package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func (a *app) dead() *cobra.Command {
	return parent("dead", "Look at dead letters, replay and discard them",
		`  ticketing dead list --group orders-srv --reason timeout
  ticketing dead show orders-srv/ticket:created/7`,
		a.deadList(), a.deadShow(), a.deadReplay(), a.deadDiscard())
}

// selection is the flags that choose dead letters.
type selection struct {
	group, subject, since, until, reason string
	limit                                int
	all                                  bool
}

func (s *selection) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.group, "group", "g", "", "of this listener group; required on NATS Streaming")
	f.StringVarP(&s.subject, "subject", "s", "", "of events published on this subject")
	f.StringVar(&s.since, "since", "", "stored since: 90m or 24h ago, or a time such as 2026-01-02T15:04:05Z")
	f.StringVar(&s.until, "until", "", "stored before, likewise")
	f.StringVar(&s.reason, "reason", "", "whose error has this text in it, in upper or lower case")
	f.IntVar(&s.limit, "limit", 0, "at most so many, the oldest first (0: all)")
}

// any reports whether something was chosen by a flag.
func (s *selection) any() bool {
	return s.all || s.group != "" || s.subject != "" || s.since != "" || s.until != "" || s.reason != ""
}

func (s *selection) filter(now time.Time) (f deadletter.Filter, err error) {
	f = deadletter.Filter{Group: s.group, Subject: ticketing.Subject(s.subject), Reason: s.reason}
	if err = f.Validate(); err == nil && s.limit < 0 {
		err = errors.New("--limit cannot be negative")
	}
	if err == nil {
		f.Since, err = parseTime("--since", s.since, now)
	}
	if err == nil {
		f.Until, err = parseTime("--until", s.until, now)
	}
	if err != nil {
		err = usage(err)
	}
	return f, err
}

// parseTime reads a moment, or a duration before now.
func parseTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s %q is neither a duration such as 90m nor a time such as 2026-01-02T15:04:05Z", flag, clip(s, 40))
	}
	return t, nil
}

// letters yields the chosen dead letters.
func (s *selection) letters(ctx context.Context, store deadletter.Store, f deadletter.Filter) iter.Seq2[*deadletter.Letter, error] {
	return func(yield func(*deadletter.Letter, error) bool) {
		n := 0
		for l, err := range store.List(ctx, f) {
			if errors.Is(err, deadletter.ErrGroupNeeded) {
				err = usage(fmt.Errorf("%w with --group", err))
			}
			if !yield(l, err) || err != nil {
				return
			}
			if n++; n == s.limit {
				return
			}
		}
	}
}

func (a *app) deadList() *cobra.Command {
	var s selection
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the oldest first",
		Example: `  ticketing dead list
  ticketing dead list --group orders-srv --subject ticket:created --since 24h
  ticketing dead list --reason timeout --json | jq -r .ref`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := s.filter(time.Now())
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *natswrap.Client) error {
				return a.list(s.letters(ctx, c.DeadLetters(), f))
			})
		},
	}
	s.flags(cmd)
	return cmd
}

func (a *app) list(letters iter.Seq2[*deadletter.Letter, error]) error {
	return listing[*deadletter.Letter]{
		header: []string{"DEAD LETTER", "DIED", "TRIED", "REASON"},
		row: func(l *deadletter.Letter) []string {
			return []string{l.String(), stamp(l.Died), fmt.Sprint(l.Attempts), clip(printable(l.Reason), 70)}
		},
		json: func(l *deadletter.Letter) any { return jsonLetter(l, false) },
		none: "no dead letters",
	}.print(a, letters)
}

// letter is a dead letter in JSON.
type letter struct {
	Ref       string              `json:"ref"`
	Group     string              `json:"group"`
	Subject   ticketing.Subject   `json:"subject"`
	Sequence  uint64              `json:"sequence"`
	ID        string              `json:"id"`
	Died      *time.Time          `json:"died"`
	Tried     int                 `json:"tried"`
	Reason    string              `json:"reason"`
	Published *time.Time          `json:"published,omitempty"`
	Position  uint64              `json:"position,omitempty"`
	Cut       string              `json:"cut,omitempty"`
	Header    map[string][]string `json:"header,omitempty"`
	payload
}

func jsonLetter(l *deadletter.Letter, whole bool) letter {
	j := letter{
		Ref: l.String(), Group: l.Group, Subject: l.Subject, Sequence: l.Sequence,
		ID: l.ID, Died: moment(l.Died), Tried: l.Attempts, Reason: l.Reason,
		Published: moment(l.Published), Position: l.Position, Cut: l.Cut,
	}
	if whole {
		j.Header, j.payload = l.Header, newPayload(l.Data)
	}
	return j
}

func (a *app) deadShow() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "show <group/subject/sequence>",
		Short: "Show a dead letter with its payload",
		Example: `  ticketing dead show orders-srv/ticket:created/7
  ticketing dead show orders-srv/ticket:created/7 --raw | jq .`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := deadletter.ParseRef(args[0])
			if err != nil {
				return usage(err)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *natswrap.Client) error {
				l, err := c.DeadLetters().Get(ctx, r)
				switch {
				case err != nil:
					return err
				case raw:
					_, err = a.out.Write(l.Data)
					return err
				case a.json:
					return a.printJSON(jsonLetter(l, true))
				}
				return a.show(l)
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "print the payload alone, byte for byte")
	return cmd
}

func (a *app) show(l *deadletter.Letter) error {
	t := newTable(a.out, "dead letter", l.String())
	t.row("id", l.ID)
	t.row("died", stamp(l.Died))
	t.row("published", fmt.Sprintf("%s, at %d", stamp(l.Published), l.Position))
	t.row("tried", fmt.Sprint(l.Attempts))
	t.row("reason", l.Reason)
	if l.Cut != "" {
		t.row("missing", l.Cut)
	}
	for name, values := range sorted(l.Header) {
		for _, v := range values {
			t.row("header "+name, v)
		}
	}
	t.row("payload", string(l.Data))
	return t.flush()
}

func sorted(h map[string][]string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		names := make([]string, 0, len(h))
		for name := range h {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if !yield(name, h[name]) {
				return
			}
		}
	}
}
