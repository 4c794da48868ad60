package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func (a *app) deadReplay() *cobra.Command {
	var s selection
	cmd := &cobra.Command{
		Use:   "replay [<group/subject/sequence> ...]",
		Short: "Hand dead letters to the listeners of their group again",
		Long: `Hand dead letters to the listeners of their group again, and to nobody else. An
event keeps its id, so that an inbox knows it. A dead letter goes only after its
replay is confirmed: a replay that was interrupted can be repeated.`,
		Example: `  ticketing dead replay orders-srv/ticket:created/7
  ticketing dead replay --group orders-srv --reason timeout
  ticketing dead replay --all`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), &s, args, "replayed", deadletter.Store.Replay)
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&s.all, "all", false, "all of them")
	return cmd
}

func (a *app) deadDiscard() *cobra.Command {
	var s selection
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard [<group/subject/sequence> ...]",
		Short: "Give dead letters up",
		Long: `Give dead letters up. They cannot be had again. On NATS Streaming, which takes
nothing out of a channel, the message stays until the channel's limits remove it,
and only counts as gone.`,
		Example: `  ticketing dead discard orders-srv/ticket:created/7
  ticketing dead discard --group orders-srv --until 720h --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && s.any() && !yes {
				return usagef("discarding by a filter needs --yes; see what it is about with ticketing dead list")
			}
			return a.each(cmd.Context(), &s, args, "discarded", func(store deadletter.Store, ctx context.Context, l *deadletter.Letter) error {
				return store.Discard(ctx, l.Ref)
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&s.all, "all", false, "all of them")
	cmd.Flags().BoolVar(&yes, "yes", false, "really discard what the filter matches")
	return cmd
}

// each does something to the dead letters that are named or chosen.
func (a *app) each(ctx context.Context, s *selection, args []string, done string, do func(deadletter.Store, context.Context, *deadletter.Letter) error) error {
	f, err := s.filter(time.Now())
	if err != nil {
		return err
	}
	switch {
	case len(args) > 0 && s.any():
		return usagef("name dead letters, or choose them by flags, not both")
	case len(args) == 0 && !s.any():
		return usagef("which ones? name them, choose them by flags, or say --all")
	}
	refs := make([]deadletter.Ref, len(args))
	for i, arg := range args {
		if refs[i], err = deadletter.ParseRef(arg); err != nil {
			return usage(err)
		}
	}
	return a.withClient(ctx, func(ctx context.Context, c *natswrap.Client) error {
		store := c.DeadLetters()
		letters := named(ctx, store, refs)
		if len(refs) == 0 {
			letters = s.letters(ctx, store, f)
		}
		return a.work(ctx, store, letters, done, do)
	})
}

func named(ctx context.Context, store deadletter.Store, refs []deadletter.Ref) iter.Seq2[*deadletter.Letter, error] {
	return func(yield func(*deadletter.Letter, error) bool) {
		for _, r := range refs {
			if !yield(store.Get(ctx, r)) {
				return
			}
		}
	}
}

// work goes on after what concerns one dead letter alone, and ends at what
// would happen to the next one as well.
func (a *app) work(ctx context.Context, store deadletter.Store, letters iter.Seq2[*deadletter.Letter, error], done string, do func(deadletter.Store, context.Context, *deadletter.Letter) error) error {
	p := a.progress(done)
	var failed int
	var last error
	for l, err := range letters {
		if err == nil {
			err = do(store, ctx, l)
		}
		if err == nil {
			p.add()
			continue
		}
		failed++
		last = err
		if !ofOne(err) {
			break
		}
		p.clear()
		a.complain(err)
	}
	p.clear()
	if a.json {
		if err := a.printJSON(map[string]int{done: p.n, "failed": failed}); err != nil {
			return err
		}
	} else if err := a.printf("%s %d\n", done, p.n); err != nil {
		return err
	}
	if last != nil {
		return fmt.Errorf("%d not %s, the last because of: %w", failed, done, last)
	}
	return nil
}

// ofOne reports whether err concerns one dead letter alone.
func ofOne(err error) bool {
	for _, target := range []error{deadletter.ErrNotFound, deadletter.ErrCut, ticketing.ErrInvalidEvent} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
