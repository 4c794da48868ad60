package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
)

// Exit statuses.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNoServer    = 3
	exitDenied      = 4
	exitNotFound    = 5
	exitInterrupted = 130
)

// usageError is a mistake in the arguments or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(err error) error { return &usageError{err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

var (
	errNoCommand = usage(errors.New("which command? see the list above"))
	errFindings  = errors.New("doctor found what has to be changed")
)

// exit prints err on one line and returns the exit status for it.
func (a *app) exit(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	code := status(err)
	if ctx.Err() != nil && code == exitFailed {
		code = exitInterrupted
	}
	a.complain(err)
	return code
}

// complain prints err on one line.
func (a *app) complain(err error) {
	fmt.Fprintln(a.errs, "ticketing: "+oneLine(secret.ReplaceAllString(err.Error(), "${1}${2}…")))
}

// secret is what may be a password in an argument that an error quotes: an
// address in the place of a command, or behind -db= instead of --db=. It may
// have been clipped.
var secret = regexp.MustCompile(`(:)(?://[^"]*"?|\S*)[@…]|(?is)((?:pass\w*|pwd)\s*=).*`)

// status is the exit status for an error.
func status(err error) int {
	var wrong *usageError
	var unreachable *net.OpError
	var unknown *net.DNSError
	var database *pgconn.PgError
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &wrong):
		return exitUsage
	case is(ticketing.ErrPermission, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrPermissionViolation),
		errors.As(err, &database) && refused[database.Code]:
		return exitDenied
	case is(ticketing.ErrNotConnected, ticketing.ErrClosed, nats.ErrNoServers, nats.ErrTimeout, stan.ErrConnectReqTimeout, context.DeadlineExceeded),
		errors.As(err, &unreachable), errors.As(err, &unknown):
		return exitNoServer
	case is(deadletter.ErrNotFound, errNotParked):
		return exitNotFound
	}
	return exitFailed
}

// refused has the SQLSTATEs of wrong credentials and of a missing grant.
var refused = map[string]bool{"28000": true, "28P01": true, "42501": true}

// errNotParked is for an event that the outbox does not have among the parked.
var errNotParked = errors.New("no such parked event")

// oneLine makes one line of an error that has several.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines[:max(len(lines)-1, 0)] {
		if !strings.HasSuffix(line, ":") {
			lines[i] += ";"
		}
	}
	return printable(strings.Join(lines, " "))
}
