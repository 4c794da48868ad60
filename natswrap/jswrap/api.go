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

var errAPITimeout = fmt.Errorf("the JetStream API did not answer within %v: %w", apiTimeout, nats.ErrTimeout)

// request runs f, which asks the JetStream API, and returns its result. It
// returns without when ctx ends, when the API does not answer, and when the
// server refuses the request for want of permission, which it does not say in
// an answer. api is the subject of f's request without [apiPrefix], or all but
// its last tokens: what others ask for at the same time may be denied.
func request[T any](ctx context.Context, c *Client, api string, f func(context.Context) (T, error)) (T, error) {
	return value(f, func(f func(context.Context) error) error { return c.request(ctx, api, f) })
}

func (c *Client) request(ctx context.Context, api string, f func(context.Context) error) error {
	ctx, stop := context.WithTimeoutCause(ctx, apiTimeout, errAPITimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.denials.watch(func(subject string) {
		if rest, ok := strings.CutPrefix(subject, apiPrefix+api); ok && (rest == "" || rest[0] == '.') {
			cancel(denied(subject))
		}
	})()
	return awaitErr(ctx, f)
}

// await calls f in a goroutine of its own and returns what it returned, or
// ctx's cause as soon as that ends: f gets ctx too, but the client may sit on
// its lock without looking at it.
func await[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	return value(f, func(f func(context.Context) error) error { return awaitErr(ctx, f) })
}

// value returns what f returns when wait has waited for it, or wait's error. A
// service links so little of this for each type that there is.
func value[T any](f func(context.Context) (T, error), wait func(func(context.Context) error) error) (T, error) {
	v := new(T) // f's until wait returns nil
	err := wait(func(ctx context.Context) (err error) {
		*v, err = f(ctx)
		return err
	})
	if err != nil {
		return *new(T), err
	}
	return *v, nil
}

// awaitErr is await for what returns nothing else.
func awaitErr(ctx context.Context, f func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
