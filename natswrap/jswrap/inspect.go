package jswrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Report hears what an inspection finds: what was looked at, how bad it is
// (Info is fine), and what there is to say.
type Report func(check string, level slog.Level, detail string)

// Inspect looks at the streams and the consumers that the configuration asks
// for, and changes nothing.
func (c *Client) Inspect(ctx context.Context, report Report) {
	i := inspection{c, report}
	if s, ok := i.open(ctx, "stream "+c.cfg.Stream, c.cfg.Stream); ok {
		i.stream(s.CachedInfo())
		i.consumers(ctx, s)
	}
	i.deadLetters(ctx)
}

type inspection struct {
	c      *Client
	report Report
}

// open looks up a stream, or says why it cannot.
func (i inspection) open(ctx context.Context, check, name string) (jetstream.Stream, bool) {
	s, err := i.c.openStream(ctx, name)
	switch {
	case err == nil:
		return s, true
	case errors.Is(err, jetstream.ErrStreamNotFound):
		i.report(check, slog.LevelError, "does not exist; a service that may create streams makes it when it connects")
	default:
		i.report(check, slog.LevelError, fmt.Sprintf("cannot be looked at: %v", err))
	}
	return nil, false
}

func (i inspection) stream(info *jetstream.StreamInfo) {
	check, have := "stream "+info.Config.Name, info.Config
	if bad := brokenStream(have); len(bad) > 0 {
		i.report(check, slog.LevelError, fmt.Sprintf("cannot carry events: %v", bad))
	}
	var subjects, missing []string
	for _, s := range i.c.cfg.Subjects {
		subjects = append(subjects, string(s))
		if !covered(string(s), have.Subjects) {
			missing = append(missing, string(s))
		}
	}
	if len(missing) > 0 {
		i.report(check, slog.LevelError, "lacks the subjects "+strings.Join(missing, ", "))
	}
	for _, d := range i.c.compareStream(have, i.c.streamConfig(subjects)) {
		i.report(check, slog.LevelWarn, d.String())
	}
	if len(missing) == 0 {
		i.report(check, slog.LevelInfo, fmt.Sprintf("stores the %d subjects; %d messages, %d replicas", len(subjects), info.State.Msgs, have.Replicas))
	}
}

func (i inspection) deadLetters(ctx context.Context) {
	const check = "dead letters"
	name, err := i.c.streamOf(ctx, deadSubjects)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		i.report(check, slog.LevelError, "no stream stores "+deadSubjects+", so no listener starts")
		return
	case err != nil:
		i.report(check, slog.LevelError, fmt.Sprintf("their stream cannot be looked up: %v", err))
		return
	}
	s, ok := i.open(ctx, check, name)
	if !ok {
		return
	}
	info := s.CachedInfo()
	if !covered(deadSubjects, info.Config.Subjects) {
		i.report(check, slog.LevelError, fmt.Sprintf("stream %s stores only a part of %s", name, deadSubjects))
		return
	}
	i.report(check, slog.LevelInfo, fmt.Sprintf("stream %s stores them; %d messages", name, info.State.Msgs))
}

func (i inspection) consumers(ctx context.Context, s jetstream.Stream) {
	api := "CONSUMER.LIST." + s.CachedInfo().Config.Name
	all, err := request(ctx, i.c, api, func(ctx context.Context) (all []*jetstream.ConsumerInfo, err error) {
		list := s.ListConsumers(ctx)
		for info := range list.Info() {
			all = append(all, info)
		}
		return all, list.Err()
	})
	if err != nil {
		i.report("consumers", slog.LevelError, fmt.Sprintf("cannot be listed: %v", err))
		return
	}
	slices.SortFunc(all, func(a, b *jetstream.ConsumerInfo) int { return strings.Compare(a.Name, b.Name) })
	for _, info := range all {
		i.consumer(info)
	}
}

func (i inspection) consumer(info *jetstream.ConsumerInfo) {
	check, have := "consumer "+info.Name, info.Config
	level := slog.LevelWarn
	if want, ours := wanted(have); ours {
		level = slog.LevelError
		for _, d := range append(brokenConsumer(have, want), mustChange(have)...) {
			if d.field != "max_deliver" {
				i.report(check, level, d.String())
			}
		}
	}
	if have.MaxDeliver > 0 {
		i.report(check, level, fmt.Sprintf(
			"max_deliver is %d: an event that was delivered so often is parked by the server, and no listener and no dead letter tells", have.MaxDeliver))
	}
	i.report(check, slog.LevelInfo, fmt.Sprintf("on %s; %d to deliver, %d not acknowledged, %d of them again",
		filterOf(have), info.NumPending, info.NumAckPending, info.NumRedelivered))
}

// wanted is what a consumer should be, if it is a group's.
func wanted(have jetstream.ConsumerConfig) (want jetstream.ConsumerConfig, ours bool) {
	subject := ticketing.Subject(have.FilterSubject)
	group, _, ok := cutLast(have.Durable, "_")
	if !ok || subject == "" || have.Durable != ConsumerName(group, subject) {
		return want, false
	}
	return consumerConfig(ticketing.Subscription{Group: group, Subject: subject, AckWait: time.Second}), true
}

func filterOf(have jetstream.ConsumerConfig) string {
	switch {
	case have.FilterSubject != "":
		return have.FilterSubject
	case len(have.FilterSubjects) > 0:
		return strings.Join(have.FilterSubjects, ", ")
	}
	return "all subjects"
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
