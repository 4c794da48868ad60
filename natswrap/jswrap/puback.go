package jswrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

var (
	ackPrefix = []byte(`{"stream":"`)
	ackSeq    = []byte(`,"seq":`)
)

// plainAck reports whether data is {"stream":"X","seq":N}, spaces apart, as
// the server writes it for nearly every message that it stored. Decoding JSON
// would take a quarter of a publish's time.
func plainAck(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, ackPrefix)
	if !ok {
		return false
	}
	end := bytes.IndexByte(rest, '"')
	if end <= 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return false
	}
	rest = rest[end+1:]
	if len(rest) > 1 && rest[0] == ',' && rest[1] == ' ' {
		rest = rest[2:]
		rest, ok = bytes.CutPrefix(rest, ackSeq[1:])
	} else {
		rest, ok = bytes.CutPrefix(rest, ackSeq)
	}
	rest, closed := bytes.CutSuffix(rest, []byte("}"))
	if !ok || !closed || len(rest) == 0 || rest[0] == '0' {
		return false
	}
	for _, c := range rest {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// pubAck is what a stream answers.
type pubAck struct {
	Stream   string              `json:"stream"`
	Sequence uint64              `json:"seq"`
	Error    *jetstream.APIError `json:"error"`
}

// errInProcess says that the cluster has another copy, and does not know yet
// whether it is stored.
var errInProcess = errors.New("another copy with this id is being stored")

var errNotAnAck = errors.New("the answer is no acknowledgement of a stream: something else listens on this subject")

// decodeAck returns nil when data says that a stream holds m, now or since
// before, and otherwise what is known.
func decodeAck(m *ticketing.Message, data []byte) error {
	var ack pubAck
	if err := json.Unmarshal(data, &ack); err != nil {
		return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, errNotAnAck)
	}
	switch {
	case ack.Error != nil:
		return refused(m, ack.Stream, ack.Error)
	case ack.Stream == "" || ack.Sequence == 0:
		return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, errNotAnAck)
	}
	return nil
}

// Error codes of the server's errors.json that the client has no name for.
const (
	codeAccountResources jetstream.ErrorCode = 10002
	codeClusterNotAvail  jetstream.ErrorCode = 10008
	codeInsufficient     jetstream.ErrorCode = 10023
	codeMemoryFull       jetstream.ErrorCode = 10028
	codeStorageFull      jetstream.ErrorCode = 10047
	codeSubjectOverlap   jetstream.ErrorCode = 10065
	codeStoreFailed      jetstream.ErrorCode = 10077
	codeHeaderTooLarge   jetstream.ErrorCode = 10097
	codeInProcess        jetstream.ErrorCode = 10158
	codeTooManyRequests  jetstream.ErrorCode = 10167
)

// refused says what it means that the stream answered e.
func refused(m *ticketing.Message, stream string, e *jetstream.APIError) error {
	err := fmt.Errorf("stream %s: %s (JetStream error %d)", stream, e.Description, e.ErrorCode)
	o := ticketing.OutcomeRejected
	switch e.ErrorCode {
	case codeInProcess:
		return ticketing.NewPublishError(ticketing.OutcomeUnknown, m, fmt.Errorf("stream %s: %w", stream, errInProcess))
	case codeStoreFailed:
		switch {
		case strings.HasPrefix(e.Description, "maximum "): // messages, bytes, messages per subject
			o = ticketing.OutcomeBusy
		case strings.Contains(e.Description, "too large"):
			return tooLarge(m, err)
		default:
			o = ticketing.OutcomeUnknown // another replica may have stored it
		}
	case codeAccountResources, codeMemoryFull, codeStorageFull, codeTooManyRequests:
		o = ticketing.OutcomeBusy
	case codeClusterNotAvail, codeInsufficient:
		o = ticketing.OutcomeNotSent
	case jetstream.JSErrCodeStreamMessageExceedsMaximum, codeHeaderTooLarge:
		return tooLarge(m, err)
	}
	return ticketing.NewPublishError(o, m, err)
}
