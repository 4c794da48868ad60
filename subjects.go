package ticketing

import (
	"fmt"
	"strings"
)

// Subject is where events of one type are published: the NATS subject, and on
// NATS Streaming the channel. It is an open enum: a service adds constants of
// its own beside the catalogue's.
type Subject string

// The catalogue's subjects, as the Node package has them on the wire.
const (
	SubjectTicketCreated      Subject = "ticket:created"
	SubjectTicketUpdated      Subject = "ticket:updated"
	SubjectOrderCreated       Subject = "order:created"
	SubjectOrderCancelled     Subject = "order:cancelled"
	SubjectExpirationComplete Subject = "expiration:complete"
	SubjectPaymentCreated     Subject = "payment:created"
)

// Subjects returns the catalogue's subjects, in a slice of the caller's own.
func Subjects() []Subject {
	return []Subject{
		SubjectTicketCreated,
		SubjectTicketUpdated,
		SubjectOrderCreated,
		SubjectOrderCancelled,
		SubjectExpirationComplete,
		SubjectPaymentCreated,
	}
}

// MaxSubjectLen is the longest valid [Subject], in bytes. NATS Streaming's
// file store names a directory after the channel, and 255 bytes is what file
// systems allow.
const MaxSubjectLen = 255

// Validate reports why s cannot be published to, or nil. A valid subject is
// one or more tokens joined by dots; a token is one or more ASCII letters,
// digits, '_', '-' or ':'; the first token does not start with '$' or '_',
// which NATS keeps for itself; the whole is at most [MaxSubjectLen] bytes.
//
// The error matches [ErrInvalidSubject], quotes the subject and names the
// rule.
func (s Subject) Validate() error {
	if s.plain() {
		return nil
	}
	switch {
	case s == "":
		return s.invalid("it is empty")
	case len(s) > MaxSubjectLen:
		return s.invalid(fmt.Sprintf("it has %d bytes, at most %d are allowed", len(s), MaxSubjectLen))
	case s[0] == '$' || s[0] == '_':
		return s.invalid("a first token that starts with '$' or '_' is reserved by NATS")
	}
	for token := range strings.SplitSeq(string(s), ".") {
		if token == "" {
			return s.invalid("a token between dots is empty")
		}
		for _, r := range token {
			if rule := runeRule(r); rule != "" {
				return s.invalid(rule)
			}
		}
	}
	return nil
}

// plain reports whether s is valid and has no dots, as nearly all are: every
// publish asks.
func (s Subject) plain() bool {
	if s == "" || len(s) > MaxSubjectLen || s[0] == '_' {
		return false
	}
	for i := range len(s) {
		if runeRule(rune(s[i])) != "" {
			return false
		}
	}
	return true
}

// runeRule names the rule that r breaks in a token, or is empty.
func runeRule(r rune) string {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9',
		r == '_', r == '-', r == ':':
		return ""
	case r == '*' || r == '>':
		return "it has a wildcard; an event has one subject"
	case r == ' ' || r == '\t' || r == '\r' || r == '\n':
		return "it has white space"
	case r < ' ' || r == 0x7f:
		return "it has a control character"
	default:
		return fmt.Sprintf("%q is not a letter, digit, '_', '-' or ':'", r)
	}
}

func (s Subject) invalid(rule string) error {
	const quoted = 64 // enough to recognise it, little enough for a log line
	if len(s) > quoted {
		return fmt.Errorf("%w %q…: %s", ErrInvalidSubject, string(s[:quoted]), rule)
	}
	return fmt.Errorf("%w %q: %s", ErrInvalidSubject, string(s), rule)
}
