package cloudevent

import (
	"maps"
	"strings"
	"unicode/utf8"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Header returns a copy of m with the envelope in its header, and the payload
// untouched. An error matches [ticketing.ErrInvalidEvent]: the id cannot be an
// attribute, or m has a header that the envelope needs.
func (w *Writer) Header(m *ticketing.Message) (*ticketing.Message, error) {
	as, err := w.attributes(m, isJSON(m.Data))
	if err != nil {
		return nil, err
	}
	e := *m
	e.Header = make(map[string][]string, len(m.Header)+len(as))
	maps.Copy(e.Header, m.Header)
	values := make([]string, len(as))
	for i, a := range as {
		name := prefix + a.name
		if _, taken := m.Header[name]; taken {
			return nil, invalid("header %s is the envelope's", name)
		}
		values[i] = escape(a.value)
		e.Header[name] = values[i : i+1 : i+1]
	}
	return &e, nil
}

// ReadHeader takes m out of the envelope that its header has, and reports
// whether there is one. If not m stays as it is; otherwise it changes m.Header.
//
// As in [ReadJSON] it has to be a valid CloudEvent of version 1.0. Extensions
// that this package does not know stay in the header.
func ReadHeader(m *ticketing.Message) bool {
	h := m.Header
	version, known := h[prefix+"specversion"]
	if !known || len(version) != 1 || version[0] != specVersion {
		return false
	}
	var id, source, typ, subject, when, contentType, parent, state string
	for _, a := range [...]struct {
		name     string
		into     *string
		required bool
	}{
		{"id", &id, true},
		{"source", &source, true},
		{"type", &typ, true},
		{"subject", &subject, false},
		{"time", &when, false},
		{"datacontenttype", &contentType, false},
		{extTraceParent, &parent, false},
		{extTraceState, &state, false},
	} {
		values := h[prefix+a.name]
		if len(values) == 0 && !a.required {
			continue
		}
		if len(values) != 1 {
			return false
		}
		if *a.into = unescape(values[0]); !text(*a.into) {
			return false
		}
	}
	t := m.Time
	if when != "" {
		var ok bool
		if t, ok = parseTime(when); !ok {
			return false
		}
	}
	m.ID, m.Time, m.Key = id, t, subject
	for _, name := range [...]string{
		"specversion", "id", "source", "type", "subject", "time", "datacontenttype", extTraceParent, extTraceState,
	} {
		delete(h, prefix+name)
	}
	if parent != "" {
		h = addTrace(h, extTraceParent, parent)
	}
	if state != "" {
		h = addTrace(h, extTraceState, state)
	}
	if len(h) == 0 {
		h = nil
	}
	m.Header = h
	return true
}

// printable reports whether a character stands in a header's value as it is. The
// rule is that of the HTTP binding, which the NATS binding refers to.
func printable(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }

// escape encodes a value with percent signs.
func escape(s string) string {
	i := 0
	for i < len(s) && printable(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := append(make([]byte, 0, 3*len(s)), s[:i]...)
	for _, c := range []byte(s[i:]) {
		if printable(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// unescape decodes a value. A percent sign that does not encode anything stays,
// and so does all of a value that would not be UTF-8: not every writer encodes.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if high, ok := unhex(s[i+1]); ok {
				if low, ok := unhex(s[i+2]); ok {
					b = append(b, high<<4|low)
					i += 2
					continue
				}
			}
		}
		b = append(b, s[i])
	}
	if !utf8.Valid(b) {
		return s
	}
	return string(b)
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
