package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
	"github.com/nats-io/stan.go/pb"
	"github.com/spf13/cobra"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// watch is what is listened to.
type watch struct {
	subject ticketing.Subject
	since   time.Time // or zero: from now on
}

// live is an event as it came. The JSON is what --json prints.
type live struct {
	Subject  ticketing.Subject   `json:"subject"`
	Sequence uint64              `json:"sequence"`
	Time     *time.Time          `json:"time"`
	ID       string              `json:"id,omitempty"`
	Header   map[string][]string `json:"header,omitempty"`
	payload
	data []byte
}

func (a *app) listen() *cobra.Command {
	var since string
	var count int
	cmd := &cobra.Command{
		Use:   "listen <subject>",
		Short: "Print live events, without taking them from anybody",
		Long: `Print live events as they are stored, without taking them from anybody: no group
is joined and no position is kept. Ctrl-C ends it with status 0, or with 130
before --count is reached.`,
		Example: `  ticketing listen ticket:created
  ticketing listen ticket:created --since 1h --json | jq .data`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeSubjects(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var w watch
			var err error
			if w.subject, err = subject(args[0]); err != nil {
				return err
			}
			if w.since, err = parseTime("--since", since, time.Now()); err != nil {
				return usage(err)
			}
			if count < 0 {
				return usagef("--count cannot be negative")
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *natswrap.Client) error {
				return a.print(ctx, c, w, count)
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "begin with what was stored since: 90m or 24h ago, or a time (default: now)")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after so many events (0: go on)")
	return cmd
}

// print prints what comes, until ctx ends or count is reached.
func (a *app) print(ctx context.Context, c *natswrap.Client, w watch, count int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := 0
	handle := func(e live) error {
		if count > 0 && n == count {
			return nil // on its way when the last was printed
		}
		if n++; n == count {
			defer cancel()
		}
		return a.printLive(e)
	}
	ready := func() { fmt.Fprintf(a.errs, "listening to %s\n", w.subject) }
	var err error
	if js, ok := c.JetStream(); ok {
		err = watchStream(ctx, js, w, ready, handle)
	} else {
		err = watchChannel(ctx, c, w, ready, handle)
	}
	if err == nil && n < count {
		err = fmt.Errorf("interrupted after %d of %d events", n, count)
	}
	return err
}

func (a *app) printLive(e live) error {
	if a.json {
		e.payload = newPayload(e.data)
		return a.printJSON(e)
	}
	return a.printf("%s  %d  %s  %s\n", e.Time.Format("15:04:05.000"), e.Sequence, printable(e.ID), printable(string(e.data)))
}

// abandoned is how long the server keeps the consumer of a listen that was
// killed.
const abandoned = 30 * time.Second

// watchStream reads with a consumer that no group knows, and that goes with it.
func watchStream(ctx context.Context, js jetstream.JetStream, w watch, ready func(), handle func(live) error) error {
	stream, err := js.StreamNameBySubject(ctx, string(w.subject))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %s", ticketing.ErrNoStream, w.subject)
	}
	if err != nil {
		return fmt.Errorf("look up the stream of %s: %w", w.subject, err)
	}
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{string(w.subject)},
		DeliverPolicy:     jetstream.DeliverNewPolicy,
		InactiveThreshold: abandoned,
	}
	if !w.since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &w.since
	}
	consumer, err := js.OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", w.subject, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = js.DeleteConsumer(ctx, stream, consumer.CachedInfo().Name) // otherwise the server does
	}()
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("listen to %s: %w", w.subject, err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	ready()
	for {
		m, err := messages.Next()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("listen to %s: %w", w.subject, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		h := m.Headers()
		e := live{Subject: w.subject, Sequence: meta.Sequence.Stream, Time: moment(meta.Timestamp), ID: h.Get(ticketing.HeaderID), Header: h, data: m.Data()}
		if err := handle(e); err != nil {
			return err
		}
	}
}

// watchChannel reads with a subscription that is not durable. It ends with the
// session, which it cannot follow.
func watchChannel(ctx context.Context, c *natswrap.Client, w watch, ready func(), handle func(live) error) error {
	conn, _ := c.Stan()
	from := stan.StartAt(pb.StartPosition_NewOnly)
	if !w.since.IsZero() {
		from = stan.StartAtTime(w.since)
	}
	events := make(chan *stan.Msg)
	sub, err := conn.Subscribe(string(w.subject), func(m *stan.Msg) {
		select {
		case events <- m:
		case <-ctx.Done():
		}
	}, from)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", w.subject, err)
	}
	defer sub.Close()
	ready()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case m := <-events:
			at := time.Unix(0, m.Timestamp)
			if err := handle(live{Subject: w.subject, Sequence: m.Sequence, Time: moment(at), data: m.Data}); err != nil {
				return err
			}
		case <-look.C:
			if now, _ := c.Stan(); now != conn {
				return fmt.Errorf("%w: the session with NATS Streaming was lost", ticketing.ErrNotConnected)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
