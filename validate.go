package ticketing

import (
	"errors"
	"fmt"
	"strings"
)

// HeaderID is the header that carries [Message].ID on JetStream. It is set by
// the connection, and so cannot be set as one of a message's headers; nor can
// those that begin with Nats-, which mean something to the server.
const HeaderID = "Ticketing-Id"

const natsHeaders = "Nats-"

// Validate reports why no broker could store m as it is, or nil. It is for
// Senders, which call it before they send. The error matches
// [ErrInvalidEvent].
//
// The subject is valid; there is an id; neither it nor the dedupe id nor a
// header's value has a control character other than a tab, which would end a
// header's line; a header's name is printable ASCII without space or colon,
// and not reserved ([HeaderID]).
func (m *Message) Validate() error {
	if err := m.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	return nil
}

func (m *Message) validate() error {
	if err := m.Subject.Validate(); err != nil {
		return err
	}
	if m.ID == "" {
		return errors.New("it has no id")
	}
	if err := validateID("id", m.ID); err != nil {
		return err
	}
	if err := validateID("dedupe id", m.DedupeID); err != nil {
		return err
	}
	for name, values := range m.Header {
		if err := validateHeaderName(name); err != nil {
			return err
		}
		for _, v := range values {
			if hasControl(v) {
				return fmt.Errorf("the value of header %s has a control character", name)
			}
		}
	}
	return nil
}

// validateID reports why an id would not arrive as it was sent.
func validateID(what, id string) error {
	switch {
	case hasControl(id):
		return fmt.Errorf("its %s has a control character", what)
	case strings.TrimSpace(id) != id:
		return fmt.Errorf("its %s begins or ends with white space", what)
	}
	return nil
}

func validateHeaderName(name string) error {
	if name == "" {
		return errors.New("a header has no name")
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return fmt.Errorf("header name %q: it has to be printable ASCII without a space or colon", name)
		}
	}
	if len(name) >= len(natsHeaders) && strings.EqualFold(name[:len(natsHeaders)], natsHeaders) || strings.EqualFold(name, HeaderID) {
		return fmt.Errorf("header %s is reserved", name)
	}
	return nil
}

// hasControl reports whether s has a control character other than a tab.
func hasControl(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}
