package slogwrap

import (
	"context"
	"errors"
	"log/slog"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/around"
)

// Options configures a [Sender] or a [Broker]. Nil and the zero value are good.
type Options struct {
	// Logger gets the lines. Default [slog.Default], as it is when a line is
	// written.
	Logger *slog.Logger
	// Success is the level of what went well. Default [slog.LevelInfo];
	// [slog.LevelDebug] where that is too much.
	Success slog.Level
}

func (o *Options) orDefault() Options {
	if o == nil {
		return Options{}
	}
	return *o
}

// write writes a line where its level is enabled. attrs is called only then.
func (o *Options) write(ctx context.Context, level slog.Level, msg string, attrs func() []slog.Attr) {
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	if log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, msg, attrs()...)
	}
}

// Sender logs what another Sender sends. Its methods may be called concurrently.
type Sender struct {
	next ticketing.Sender
	opts Options
}

var (
	_ ticketing.Sender             = (*Sender)(nil)
	_ ticketing.SubjectChecker     = (*Sender)(nil)
	_ ticketing.CapabilityReporter = (*Sender)(nil)
)

// NewSender returns a Sender around s. A nil s is a mistake in the program, and
// panics.
func NewSender(s ticketing.Sender, opts *Options) *Sender {
	if s == nil {
		panic("slogwrap: NewSender: the sender is nil")
	}
	return &Sender{next: s, opts: opts.orDefault()}
}

// CheckSubject asks the Sender within. One that cannot tell has nothing to
// object to.
func (s *Sender) CheckSubject(ctx context.Context, subject ticketing.Subject) error {
	return around.CheckSubject(ctx, s.next, subject)
}

// Capabilities are those of the Sender within.
func (s *Sender) Capabilities() ticketing.Capabilities { return around.Capabilities(s.next) }

// Send sends m through the Sender within, and writes a line when the outcome is
// known.
func (s *Sender) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	start := time.Now()
	s.next.Send(ctx, m, func(err error) {
		s.sent(ctx, m, time.Since(start), err)
		done(err)
	})
}

func (s *Sender) sent(ctx context.Context, m *ticketing.Message, took time.Duration, err error) {
	attrs := func() []slog.Attr {
		return []slog.Attr{
			slog.String("subject", string(m.Subject)),
			slog.String("id", m.ID),
			slog.Duration("duration", took),
		}
	}
	if err == nil {
		s.opts.write(ctx, s.opts.Success, "event published", attrs)
		return
	}
	outcome, level := ticketing.OutcomeUnknown, slog.LevelWarn
	var pe *ticketing.PublishError
	if errors.As(err, &pe) {
		outcome = pe.Outcome
	}
	if outcome == ticketing.OutcomeRejected {
		level = slog.LevelError
	}
	s.opts.write(ctx, level, "event not published", func() []slog.Attr {
		return append(attrs(), slog.String("outcome", outcome.String()), slog.Any("error", err))
	})
}
