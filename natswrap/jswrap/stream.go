package jswrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// duplicateWindow is how long a stream of ours tells duplicates by their id.
const duplicateWindow = 2 * time.Minute

const (
	deadSuffix   = "_DEAD"
	deadSubjects = ticketing.DeadLetterPrefix + ".>"
)

// Why provisioning is tried again.
var (
	errRace    = errors.New("another client changed the stream at the same time")
	errMissing = errors.New("the stream does not exist")
)

// provision makes sure of the stream and of a place for dead letters.
func (c *Client) provision(ctx context.Context) error {
	subjects := make([]string, len(c.cfg.Subjects))
	for i, s := range c.cfg.Subjects {
		subjects[i] = string(s)
	}
	if err := c.patiently(ctx, func() error {
		if err := c.ensureStream(ctx, c.streamConfig(subjects)); err != nil {
			return err
		}
		at, err := c.newHome(ctx, c.cfg.Stream)
		if err == nil {
			c.homes.set(at, c.cfg.Subjects...)
		}
		return err
	}); err != nil {
		return fmt.Errorf("stream %s: %w", c.cfg.Stream, err)
	}

	if err := c.patiently(ctx, func() error { return c.ensureDead(ctx) }); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("stream for dead letters: %w", err)
		}
		// A service that only publishes does not need it, and a listener
		// fails at once without.
		c.cfg.Logger.Warn("no stream for dead letters", "error", err)
	}
	return nil
}

// streamConfig is what a new stream gets.
func (c *Client) streamConfig(subjects []string) jetstream.StreamConfig {
	want := jetstream.StreamConfig{
		Name:       c.cfg.Stream,
		Subjects:   subjects,
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Replicas:   max(c.cfg.Replicas, 1),
		MaxAge:     c.cfg.MaxAge,
		MaxBytes:   c.cfg.MaxBytes,
		Duplicates: duplicateWindow,
	}
	if want.MaxAge > 0 { // the server refuses a window that is longer
		want.Duplicates = min(want.Duplicates, want.MaxAge)
	}
	if want.MaxBytes == 0 {
		want.MaxBytes = -1
	}
	return want
}

// How often and how long provisioning waits for a server that starts, for a
// cluster that elects a leader, and for clients that start at the same time.
const (
	provisionPatience = 30 * time.Second
	provisionNoAPI    = time.Second // while nobody answers for the JetStream API at all
	provisionBackoff  = 250 * time.Millisecond
)

// ErrNotReady means that [Connect] has waited half a minute for a JetStream that
// is there and not ready. It may be later, and Connect be called again.
var ErrNotReady = errors.New("JetStream is not ready: it does not answer, elects a leader, or lacks servers")

// patiently calls f until it succeeds, ctx ends, or waiting cannot help.
func (c *Client) patiently(ctx context.Context, f func() error) error {
	start := time.Now()
	for {
		err := f()
		waited := time.Since(start)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case noAPI(err) && waited > provisionNoAPI:
			return fmt.Errorf("JetStream is not enabled on this server, or not running yet: %w", err)
		case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return fmt.Errorf("JetStream is not enabled for this account: %w", err)
		case waited > provisionPatience && transient(err):
			return fmt.Errorf("%w: %w", ErrNotReady, err)
		case waited > provisionPatience, !errors.Is(err, errRace) && !transient(err):
			return err
		}
		if err := sleep(ctx, jitter(provisionBackoff)); err != nil {
			return err
		}
	}
}

func noAPI(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders)
}

// ensureStream creates the stream, adds the subjects that it lacks, or only
// reports.
func (c *Client) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	have, err := c.streamInfo(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && c.cfg.VerifyOnly:
		return fmt.Errorf("%w, and the configuration says to create nothing; it needs the subjects %s",
			errMissing, strings.Join(want.Subjects, ", "))
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return c.createStream(ctx, want)
	case err != nil:
		return err
	}
	if bad := brokenStream(have); len(bad) > 0 {
		return fmt.Errorf("it cannot carry events: %v", bad)
	}
	c.compareStream(have, want).log(c.cfg.Logger.With("stream", want.Name), "stream differs from the configuration and is left as it is")
	missing := slices.DeleteFunc(slices.Clone(want.Subjects), func(s string) bool { return covered(s, have.Subjects) })
	if len(missing) > 0 {
		if c.cfg.VerifyOnly {
			return fmt.Errorf("it lacks the subjects %s, and the configuration says to change nothing", strings.Join(missing, ", "))
		}
		return c.addSubjects(ctx, have, missing)
	}
	return nil
}

func (c *Client) streamInfo(ctx context.Context, name string) (cfg jetstream.StreamConfig, err error) {
	s, err := c.openStream(ctx, name)
	if err != nil {
		return cfg, err
	}
	return s.CachedInfo().Config, nil
}

// openStream asks the server for a stream and what it says of it.
func (c *Client) openStream(ctx context.Context, name string) (jetstream.Stream, error) {
	return request(ctx, c, "STREAM.INFO."+name, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, name) })
}

func (c *Client) createStream(ctx context.Context, want jetstream.StreamConfig) error {
	_, err := request(ctx, c, "STREAM.CREATE."+want.Name, func(ctx context.Context) (jetstream.Stream, error) {
		return c.js.CreateStream(ctx, want)
	})
	switch {
	case err == nil:
		c.cfg.Logger.Info("stream created", "stream", want.Name, "subjects", want.Subjects)
		return nil
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return fmt.Errorf("%w: %w", errRace, err)
	}
	return c.explainOverlap(ctx, err, want.Name, want.Subjects)
}

// addSubjects adds missing to what the stream stores. The server has no
// compare-and-swap for this: two that read, and write one after the other,
// leave the subjects of the second alone. So each looks again, after a pause
// in which the other must have written.
func (c *Client) addSubjects(ctx context.Context, have jetstream.StreamConfig, missing []string) error {
	start := time.Now()
	have.Subjects = append(slices.Clone(have.Subjects), missing...)
	_, err := request(ctx, c, "STREAM.UPDATE."+have.Name, func(ctx context.Context) (jetstream.Stream, error) {
		return c.js.UpdateStream(ctx, have)
	})
	if err != nil {
		return c.explainOverlap(ctx, err, have.Name, missing)
	}
	if err := sleep(ctx, jitter(max(settlePause, 4*time.Since(start)))); err != nil {
		return err
	}
	now, err := c.streamInfo(ctx, have.Name)
	if err != nil {
		return err
	}
	for _, s := range missing {
		if !covered(s, now.Subjects) {
			return fmt.Errorf("%w: the subject %s is gone again", errRace, s)
		}
	}
	c.cfg.Logger.Info("subjects added to stream", "stream", have.Name, "subjects", missing)
	return nil
}

// settlePause is the least time after which a concurrent change is visible.
const settlePause = 100 * time.Millisecond

// explainOverlap names the stream that stores one of subjects already.
func (c *Client) explainOverlap(ctx context.Context, err error, name string, subjects []string) error {
	if !overlaps(err) {
		return err
	}
	for _, s := range subjects {
		if other, lookupErr := c.streamOf(ctx, s); lookupErr == nil && other != name {
			return fmt.Errorf("the subject %s is stored by stream %s already; leave it to that one, or remove it there: %w", s, other, err)
		}
	}
	// Another client may have got in between.
	return fmt.Errorf("%w: %w", errRace, err)
}

func overlaps(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeSubjectOverlap
}

// ensureDead makes sure that something stores dead letters. Two streams of
// this module in one account share the place, because dead.> can be stored
// only once.
func (c *Client) ensureDead(ctx context.Context) error {
	home, err := c.streamOf(ctx, deadSubjects)
	switch {
	case err == nil:
		have, err := c.streamInfo(ctx, home)
		if err == nil && !covered(deadSubjects, have.Subjects) {
			err = fmt.Errorf("stream %s stores a part of %s; it must store all of it, or nothing", home, deadSubjects)
		}
		return err
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	case c.cfg.VerifyOnly:
		// CheckSubject tells those who need it.
		return nil
	}
	want := c.streamConfig([]string{deadSubjects})
	want.Name += deadSuffix
	want.MaxAge, want.Duplicates = 0, duplicateWindow
	if err = c.createStream(ctx, want); overlaps(err) {
		err = fmt.Errorf("%w: %w", errRace, err) // another's, by now
	}
	return err
}

// brokenStream lists the settings with which a stream breaks what this package
// promises.
func brokenStream(have jetstream.StreamConfig) (bad differences) {
	differ(&bad, "no_ack", have.NoAck, false)
	differ(&bad, "sealed", have.Sealed, false)
	if have.Mirror != nil {
		bad = append(bad, difference{"mirror", have.Mirror.Name, "none"})
	}
	return bad
}

// compareStream lists the settings that differ from the configured ones.
func (c *Client) compareStream(have, want jetstream.StreamConfig) (d differences) {
	differ(&d, "retention", have.Retention, want.Retention)
	differ(&d, "storage", have.Storage, want.Storage)
	if have.Duplicates < want.Duplicates {
		differ(&d, "duplicate_window", have.Duplicates, want.Duplicates)
	}
	if c.cfg.Replicas > 0 {
		differ(&d, "num_replicas", have.Replicas, want.Replicas)
	}
	if c.cfg.MaxAge > 0 {
		differ(&d, "max_age", have.MaxAge, want.MaxAge)
	}
	if c.cfg.MaxBytes > 0 {
		differ(&d, "max_bytes", have.MaxBytes, want.MaxBytes)
	}
	return d
}

// covered reports whether one of patterns, which may have wildcards, matches
// everything that subject does.
func covered(subject string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, subject) })
}

func covers(pattern, subject string) bool {
	for {
		p, morePattern, pMore := strings.Cut(pattern, ".")
		s, moreSubject, sMore := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case s == ">", p != "*" && p != s, pMore != sMore:
			return false
		case !pMore:
			return true
		}
		pattern, subject = morePattern, moreSubject
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// jitter returns d, or up to a fifth more.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/5+1)
}
