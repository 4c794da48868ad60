package jswrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// home is where a subject is stored.
type home struct {
	stream string
	window time.Duration // for which it tells duplicates; 0 where that is not known
}

// homes is which stream stores a subject, as far as is known: home{} where the
// account may not ask. Reading it costs a publish next to nothing; it is written
// once per subject.
type homes struct {
	mu    sync.Mutex
	known atomic.Pointer[map[ticketing.Subject]home]
}

func (h *homes) get(s ticketing.Subject) (at home, ok bool) {
	if known := h.known.Load(); known != nil {
		at, ok = (*known)[s]
	}
	return at, ok
}

// set remembers where subjects are stored.
func (h *homes) set(at home, subjects ...ticketing.Subject) {
	h.change(func(known map[ticketing.Subject]home) {
		for _, s := range subjects {
			known[s] = at
		}
	})
}

// forget removes what is known of s.
func (h *homes) forget(s ticketing.Subject) {
	h.change(func(known map[ticketing.Subject]home) { delete(known, s) })
}

// forgetDenied removes what the account might not ask for: on another
// connection it may.
func (h *homes) forgetDenied() {
	h.change(func(known map[ticketing.Subject]home) {
		maps.DeleteFunc(known, func(_ ticketing.Subject, at home) bool { return at.stream == "" })
	})
}

func (h *homes) change(f func(map[ticketing.Subject]home)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := make(map[ticketing.Subject]home)
	if old := h.known.Load(); old != nil {
		maps.Copy(known, *old)
	}
	f(known)
	h.known.Store(&known)
}

// lookup asks the server which stream stores s, and remembers the answer. The
// error matches [ticketing.ErrNoStream] when the server says that none does.
func (c *Client) lookup(ctx context.Context, s ticketing.Subject) (home, error) {
	stream, err := c.streamOf(ctx, string(s))
	if err == nil {
		if at, ok := c.homes.get(s); ok && at.stream == stream {
			return at, nil
		}
		var at home
		if at, err = c.newHome(ctx, stream); err == nil {
			c.homes.set(at, s)
			return at, nil
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		c.homes.forget(s)
		return home{}, fmt.Errorf("%w: %q is not among the subjects of stream %s or any other; add it to Config.Subjects", ticketing.ErrNoStream, s, c.cfg.Stream)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return home{}, fmt.Errorf("%w: JetStream is not enabled for this account", ticketing.ErrNoStream)
	}
	return home{}, fmt.Errorf("look up the stream of %q: %w", s, err)
}

// newHome asks for a stream's window for duplicates: one more request for each
// subject that is not among the configured. Where the account may not ask, it
// is not known, and nothing is published twice.
func (c *Client) newHome(ctx context.Context, stream string) (home, error) {
	cfg, err := c.streamInfo(ctx, stream)
	if err != nil && !errors.Is(err, ticketing.ErrPermission) {
		return home{}, err
	}
	return home{stream, cfg.Duplicates}, nil
}

// streamOf asks the server which stream stores a subject, or a part of it where
// it has wildcards.
func (c *Client) streamOf(ctx context.Context, subject string) (string, error) {
	return request(ctx, c, "STREAM.NAMES", func(ctx context.Context) (string, error) {
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
	c.flights.finishAll(
		func(p *pending) bool { return p.m.Subject == s && p.token < before },
		func(p *pending, _ bool) error { return ticketing.NewPublishError(ticketing.OutcomeRejected, p.m, err) })
}
