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

// splitHeader returns the id that a received message came with, or nothing,
// and its header without what the broker and this package put there, or nil.
// It changes h.
func splitHeader(h map[string][]string) (id string, rest map[string][]string) {
	ours := 0
	for _, name := range [...]string{headerDedupe, ticketing.HeaderID} {
		if v, ok := h[name]; ok {
			ours++
			if v[0] != "" {
				id = v[0]
			}
		}
	}
	if len(h) == ours {
		return id, nil
	}
	for name := range h {
		if strings.HasPrefix(name, headerServer) || name == ticketing.HeaderID {
			delete(h, name)
		}
	}
	if len(h) == 0 {
		return id, nil
	}
	return id, h
}

func invalidEvent(m *ticketing.Message, err error) error {
	return ticketing.NewPublishError(ticketing.OutcomeRejected, m, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, err))
}

func tooLarge(m *ticketing.Message, err error) error {
	return invalidEvent(m, fmt.Errorf("%w: %w", ticketing.ErrTooLarge, err))
}
