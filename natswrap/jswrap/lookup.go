package jswrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// homes is which stream stores a subject, as far as is known. Reading it costs
// a publish next to nothing; it is written once per subject.
type homes struct {
	mu    sync.Mutex
	known atomic.Pointer[map[ticketing.Subject]string]
}

func (h *homes) get(s ticketing.Subject) (stream string, ok bool) {
	if known := h.known.Load(); known != nil {
		stream, ok = (*known)[s]
	}
	return stream, ok
}

// set remembers where subjects are stored; an empty stream forgets them.
func (h *homes) set(stream string, subjects ...ticketing.Subject) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := make(map[ticketing.Subject]string)
	if old := h.known.Load(); old != nil {
		maps.Copy(known, *old)
	}
	for _, s := range subjects {
		if stream == "" {
			delete(known, s)
		} else {
			known[s] = stream
		}
	}
	h.known.Store(&known)
}

// lookup asks the server which stream stores s, and remembers the answer. The
// error matches [ticketing.ErrNoStream] when the server says that none does.
func (c *Client) lookup(ctx context.Context, s ticketing.Subject) (stream string, err error) {
	stream, err = c.streamOf(ctx, string(s))
	switch {
	case err == nil:
		c.homes.set(stream, s)
		return stream, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		c.homes.set("", s)
		return "", fmt.Errorf("%w: %q is not among the subjects of stream %s or any other; add it to Config.Subjects", ticketing.ErrNoStream, s, c.cfg.Stream)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "", fmt.Errorf("%w: JetStream is not enabled for this account", ticketing.ErrNoStream)
	}
	return "", fmt.Errorf("look up the stream of %q: %w", s, err)
}

// streamOf asks the server which stream stores a subject, or a part of it where
// it has wildcards.
func (c *Client) streamOf(ctx context.Context, subject string) (string, error) {
	return request(ctx, c, func(ctx context.Context) (string, error) {
		return c.js.StreamNameBySubject(ctx, subject)
	})
}

// CheckSubject implements [ticketing.SubjectChecker]. It asks the server.
func (c *Client) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := c.usable(ctx); err != nil {
		return err
	}
	_, err := c.lookup(ctx, s)
	return err
}

// rechecks looks up the streams of publishes that get no answer, one lookup
// per subject at a time.
type rechecks struct {
	mu      sync.Mutex
	running map[ticketing.Subject]bool // whether to look once more
}

// recheck finds out, in the background, whether s has still a stream, and
// fails the open publishes of s where the server says that it has not.
func (c *Client) recheck(s ticketing.Subject) {
	r := &c.rechecks
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = make(map[ticketing.Subject]bool)
	}
	if _, ok := r.running[s]; ok {
		r.running[s] = true
		return
	}
	r.running[s] = false
	go func() {
		for again := true; again; again = r.again(s) {
			c.failWithoutStream(s)
		}
	}()
}

// again reports whether another lookup was asked for during the last.
func (r *rechecks) again(s ticketing.Subject) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	again := r.running[s]
	if again {
		r.running[s] = false
	} else {
		delete(r.running, s)
	}
	return again
}

func (c *Client) failWithoutStream(s ticketing.Subject) {
	// A stream made after the lookup may store what is sent after it.
	before := c.flights.issued()
	_, err := c.lookup(c.life, s)
	if !errors.Is(err, ticketing.ErrNoStream) {
		return
	}
	fail := func(m *ticketing.Message) error {
		return ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
	}
	c.flights.finishAll(func(p *pending) bool { return p.m.Subject == s && p.token < before }, fail, fail)
}
