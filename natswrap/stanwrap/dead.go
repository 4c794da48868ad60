package stanwrap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
)

// deadLetters are the channels of dead letters, seen as a [deadletter.Store].
type deadLetters struct {
	c        *Client
	subjects []ticketing.Subject
}

// DeadLetters returns the dead letters of the groups, of events that were
// published on subjects where a [deadletter.Filter] does not name one. See
// package deadletter for what NATS Streaming cannot do.
func (c *Client) DeadLetters(subjects []ticketing.Subject) deadletter.Store {
	return deadLetters{c, subjects}
}

// List implements [deadletter.Store]. Each channel is read twice: first for
// what became of the letters. It ends with [ticketing.ErrNotConnected] when the
// connection is lost meanwhile, and so do the other methods.
func (d deadLetters) List(ctx context.Context, f deadletter.Filter) iter.Seq2[*deadletter.Letter, error] {
	return func(yield func(*deadletter.Letter, error) bool) {
		err := f.Validate()
		if err == nil && f.Group == "" {
			err = deadletter.ErrGroupNeeded
		}
		if err != nil {
			yield(nil, err)
			return
		}
		subjects := d.subjects
		if f.Subject != "" {
			subjects = []ticketing.Subject{f.Subject}
		}
		ends, err := d.ends(ctx, f.Group, subjects)
		if err != nil {
			yield(nil, err)
			return
		}
		for i, s := range subjects {
			for l, err := range d.channel(ctx, deadletter.Ref{Group: f.Group, Subject: s, Sequence: 1}, ends[i]) {
				if err == nil && !f.Match(l) {
					continue
				}
				if !yield(l, err) || err != nil {
					return
				}
			}
		}
	}
}

// ends returns the last sequences of a group's channels. An empty one takes its
// time, so all are asked at once.
func (d deadLetters) ends(ctx context.Context, group string, subjects []ticketing.Subject) ([]uint64, error) {
	ends, errs := make([]uint64, len(subjects)), make([]error, len(subjects))
	var asked sync.WaitGroup
	for i, s := range subjects {
		asked.Go(func() { ends[i], errs[i] = d.c.last(ctx, ticketing.DeadLetterSubject(group, s)) })
	}
	asked.Wait()
	return ends, errors.Join(errs...)
}

// channel yields the letters of first's channel that nothing became of yet,
// from its sequence up to last.
func (d deadLetters) channel(ctx context.Context, first deadletter.Ref, last uint64) iter.Seq2[*deadletter.Letter, error] {
	return func(yield func(*deadletter.Letter, error) bool) {
		channel := first.Channel()
		done, err := d.done(ctx, channel, first.Sequence, last)
		if err != nil {
			yield(nil, err)
			return
		}
		for m, err := range d.c.read(ctx, channel, first.Sequence, last) {
			if err != nil {
				yield(nil, err)
				return
			}
			r := deadletter.Ref{Group: first.Group, Subject: first.Subject, Sequence: m.Sequence}
			if l, ok := letter(r, m); ok && !done[m.Sequence] && !yield(l, nil) {
				return
			}
		}
	}
}

// done lists the letters of a channel that were replayed or discarded.
func (d deadLetters) done(ctx context.Context, channel ticketing.Subject, from, to uint64) (map[uint64]bool, error) {
	done := make(map[uint64]bool)
	for m, err := range d.c.read(ctx, channel, from, to) {
		if err != nil {
			return nil, err
		}
		if r, ok := parseRecord(m.Data); ok && r.Kind != recordDead {
			done[r.Of] = true
		}
	}
	return done, nil
}

// letter reads a dead letter, and reports false for another record. What
// something else has stored is a letter of which nothing is known but itself.
func letter(ref deadletter.Ref, m *stan.Msg) (*deadletter.Letter, bool) {
	msg := ticketing.Message{ID: messageID(m), Time: timeOf(m), Data: m.Data}
	if r, ok := parseRecord(m.Data); ok {
		if r.Kind != recordDead {
			return nil, false
		}
		r.apply(&msg)
	}
	return deadletter.FromMessage(ref, &msg), true
}

// Get implements [deadletter.Store]. It reads the channel from r on.
func (d deadLetters) Get(ctx context.Context, r deadletter.Ref) (*deadletter.Letter, error) {
	last, err := d.c.last(ctx, r.Channel())
	if err != nil {
		return nil, err
	}
	for l, err := range d.channel(ctx, r, last) {
		if err != nil {
			return nil, err
		}
		if l.Sequence == r.Sequence {
			return l, nil
		}
		break
	}
	return nil, fmt.Errorf("%v: %w", r, deadletter.ErrNotFound)
}

// Replay implements [deadletter.Store].
func (d deadLetters) Replay(ctx context.Context, l *deadletter.Letter) error {
	m := l.Replay()
	if !l.Whole() {
		data, err := d.original(ctx, l)
		if err != nil {
			return fmt.Errorf("replay %v: %w", l.Ref, err)
		}
		m.Data = data
	}
	r := &record{
		Kind: recordReplay, Of: l.Sequence, ID: m.ID, Header: m.Header, Data: m.Data,
		Subject: l.Subject, Position: l.Position, Published: l.Published,
	}
	if err := d.append(ctx, r, m, replayChannel(l.Group)); err != nil {
		return err
	}
	if err := d.append(ctx, &record{Kind: recordReplayed, Of: l.Sequence}, m, l.Channel()); err != nil {
		return fmt.Errorf("%v was replayed, and its dead letter is still there: %w", l.Ref, err)
	}
	return nil
}

// original returns the payload of the event that l was made of, where it is
// still stored.
func (d deadLetters) original(ctx context.Context, l *deadletter.Letter) ([]byte, error) {
	last, err := d.c.last(ctx, l.Subject)
	if err != nil {
		return nil, err
	}
	for m, err := range d.c.read(ctx, l.Subject, l.Position, min(l.Position, last)) {
		switch {
		case err != nil:
			return nil, err
		case m.Sequence == l.Position && timeOf(m).Equal(l.Published):
			return m.Data, nil
		}
	}
	return nil, deadletter.ErrCut
}

// Discard implements [deadletter.Store]. The letter's message stays in the
// channel until the channel's limits remove it.
func (d deadLetters) Discard(ctx context.Context, r deadletter.Ref) error {
	l, err := d.Get(ctx, r)
	if err != nil {
		return err
	}
	return d.append(ctx, &record{Kind: recordDiscarded, Of: r.Sequence}, &ticketing.Message{ID: l.ID}, r.Channel())
}

// append stores r, made for m, behind the letters.
func (d deadLetters) append(ctx context.Context, r *record, m *ticketing.Message, channel ticketing.Subject) error {
	m, err := r.encode(m, channel)
	if err != nil {
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	}
	stored := make(chan error, 1)
	d.c.sendPlain(ctx, m, func(err error) { stored <- err })
	return <-stored
}
