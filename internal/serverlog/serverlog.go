// Package serverlog is the logger that the embedded servers of natstest log
// to. It keeps what ended a start, because the servers tell it to their logger
// and not to their caller.
package serverlog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// LevelTrace is the level of a server's protocol trace.
const LevelTrace = slog.LevelDebug - 4

// Logger satisfies the Logger interface of nats-server and of
// nats-streaming-server. Its methods may be called concurrently. Nothing is
// passed on after Close: a log that goes to a test must not outlive it.
type Logger struct {
	mu    sync.RWMutex
	out   *slog.Logger
	fatal error
}

// New returns a Logger that passes lines on to out. A nil out is silent.
func New(out *slog.Logger) *Logger { return &Logger{out: out} }

// Debug reports whether debug lines are wanted.
func (l *Logger) Debug() bool { return l.enabled(slog.LevelDebug) }

// Trace reports whether the protocol trace is wanted.
func (l *Logger) Trace() bool { return l.enabled(LevelTrace) }

func (l *Logger) enabled(level slog.Level) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.out != nil && l.out.Enabled(context.Background(), level)
}

// Err returns what the server could not go on after, or nil.
func (l *Logger) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.fatal
}

// Close ends the output. The server's Close of its logger has no result to
// report, so it is always nil.
func (l *Logger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = nil
	return nil
}

// Noticef logs at level info.
func (l *Logger) Noticef(format string, v ...any) { l.log(slog.LevelInfo, format, v) }

// Warnf logs at level warn.
func (l *Logger) Warnf(format string, v ...any) { l.log(slog.LevelWarn, format, v) }

// Errorf logs at level error.
func (l *Logger) Errorf(format string, v ...any) { l.log(slog.LevelError, format, v) }

// Debugf logs at level debug.
func (l *Logger) Debugf(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Tracef logs at [LevelTrace].
func (l *Logger) Tracef(format string, v ...any) { l.log(LevelTrace, format, v) }

// Fatalf logs at level error, and keeps the first message for Err. It does not
// end the process, as the servers' own loggers do.
func (l *Logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.fatal == nil {
		l.fatal = newFatalError(format, v)
	}
	l.mu.Unlock()
	l.log(slog.LevelError, format, v)
}

// log holds the lock while it writes, so that Close waits for the line.
func (l *Logger) log(level slog.Level, format string, v []any) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.out == nil || !l.out.Enabled(context.Background(), level) {
		return
	}
	l.out.Log(context.Background(), level, fmt.Sprintf(format, v...))
}

// fatalError is a server's last words, with the errors that were among the
// arguments, so that errors.Is and errors.As reach them.
type fatalError struct {
	text   string
	causes []error
}

func newFatalError(format string, v []any) error {
	e := &fatalError{text: fmt.Sprintf(format, v...)}
	for _, arg := range v {
		if err, ok := arg.(error); ok {
			e.causes = append(e.causes, err)
		}
	}
	return e
}

func (e *fatalError) Error() string   { return e.text }
func (e *fatalError) Unwrap() []error { return e.causes }
