package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

func (a *app) outbox() *cobra.Command {
	var d database
	cmd := parent("outbox", "Look at an outbox, and after events that the broker refuses",
		`  ticketing outbox stats --db tickets.db
  DATABASE_URL=postgres://tickets@db/tickets ticketing outbox parked
  ticketing outbox requeue 0198c7a0-7d3c-7c55-8a39-4a2f1d9b7f10`,
		a.outboxStats(&d), a.outboxParked(&d),
		a.outboxChange(&d, "requeue", "Publish parked events again, and those that wait behind them", "requeued", outbox.Store.Requeue),
		a.outboxChange(&d, "discard", "Delete parked events, so that those behind them go on", "discarded", outbox.Store.Discard))
	f := cmd.PersistentFlags()
	f.StringVar(&d.url, "db", "", "postgres:// URL or host=… dbname=…, or the file of an SQLite database (default: $DATABASE_URL, which keeps a password out of the list of processes)")
	f.StringVar(&d.table, "table", "outbox", "the table's name")
	f.StringVar(&d.schema, "schema", "", "its schema in PostgreSQL (default: the search_path's)")
	return cmd
}

// stats is an outbox's state in JSON. Durations are seconds.
type stats struct {
	Pending   int64   `json:"pending"`
	Oldest    float64 `json:"oldest_seconds"`
	Parked    int64   `json:"parked"`
	Waiting   int64   `json:"waiting"`
	Published int64   `json:"published"`
	Holder    string  `json:"holder"`
	Epoch     int64   `json:"epoch"`
	Lease     float64 `json:"lease_seconds"`
}

func (a *app) outboxStats(d *database) *cobra.Command {
	return &cobra.Command{
		Use:     "stats",
		Short:   "Count what is to be published, parked and waiting, and tell who publishes",
		Example: `  ticketing outbox stats --db tickets.db`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.open(cmd.Context(), func(ctx context.Context, s outbox.Store) error {
				st, err := s.Stats(ctx)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(stats{
						Pending: st.Pending, Oldest: st.Oldest.Seconds(), Parked: st.Parked, Waiting: st.Waiting,
						Published: st.Published, Holder: st.Holder, Epoch: st.Epoch, Lease: st.Lease.Seconds(),
					})
				}
				t := newTable(a.out, "pending", fmt.Sprint(st.Pending))
				if st.Pending > 0 {
					t.row("oldest", st.Oldest.Round(time.Millisecond).String())
				}
				t.row("parked", fmt.Sprint(st.Parked))
				t.row("waiting behind them", fmt.Sprint(st.Waiting))
				t.row("published", fmt.Sprint(st.Published))
				relay := "none"
				if st.Lease > 0 {
					relay = fmt.Sprintf("%s, for another %v", st.Holder, st.Lease.Round(time.Millisecond))
				}
				t.row("relay", relay)
				return t.flush()
			})
		},
	}
}

// parkedEvent is a parked event in JSON.
type parkedEvent struct {
	ID      string              `json:"id"`
	Subject ticketing.Subject   `json:"subject"`
	Key     string              `json:"key"`
	Age     float64             `json:"age_seconds"`
	Reason  string              `json:"reason"`
	Header  map[string][]string `json:"header,omitempty"`
	payload
}

func (a *app) outboxParked(d *database) *cobra.Command {
	return &cobra.Command{
		Use:   "parked",
		Short: "List the events that the broker refuses by their own fault",
		Example: `  ticketing outbox parked --db tickets.db
  ticketing outbox parked --json | jq -r .id`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.open(cmd.Context(), func(ctx context.Context, s outbox.Store) error {
				return a.listParked(parked(ctx, s))
			})
		},
	}
}

func (a *app) listParked(events iter.Seq2[outbox.Parked, error]) error {
	return listing[outbox.Parked]{
		header: []string{"ID", "SUBJECT", "KEY", "PARKED", "REASON"},
		row: func(p outbox.Parked) []string {
			m := p.Message
			return []string{m.ID, string(m.Subject), m.Key, p.Age.Round(time.Second).String() + " ago", clip(printable(p.Reason), 70)}
		},
		json: func(p outbox.Parked) any {
			m := p.Message
			return parkedEvent{m.ID, m.Subject, m.Key, p.Age.Seconds(), p.Reason, m.Header, newPayload(m.Data)}
		},
		none: "no parked events",
	}.print(a, events)
}

// parked yields the parked events, some at a time.
func parked(ctx context.Context, s outbox.Store) iter.Seq2[outbox.Parked, error] {
	const page = 100
	return func(yield func(outbox.Parked, error) bool) {
		for after := int64(0); ; {
			rows, err := s.Parked(ctx, after, page)
			if err != nil {
				yield(outbox.Parked{}, err)
				return
			}
			for _, p := range rows {
				if !yield(p, nil) {
					return
				}
				after = p.Seq
			}
			if len(rows) < page {
				return
			}
		}
	}
}

func (a *app) outboxChange(d *database, use, short, done string, do func(outbox.Store, context.Context, ...string) (int, error)) *cobra.Command {
	var all, yes bool
	cmd := &cobra.Command{
		Use:     use + " [<id> ...]",
		Short:   short,
		Example: "  ticketing outbox " + use + " 0198c7a0-7d3c-7c55-8a39-4a2f1d9b7f10",
		RunE: func(cmd *cobra.Command, ids []string) error {
			switch {
			case all == (len(ids) > 0):
				return usagef("give the ids of parked events, or --all")
			case all && use == "discard" && !yes:
				return usagef("discarding all needs --yes; see what it is about with ticketing outbox parked")
			}
			return d.open(cmd.Context(), func(ctx context.Context, s outbox.Store) error {
				if all {
					for p, err := range parked(ctx, s) {
						if err != nil {
							return err
						}
						ids = append(ids, p.Message.ID)
					}
				}
				return a.change(ctx, s, ids, all, done, do)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are parked")
	if use == "discard" {
		cmd.Flags().BoolVar(&yes, "yes", false, "really discard them all")
	}
	return cmd
}

func (a *app) change(ctx context.Context, s outbox.Store, ids []string, all bool, done string, do func(outbox.Store, context.Context, ...string) (int, error)) error {
	n := 0
	if len(ids) > 0 {
		var err error
		if n, err = do(s, ctx, ids...); err != nil {
			return err
		}
	}
	if a.json {
		if err := a.printJSON(map[string]int{done: n}); err != nil {
			return err
		}
	} else if err := a.printf("%s %d\n", done, n); err != nil {
		return err
	}
	if n < len(ids) && !all { // another may have been at it
		return fmt.Errorf("%w: %d of %d", errNotParked, len(ids)-n, len(ids))
	}
	return nil
}
