package jswrap

import (
	"fmt"
	"net/textproto"
	"strings"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// The headers of the server that this package knows. Names are case sensitive
// on NATS.
const (
	headerDedupe = "Nats-Msg-Id"
	headerServer = "Nats-" // how all of them begin
)

// wireSize returns the bytes that m takes of the server's max_payload.
func wireSize(m *ticketing.Message) int {
	size := len("NATS/1.0\r\n") + len("\r\n") + len(m.Data) +
		headerSize(ticketing.HeaderID, m.ID) + headerSize(headerDedupe, m.DedupeKey())
	for name, values := range m.Header {
		for _, v := range values {
			size += headerSize(name, textproto.TrimString(v)) // as the client does
		}
	}
	return size
}

func headerSize(name, value string) int { return len(name) + len(": ") + len(value) + len("\r\n") }

// userHeader removes from h, a received message's header, what the broker and
// this package put there, and returns the rest, or nil. It changes h.
func userHeader(h map[string][]string) map[string][]string {
	delete(h, ticketing.HeaderID)
	delete(h, headerDedupe)
	for name := range h {
		if strings.HasPrefix(name, headerServer) {
			delete(h, name)
		}
	}
	if len(h) == 0 {
		return nil
	}
	return h
}

// messageID returns the id that a received message came with, or is empty.
func messageID(h map[string][]string) string {
	for _, name := range [...]string{ticketing.HeaderID, headerDedupe} {
		if v := h[name]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return ""
}

func invalidEvent(m *ticketing.Message, err error) error {
	return ticketing.NewPublishError(ticketing.OutcomeRejected, m, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, err))
}

func tooLarge(m *ticketing.Message, err error) error {
	return invalidEvent(m, fmt.Errorf("%w: %w", ticketing.ErrTooLarge, err))
}
