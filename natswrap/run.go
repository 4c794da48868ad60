package natswrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Run connects, calls fn, and closes the connection in order once fn has
// returned.
//
// fn's context ends on SIGINT or SIGTERM, with ctx, and when the connection is
// closed for good; [context.Cause] tells which. fn then returns, after what it
// started has stopped; it may still publish. From the end of its context to
// Run's return there are cfg.ShutdownTimeout, at most four fifths of it for
// fn: an fn that takes longer is left behind, and Run returns an error that
// says so. A second signal ends the process at once, with status 130 for
// SIGINT and 143 for SIGTERM.
//
// Run returns fn's error, joined with that of closing. It is nil after a
// signal, or the end of ctx, when fn returned nil or the context's error and
// the connection was closed in order. An error of fn's own that is joined with
// the context's is kept, and so is a [ticketing.PublishError].
func Run(ctx context.Context, cfg Config, fn func(ctx context.Context, c *Client) error) error {
	r := runner{connect: connectBackend, notify: notify, exit: os.Exit}
	return r.run(ctx, cfg, fn)
}

// runner is Run with its ways to the outside.
type runner struct {
	connect connector
	notify  func(chan<- os.Signal) (stop func())
	exit    func(code int)
}

func notify(ch chan<- os.Signal) (stop func()) {
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	return func() { signal.Stop(ch) }
}

func (r runner) run(ctx context.Context, cfg Config, fn func(context.Context, *Client) error) error {
	if ctx == nil {
		return errNilContext
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer r.watchSignals(cancel, cfg.logger())()

	c, err := connect(ctx, cfg, r.connect)
	if err != nil {
		var sig *signalError
		if errors.As(context.Cause(ctx), &sig) {
			return nil // asked to stop before it had begun
		}
		return err
	}
	c.OnClose(func(err error) {
		if err != nil {
			err = &closedError{err}
		}
		cancel(err)
	})

	result := make(chan error, 1)
	go call(ctx, c, fn, result)
	total := cfg.ShutdownTimeout
	if total == 0 {
		total = DefaultShutdownTimeout
	}
	var end time.Time // of everything
	select {
	case err = <-result:
		end = time.Now().Add(total)
	case <-ctx.Done():
		end = time.Now().Add(total)
		patience := time.NewTimer(total / 5 * 4)
		defer patience.Stop()
		select {
		case err = <-result:
		case <-patience.C:
			err = fmt.Errorf("natswrap: the function that Run called has not returned %v after its context ended", total/5*4)
		}
	}
	err = outcome(ctx, err)

	closing, done := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer done()
	if closeErr := c.Close(closing); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("natswrap: close: %w", closeErr))
	}
	return err
}

var errGoexit = errors.New("natswrap: the function that Run called ended its goroutine instead of returning")

// call calls fn and passes its result on, also when fn ends its goroutine.
func call(ctx context.Context, c *Client, fn func(context.Context, *Client) error, result chan<- error) {
	err := errGoexit
	defer func() { result <- err }()
	err = fn(ctx, c)
}

// outcome is fn's error without its context's, and with why the connection was
// closed, if that is what ended the context.
func outcome(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if onlyContext(err, cause) {
		err = nil
	}
	var closed *closedError
	if errors.As(cause, &closed) {
		err = errors.Join(err, closed)
	}
	return err
}

// onlyContext reports whether err says nothing but that a context ended,
// perhaps because of cause. An event that was not published for that reason is
// more than that.
func onlyContext(err, cause error) bool {
	switch e := err.(type) { //nolint:errorlint // one layer at a time: all of them have to say the same
	case nil, *ticketing.PublishError:
		return false
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !onlyContext(err, cause) })
	}
	if err == context.Canceled || err == context.DeadlineExceeded || err == cause { //nolint:errorlint // as above
		return true
	}
	return onlyContext(errors.Unwrap(err), cause)
}

// closedError is the cause of a context that the end of the connection ended.
type closedError struct{ err error }

func (e *closedError) Error() string {
	return "natswrap: the connection was closed for good: " + e.err.Error()
}
func (e *closedError) Unwrap() error { return e.err }

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "received signal: " + e.signal.String() }

// watchSignals cancels at the first signal and exits at the second, until stop
// is called.
func (r runner) watchSignals(cancel context.CancelCauseFunc, log *slog.Logger) (stop func()) {
	signals := make(chan os.Signal, 2)
	unnotify := r.notify(signals)
	stopping, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case s := <-signals:
			log.Info("stopping", "signal", s.String())
			cancel(&signalError{s})
		case <-stopping:
			return
		}
		select {
		case s := <-signals:
			log.Error("exiting at once", "signal", s.String())
			code := 128 + int(syscall.SIGTERM)
			if s == os.Interrupt {
				code = 128 + int(syscall.SIGINT)
			}
			r.exit(code)
		case <-stopping:
		}
	}()
	return func() {
		unnotify()
		close(stopping)
		<-finished
	}
}
