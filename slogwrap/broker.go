package slogwrap

import (
	"context"
	"errors"
	"log/slog"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/around"
)

// Broker logs what another broker sends, and what becomes of what it hands
// over. Its methods may be called concurrently.
type Broker struct {
	*Sender
	next ticketing.Receiver
}

var _ ticketing.Receiver = (*Broker)(nil)

// NewBroker returns a broker around b, which is both a Sender and a Receiver, so
// that a listener's dead letters take the same way. A nil b is a mistake in the
// program, and panics.
func NewBroker(b interface {
	ticketing.Sender
	ticketing.Receiver
}, opts *Options) *Broker {
	if b == nil {
		panic("slogwrap: NewBroker: the broker is nil")
	}
	return &Broker{Sender: NewSender(b, opts), next: b}
}

// Receive receives from the broker within, and writes a line for each verdict.
func (b *Broker) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	return b.next.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
		d := &delivery{ctx: ctx, opts: &b.opts, group: s.Group, next: in, start: time.Now()}
		around.Fill(&d.in, in, d)
		handle(ctx, &d.in)
	})
}

// delivery is a message that was handed over.
type delivery struct {
	in    ticketing.Inbound // what the listener has
	next  *ticketing.Inbound
	ctx   context.Context
	opts  *Options
	group string
	start time.Time
}

var _ ticketing.Retainer = (*delivery)(nil)

// RetainInbound passes the question on. Without an error the message itself was
// not tried: it stands behind one that was, and there may be a window of them.
func (d *delivery) RetainInbound(_ *ticketing.Inbound, v ticketing.Verdict) bool {
	if v.Err != nil {
		d.write(slog.LevelWarn, "event not handled", v, slog.Duration("retry_after", v.After))
	}
	return d.next.Retain(v)
}

// SettleInbound passes the verdict on.
func (d *delivery) SettleInbound(_ *ticketing.Inbound, v ticketing.Verdict) error {
	if err := d.next.Settle(v); err != nil {
		d.write(slog.LevelWarn, "settlement not told", ticketing.Verdict{Err: err, Attempts: v.Attempts}, slog.String("verdict", v.Kind.String()))
		return err
	}
	switch v.Kind {
	case ticketing.Ack:
		d.write(d.opts.Success, "event handled", v)
	case ticketing.Drop:
		d.write(slog.LevelError, "event is a dead letter", v)
	case ticketing.Abandon:
		d.write(slog.LevelError, "event given up", v)
	default:
		d.write(slog.LevelInfo, "event handed back", v, slog.Duration("retry_after", v.After))
	}
	return nil
}

func (d *delivery) write(level slog.Level, msg string, v ticketing.Verdict, more ...slog.Attr) {
	took := time.Since(d.start)
	d.opts.write(d.ctx, level, msg, func() []slog.Attr {
		attrs := append([]slog.Attr{
			slog.String("subject", string(d.in.Subject)),
			slog.String("group", d.group),
			slog.String("id", d.in.ID),
			slog.Uint64("sequence", d.in.Sequence),
			slog.Int("attempts", v.Attempts),
			slog.Duration("duration", took),
		}, more...)
		if v.Err != nil {
			attrs = append(attrs, slog.Any("error", v.Err))
		}
		var p *ticketing.PanicError
		if errors.As(v.Err, &p) {
			attrs = append(attrs, slog.String("stack", string(p.Stack)))
		}
		return attrs
	})
}
