// Package record is what the stores have in common: which messages can be a
// row, how headers are written, and how rows are read.
package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// DefaultMaxPayload is the max_payload of a NATS server that is not
// configured.
const DefaultMaxPayload = 1 << 20

// Check reports why m cannot be a row, as a [*ticketing.PublishError], or
// nil. maxPayload 0 is the default, and less than 0 is no limit.
func Check(m *ticketing.Message, maxPayload int) error {
	if maxPayload == 0 {
		maxPayload = DefaultMaxPayload
	}
	err := m.Validate()
	switch {
	case err != nil:
	case maxPayload > 0 && len(m.Data) > maxPayload:
		err = fmt.Errorf("%w: %w: the payload has %d bytes, the store's MaxPayload is %d",
			ticketing.ErrInvalidEvent, ticketing.ErrTooLarge, len(m.Data), maxPayload)
	case !text(m.ID) || !text(m.DedupeID) || !text(m.Key):
		err = fmt.Errorf("%w: its id, dedupe id and key have to be UTF-8 without NUL", ticketing.ErrInvalidEvent)
	case len(m.ID) > outbox.MaxIDLen || len(m.Key) > outbox.MaxKeyLen:
		err = fmt.Errorf("%w: its id has %d bytes and its key %d, an outbox takes %d and %d",
			ticketing.ErrInvalidEvent, len(m.ID), len(m.Key), outbox.MaxIDLen, outbox.MaxKeyLen)
	default:
		return nil
	}
	return ticketing.NewPublishError(ticketing.OutcomeRejected, m, err)
}

// Place is what a sender into a table says of itself: that there is a place for
// every valid subject.
type Place struct{}

// CheckSubject implements [ticketing.SubjectChecker].
func (Place) CheckSubject(ctx context.Context, s ticketing.Subject) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ticketing.ErrNoStream, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Capabilities declares that headers arrive as they were sent.
func (Place) Capabilities() ticketing.Capabilities { return ticketing.Capabilities{Headers: true} }

func text(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// NotNil returns b, or an empty slice: the columns are NOT NULL.
func NotNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// EncodeHeader writes a valid header as lines of "name:value", sorted by name.
// A name has no colon and a value no line feed, so that every value comes out
// as it went in, whatever its bytes.
func EncodeHeader(h map[string][]string) []byte {
	if len(h) == 0 {
		return []byte{}
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			b.WriteString(name)
			b.WriteByte(':')
			b.WriteString(v)
			b.WriteByte('\n')
		}
	}
	return NotNil(b.Bytes())
}

var errHeader = errors.New("the header column of an outbox row is damaged")

// DecodeHeader reads what EncodeHeader wrote.
func DecodeHeader(b []byte) (map[string][]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	h := make(map[string][]string)
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.HasSuffix(value, "\n") {
			return nil, errHeader
		}
		h[name] = append(h[name], value[:len(value)-1])
	}
	return h, nil
}
