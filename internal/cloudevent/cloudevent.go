// Package cloudevent puts messages into CloudEvents 1.0 envelopes and takes
// them out: the JSON event format (structured mode) where a broker carries
// nothing but a payload, and the NATS binding's binary mode where it carries
// headers. https://github.com/cloudevents/spec is the specification.
//
// The attributes, in both modes:
//
//	id               Message.ID
//	source           the service, as it is configured
//	type             Message.Subject: it is what the event's type is known by here
//	subject          Message.Key, where there is one that can stand there
//	time             Message.Time, in UTC
//	datacontenttype  application/json, or application/octet-stream
//	traceparent      a copy of the header of that name, and so is tracestate
//
// The other headers stay headers in binary mode. The JSON format has the
// extension ticketingheaders for them: a string with the JSON of Message.Header.
// DedupeID is for the broker and in no envelope.
package cloudevent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

const (
	specVersion = "1.0"
	typeJSON    = "application/json"
	typeBinary  = "application/octet-stream"

	extHeaders     = "ticketingheaders"
	extTraceParent = "traceparent"
	extTraceState  = "tracestate"
)

// prefix is what an attribute's name has before it as a NATS header. An
// extension that this package does not know arrives as such a header in both
// modes.
const prefix = "ce-"

// A Writer makes envelopes for what one service publishes. Its methods may be
// called concurrently.
type Writer struct{ source string }

// NewWriter returns a Writer for a service. The source is one that
// [CheckSource] accepts.
func NewWriter(source string) *Writer { return &Writer{source} }

var errSource = errors.New("is not a URI reference that names the service, such as tickets or https://example.com/tickets")

// CheckSource reports why s cannot be the source of a CloudEvent, or nil. The
// error does not quote it.
func CheckSource(s string) error {
	_, err := url.Parse(s)
	if err != nil || !text(s) || strings.ContainsAny(s, " \"<>\\^`{|}") || strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return errSource
	}
	return nil
}

// text reports whether s can be the value of an attribute: it is not empty,
// valid UTF-8, and has no control characters.
func text(s string) bool {
	return s != "" && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// attribute is one of an envelope's, without its data.
type attribute struct{ name, value string }

// attributes returns those of m that can be written, except for source and
// specversion in a fixed order, or why there is no envelope for it.
func (w *Writer) attributes(m *ticketing.Message, isJSON bool) ([]attribute, error) {
	if !text(m.ID) {
		return nil, invalid("its id has a control character or is not valid UTF-8")
	}
	as := make([]attribute, 0, 10)
	as = append(as,
		attribute{"specversion", specVersion},
		attribute{"id", m.ID},
		attribute{"source", w.source},
		attribute{"type", string(m.Subject)})
	if text(m.Key) {
		as = append(as, attribute{"subject", m.Key})
	}
	if t := m.Time.UTC(); !t.IsZero() && t.Year() > 0 && t.Year() < 10_000 { // what RFC 3339 can say
		as = append(as, attribute{"time", t.Format(time.RFC3339Nano)})
	}
	contentType := typeBinary
	if isJSON {
		contentType = typeJSON
	}
	as = append(as, attribute{"datacontenttype", contentType})
	for _, name := range [...]string{extTraceParent, extTraceState} {
		if v, ok := traceHeader(m.Header, name); ok {
			as = append(as, attribute{name, v})
		}
	}
	return as, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: it cannot be a CloudEvent: "+format, append([]any{ticketing.ErrInvalidEvent}, args...)...)
}

// traceHeader finds a trace header, whose name is written in either case.
func traceHeader(h map[string][]string, name string) (value string, ok bool) {
	for n, values := range h {
		if len(values) == 1 && text(values[0]) && strings.EqualFold(n, name) {
			if ok && n != name { // of several the one with the right name
				continue
			}
			value, ok = values[0], true
		}
	}
	return value, ok
}

// addTrace adds a trace header that came as an extension, unless there is one.
func addTrace(h map[string][]string, name, value string) map[string][]string {
	for n := range h {
		if strings.EqualFold(n, name) {
			return h
		}
	}
	return add(h, name, value)
}

func add(h map[string][]string, name, value string) map[string][]string {
	if h == nil {
		h = make(map[string][]string, 1)
	}
	h[name] = []string{value}
	return h
}

// parseTime parses an attribute of the type Timestamp.
func parseTime(s string) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

// extensionName reports whether an attribute may have this name.
func extensionName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isJSON reports whether data is JSON and UTF-8, as JSON between services has
// to be.
func isJSON(data []byte) bool { return json.Valid(data) && utf8.Valid(data) }

// isJSONType reports whether a media type is JSON's. None at all is.
func isJSONType(s string) bool {
	s, _, _ = strings.Cut(s, ";")
	s = strings.ToLower(strings.TrimSpace(s))
	_, sub, _ := strings.Cut(s, "/")
	return s == "" || sub == "json" || strings.HasSuffix(sub, "+json")
}

// trimmed reports whether JSON has no white space around it.
func trimmed(data []byte) bool { return len(bytes.Trim(data, " \t\r\n")) == len(data) }
