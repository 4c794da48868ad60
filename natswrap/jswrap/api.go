package jswrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// apiTimeout bounds one request to the JetStream API. A server that can
// answer does so in milliseconds.
const apiTimeout = 5 * time.Second

const apiPrefix = "$JS.API."

var errAPITimeout = fmt.Errorf("the JetStream API did not answer within %v", apiTimeout)

// request runs f, which asks the JetStream API, and returns its result. It
// returns without when ctx ends, when the API does not answer, and when the
// server refuses the request for want of permission, which it does not say in
// an answer.
func request[T any](ctx context.Context, c *Client, f func(context.Context) (T, error)) (T, error) {
	ctx, stop := context.WithTimeoutCause(ctx, apiTimeout, errAPITimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.denials.watch(func(subject string) {
		if strings.HasPrefix(subject, apiPrefix) {
			cancel(denied(subject))
		}
	})()
	return await(ctx, f)
}

// await calls f in a goroutine of its own and returns what it returned, or
// ctx's cause as soon as that ends: f gets ctx too, but the client may sit on
// its lock without looking at it.
func await[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			r.err = context.Cause(ctx)
		}
		return r.v, r.err
	case <-ctx.Done():
		return *new(T), context.Cause(ctx)
	}
}

// awaitErr is await for what returns nothing else.
func awaitErr(ctx context.Context, f func(context.Context) error) error {
	_, err := await(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// transient reports whether an API request that failed with err may do better
// in a moment: a cluster elects a leader, or a server starts.
func transient(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, ticketing.ErrPermission), errors.Is(err, ticketing.ErrClosed),
		errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return false
	case errors.Is(err, errAPITimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return true
	case errors.As(err, &api):
		return api.Code == 503 && api.ErrorCode != codeStoreFailed || peerOffline(api)
	}
	return false
}

// codeNoPeers says that a cluster has no place for all replicas, for one of
// several reasons, which only the text tells.
const codeNoPeers jetstream.ErrorCode = 10005

// peerOffline reports whether a server is missing that the cluster has: it
// restarts, or has just been started.
func peerOffline(err *jetstream.APIError) bool {
	return err.ErrorCode == codeNoPeers && strings.Contains(err.Description, "offline")
}

// denials tells those who wait for an answer that the server forbids their
// request. The server says so on the side, by subject.
type denials struct {
	mu       sync.Mutex
	watchers map[*func(string)]struct{}
}

// watch calls f with every subject that may not be published to, until stop is
// called. f must not block.
func (d *denials) watch(f func(subject string)) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watchers == nil {
		d.watchers = make(map[*func(string)]struct{})
	}
	d.watchers[&f] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, &f)
	}
}

func (d *denials) tell(subject string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range d.watchers {
		(*f)(subject)
	}
}

// deniedPublish returns the subject that err, which the server sent on the
// side, says may not be published to.
func deniedPublish(err error) (subject string, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return "", false
	}
	const before = `for publish to "`
	text := err.Error()
	i := strings.Index(strings.ToLower(text), before)
	if i < 0 {
		return "", false
	}
	subject, _, ok = strings.Cut(text[i+len(before):], `"`)
	return subject, ok
}

func denied(subject string) error {
	return fmt.Errorf("%w: the server does not let this account publish to %q", ticketing.ErrPermission, subject)
}
