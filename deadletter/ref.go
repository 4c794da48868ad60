package deadletter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Ref names a dead letter: whose it is, and its sequence among the dead. On
// NATS Streaming each group and subject counts for itself.
type Ref struct {
	Group    string
	Subject  ticketing.Subject // where the event was published
	Sequence uint64
}

// String returns group/subject/sequence, as in orders-srv/ticket:created/7.
func (r Ref) String() string {
	return r.Group + "/" + string(r.Subject) + "/" + strconv.FormatUint(r.Sequence, 10)
}

// Channel returns the subject that the dead letter is stored on.
func (r Ref) Channel() ticketing.Subject { return ticketing.DeadLetterSubject(r.Group, r.Subject) }

var errRef = errors.New("a dead letter is named group/subject/sequence, such as orders-srv/ticket:created/7")

// ParseRef is the reverse of [Ref.String].
func ParseRef(s string) (Ref, error) {
	group, rest, _ := strings.Cut(s, "/")
	subject, sequence, ok := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(sequence, 10, 64)
	if !ok || err != nil || n == 0 {
		return Ref{}, fmt.Errorf("%q: %w", clip(s), errRef)
	}
	r := Ref{Group: group, Subject: ticketing.Subject(subject), Sequence: n}
	if err := (ticketing.Subscription{Group: r.Group, Subject: r.Subject}).Validate(); err != nil {
		return Ref{}, fmt.Errorf("%q: %w: %w", clip(s), errRef, err)
	}
	return r, nil
}

// clip keeps an error short whatever was given.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// ParseChannel tells whose dead letters are stored on a subject, and reports
// whether it is one for dead letters at all.
func ParseChannel(s ticketing.Subject) (group string, subject ticketing.Subject, ok bool) {
	rest, ok := strings.CutPrefix(string(s), ticketing.DeadLetterPrefix+".")
	if !ok {
		return "", "", false
	}
	group, event, ok := strings.Cut(rest, ".")
	return group, ticketing.Subject(event), ok && group != "" && event != ""
}
