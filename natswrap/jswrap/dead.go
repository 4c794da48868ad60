package jswrap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
)

// deadLetters is the dead letters' stream, seen as a [deadletter.Store].
type deadLetters struct{ c *Client }

// DeadLetters returns the dead letters of the stream that stores dead.>. It is
// read by single requests for messages.
func (c *Client) DeadLetters() deadletter.Store { return deadLetters{c} }

// open finds the stream.
func (d deadLetters) open(ctx context.Context) (jetstream.Stream, error) {
	name, err := d.c.streamOf(ctx, deadSubjects)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: %s", ticketing.ErrNoStream, deadSubjects)
	}
	if err != nil {
		return nil, fmt.Errorf("look up the stream of the dead letters: %w", err)
	}
	s, err := d.c.openStream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	return s, nil
}

// List implements [deadletter.Store].
func (d deadLetters) List(ctx context.Context, f deadletter.Filter) iter.Seq2[*deadletter.Letter, error] {
	return func(yield func(*deadletter.Letter, error) bool) {
		if err := f.Validate(); err != nil {
			yield(nil, err)
			return
		}
		s, err := d.open(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		subject := deadFilter(f)
		last := s.CachedInfo().State.LastSeq // a replay may fail and add to them
		for next := max(s.CachedInfo().State.FirstSeq, 1); next <= last; next++ {
			m, err := d.message(ctx, s, next, jetstream.WithGetMsgSubject(subject))
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
				return
			case err != nil:
				yield(nil, fmt.Errorf("read stream %s: %w", s.CachedInfo().Config.Name, err))
				return
			case m.Sequence > last:
				return
			}
			next = m.Sequence
			l, ok := d.letter(s, m)
			if ok && f.Match(l) && !yield(l, nil) {
				return
			}
		}
	}
}

// deadFilter is the pattern of the subjects that f asks for.
func deadFilter(f deadletter.Filter) string {
	group, subject := "*", ">"
	if f.Group != "" {
		group = f.Group
	}
	if f.Subject != "" {
		subject = string(f.Subject)
	}
	return ticketing.DeadLetterPrefix + "." + group + "." + subject
}

func (d deadLetters) message(ctx context.Context, s jetstream.Stream, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	api, cfg := "STREAM.MSG.GET.", s.CachedInfo().Config
	if cfg.AllowDirect {
		api = "DIRECT.GET."
	}
	return request(ctx, d.c, api+cfg.Name, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return s.GetMsg(ctx, seq, opts...) })
}

func (d deadLetters) letter(s jetstream.Stream, raw *jetstream.RawStreamMsg) (*deadletter.Letter, bool) {
	group, subject, ok := deadletter.ParseChannel(ticketing.Subject(raw.Subject))
	if !ok {
		return nil, false // another's: the stream stores all of dead.>
	}
	m := opened(raw)
	m.Time = raw.Time // the envelope's is its writer's
	if m.ID == "" {
		m.ID = positionID(s.CachedInfo().Config.Name, delivery{sequence: raw.Sequence, time: raw.Time.UnixNano()})
	}
	return deadletter.FromMessage(deadletter.Ref{Group: group, Subject: subject, Sequence: raw.Sequence}, m), true
}

// opened is a stored message as a listener gets it: out of its envelope, where
// it has one. It changes the message's header.
func opened(raw *jetstream.RawStreamMsg) *ticketing.Message {
	m := &ticketing.Message{Time: raw.Time, Data: raw.Data}
	m.ID, m.Header = splitHeader(raw.Header)
	cloudevent.ReadHeader(m)
	return m
}

// Get implements [deadletter.Store].
func (d deadLetters) Get(ctx context.Context, r deadletter.Ref) (*deadletter.Letter, error) {
	s, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	return d.get(ctx, s, r)
}

func (d deadLetters) get(ctx context.Context, s jetstream.Stream, r deadletter.Ref) (*deadletter.Letter, error) {
	raw, err := d.message(ctx, s, r.Sequence)
	if err == nil && raw.Subject != string(r.Channel()) {
		err = jetstream.ErrMsgNotFound
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("%v: %w", r, deadletter.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("read dead letter %v: %w", r, err)
	}
	l, ok := d.letter(s, raw)
	if !ok {
		return nil, fmt.Errorf("%v: %w", r, deadletter.ErrNotFound)
	}
	return l, nil
}

// Replay implements [deadletter.Store].
func (d deadLetters) Replay(ctx context.Context, l *deadletter.Letter) error {
	m := l.Replay()
	if l.Cut != "" {
		if err := d.complete(ctx, l, m); err != nil {
			return fmt.Errorf("replay %v: %w", l.Ref, err)
		}
	}
	stored := make(chan error, 1)
	d.c.Send(ctx, m, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		return err
	}
	s, err := d.open(ctx)
	if err == nil {
		err = d.remove(ctx, s, l.Sequence)
	}
	if err != nil && !errors.Is(err, deadletter.ErrNotFound) { // another took it off meanwhile
		return fmt.Errorf("%v was replayed, and its dead letter is still there: %w", l.Ref, err)
	}
	return nil
}

// complete puts into m what its dead letter lacks, from where the event was
// published. Headers that are not there any more are done without.
func (d deadLetters) complete(ctx context.Context, l *deadletter.Letter, m *ticketing.Message) error {
	event, err := d.original(ctx, l)
	switch {
	case err == nil:
		m.Data = event.Data
		for name, values := range event.Header {
			if _, ours := m.Header[name]; !ours {
				m.Header[name] = values
			}
		}
		if m.Validate() != nil { // headers that this module does not send
			m.Header = l.Replay().Header
		}
		return nil
	case l.Whole():
		return nil
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return deadletter.ErrCut
	}
	return err
}

// original returns the event that l was made of, where it is still stored.
func (d deadLetters) original(ctx context.Context, l *deadletter.Letter) (*ticketing.Message, error) {
	name, err := d.c.streamOf(ctx, string(l.Subject))
	if err != nil {
		return nil, err
	}
	s, err := d.c.openStream(ctx, name)
	if err != nil {
		return nil, err
	}
	raw, err := d.message(ctx, s, l.Position)
	if err != nil {
		return nil, err
	}
	event := opened(raw)
	if raw.Subject != string(l.Subject) || !event.Time.Equal(l.Published) {
		return nil, jetstream.ErrMsgNotFound // of a stream that was made anew
	}
	return event, nil
}

// Discard implements [deadletter.Store].
func (d deadLetters) Discard(ctx context.Context, r deadletter.Ref) error {
	s, err := d.open(ctx)
	if err != nil {
		return err
	}
	if _, err := d.get(ctx, s, r); err != nil { // the sequence may be another's
		return err
	}
	if err := d.remove(ctx, s, r.Sequence); err != nil {
		return fmt.Errorf("discard %v: %w", r, err)
	}
	return nil
}

func (d deadLetters) remove(ctx context.Context, s jetstream.Stream, seq uint64) error {
	api := "STREAM.MSG.DELETE." + s.CachedInfo().Config.Name
	err := d.c.request(ctx, api, func(ctx context.Context) error { return s.DeleteMsg(ctx, seq) })
	if gone(err) {
		return deadletter.ErrNotFound
	}
	return err
}

// codeNoSequence says that there is no message with a sequence.
const codeNoSequence jetstream.ErrorCode = 10043

// gone reports whether a message was not deleted because it is not there. A
// server in a cluster finds that out late, and has no code for it then.
func gone(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeNoSequence || strings.Contains(api.Description, "no message found"))
}
