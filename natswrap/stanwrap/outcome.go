package stanwrap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func notSent(m *ticketing.Message, err error) error {
	return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, err)
}

func unknown(m *ticketing.Message, err error) error {
	return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, err)
}

// busy is for what found no place in the window.
func busy(m *ticketing.Message, err error) error {
	return ticketing.NewPublishError(ticketing.OutcomeBusy, m, err)
}

// rejected is for what is the event's own fault.
func rejected(m *ticketing.Message, err error) error {
	return ticketing.NewPublishError(ticketing.OutcomeRejected, m, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, err))
}

// explainPublish is the outcome of a message that PublishAsync returned an
// error for. lost says that the session is of no use any more, and gone is what
// that means to the caller.
func explainPublish(m *ticketing.Message, err, gone error) (lost bool, outcome error) {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		// The connection was lost after we looked; nothing is buffered.
		return false, notSent(m, errDisconnected)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return true, notSent(m, gone)
	case errors.Is(err, nats.ErrMaxPayload):
		// The limit was lowered after we looked.
		return false, rejected(m, fmt.Errorf("%w: %w", ticketing.ErrTooLarge, err))
	case errors.Is(err, stan.ErrConnectionClosed):
		// stan.go says this before and after it has sent the message.
		return true, unknown(m, gone)
	}
	return false, unknown(m, err) // a write that failed half way
}

// explainAck is the outcome of a message that an error came back for. lost and
// gone are as with explainPublish.
func explainAck(m *ticketing.Message, err, gone error) (lost bool, outcome error) {
	switch {
	case errors.Is(err, stan.ErrTimeout):
		return false, unknown(m, fmt.Errorf("no acknowledgement from NATS Streaming: %w", err))
	case errors.Is(err, stan.ErrConnectionClosed):
		return true, unknown(m, gone)
	}
	switch text := err.Error(); {
	case text == srvInvalidPublish:
		// The server says so of a bad subject, which ours is not, and of a
		// client that it does not know.
		return true, notSent(m, fmt.Errorf("%w: the server does not know it: %w", errSessionLost, err))
	case text == srvTooMany, text == srvNoChannel, strings.HasSuffix(text, srvOtherCase+")"):
		// Refused before anything is stored, and not this event's own fault.
		return false, ticketing.NewPublishError(ticketing.OutcomeRejected, m,
			fmt.Errorf("NATS Streaming makes no channel %s (its limits or its configuration): %w", m.Subject, err))
	case text == srvChannelDeleted:
		return false, notSent(m, err)
	}
	// A store that failed, or a leader that changed: it may be stored.
	return false, unknown(m, fmt.Errorf("NATS Streaming reports: %w", err))
}

// deniedPublish returns the channel that err says may not be published to.
func deniedPublish(err error, clusterID string) (channel ticketing.Subject, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return "", false
	}
	_, text, ok := strings.Cut(err.Error(), `for Publish to "_STAN.pub.`)
	if !ok {
		return "", false
	}
	subject, _, _ := strings.Cut(text, `"`)
	rest, ok := strings.CutPrefix(subject, clusterID+".")
	if !ok { // a server that was first started long ago has an id of its own there
		_, rest, ok = strings.Cut(subject, ".")
	}
	return ticketing.Subject(rest), ok
}
