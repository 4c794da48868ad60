package cloudevent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strconv"
	"unicode/utf8"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// JSON returns a copy of m whose data is the envelope with all that m has. JSON
// stands in it as it is, byte for byte, and everything else in Base64. An error
// matches [ticketing.ErrInvalidEvent]: the id, or a header, cannot stand in
// JSON.
func (w *Writer) JSON(m *ticketing.Message) (*ticketing.Message, error) {
	valid := isJSON(m.Data)
	as, err := w.attributes(m, valid)
	if err != nil {
		return nil, err
	}
	if len(m.Header) > 0 {
		headers, err := encodeHeader(m.Header)
		if err != nil {
			return nil, err
		}
		as = append(as, attribute{extHeaders, headers})
	}
	size := base64.StdEncoding.EncodedLen(len(m.Data)) + len(`"data_base64":""}`)
	for _, a := range as {
		size += len(a.name) + len(a.value) + len(a.value)/4 + len(`"":"",`)
	}
	b := append(make([]byte, 0, size), '{')
	for _, a := range as {
		b = append(appendString(b, a.name), ':')
		b = append(appendString(b, a.value), ',')
	}
	if valid && trimmed(m.Data) { // a reader drops white space
		b = append(b, `"data":`...)
		b = append(b, m.Data...)
	} else {
		b = append(b, `"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, m.Data)
		b = append(b, '"')
	}
	e := *m
	e.Data = append(b, '}')
	return &e, nil
}

func encodeHeader(h map[string][]string) (string, error) {
	for name, values := range h {
		for _, v := range values {
			if !utf8.ValidString(v) {
				return "", invalid("the value of header %s is not valid UTF-8", name)
			}
		}
	}
	b, err := json.Marshal(h)
	return string(b), err
}

// appendString appends a JSON string. s is valid UTF-8.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range []byte(s) {
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// maxMembers bounds the work that an envelope makes.
const maxMembers = 64

var specVersionMember = []byte(`"specversion"`)

// ReadJSON takes m out of the envelope that its data is, and reports whether it
// is one. If not m stays as it is.
//
// An envelope is a valid CloudEvent of version 1.0 and nothing less: it has an
// id, a source and a type, its attributes have the types that they should have,
// every other member is named and typed as an extension may be, no name is
// there twice, and there is data. So a payload that has a field named
// specversion, or a whole CloudEvent within it, stays what it is.
func ReadJSON(m *ticketing.Message) bool {
	// This is what every plain message pays.
	if !bytes.Contains(m.Data, specVersionMember) || !isJSON(m.Data) {
		return false
	}
	members, ok := split(m.Data)
	if !ok {
		return false
	}
	return open(members, m)
}

// split returns the members of an object. The data is valid JSON.
func split(data []byte) (members map[string]json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, false
	}
	members = make(map[string]json.RawMessage, 12)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		n, _ := name.(string)
		if _, twice := members[n]; twice || len(members) == maxMembers {
			return nil, false
		}
		members[n] = value
	}
	return members, true
}

// open fills m in from an envelope's members, if they are one's.
func open(members map[string]json.RawMessage, m *ticketing.Message) bool {
	e := ticketing.Message{DedupeID: m.DedupeID, Subject: m.Subject, Time: m.Time, Header: maps.Clone(m.Header)}
	var version, source, typ, when, contentType, headers, parent, state string
	for name, raw := range members {
		if name == "data" || name == "data_base64" {
			continue
		}
		value, kind := scalar(raw)
		if kind == isNull {
			continue // it counts as absent
		}
		var into *string
		switch name {
		case "specversion":
			into = &version
		case "id":
			into = &e.ID
		case "source":
			into = &source
		case "type":
			into = &typ
		case "subject":
			into = &e.Key
		case "time":
			into = &when
		case "datacontenttype":
			into = &contentType
		case extTraceParent:
			into = &parent
		case extTraceState:
			into = &state
		case extHeaders:
			into = &headers
		default:
			if !extensionName(name) || kind == isOther {
				return false
			}
			e.Header = add(e.Header, prefix+name, value)
			continue
		}
		if kind != isString || name != extHeaders && !text(value) {
			return false
		}
		*into = value
	}
	if version != specVersion || e.ID == "" || source == "" || typ == "" {
		return false
	}
	if when != "" {
		t, ok := parseTime(when)
		if !ok {
			return false
		}
		e.Time = t
	}
	if headers != "" && json.Unmarshal([]byte(headers), &e.Header) != nil {
		return false
	}
	if parent != "" {
		e.Header = addTrace(e.Header, extTraceParent, parent)
	}
	if state != "" {
		e.Header = addTrace(e.Header, extTraceState, state)
	}
	if len(e.Header) == 0 {
		e.Header = nil
	}
	var ok bool
	if e.Data, ok = payload(members, contentType); !ok {
		return false
	}
	*m = e
	return true
}

// payload returns the bytes of an envelope's data.
func payload(members map[string]json.RawMessage, contentType string) (data []byte, ok bool) {
	value, plain := members["data"]
	encoded, binary := members["data_base64"]
	switch {
	case plain == binary:
		return nil, false
	case plain && isJSONType(contentType):
		return value, true
	}
	if binary {
		value = encoded
	}
	s, kind := scalar(value)
	if kind != isString {
		return nil, false
	}
	if plain {
		return []byte(s), true
	}
	data, err := base64.StdEncoding.Strict().DecodeString(s)
	return data, err == nil
}

// The kinds of a member's value.
type kind uint8

const (
	isOther  kind = iota // no attribute has it
	isScalar             // a boolean or an integer
	isString
	isNull
)

// scalar returns an attribute's value as the text that stands for it.
func scalar(raw json.RawMessage) (string, kind) {
	switch s := string(raw); {
	case s == "null":
		return "", isNull
	case s == "true", s == "false":
		return s, isScalar
	case s[0] == '"':
		var value string
		if json.Unmarshal(raw, &value) != nil {
			return "", isOther
		}
		return value, isString
	default:
		if _, err := strconv.ParseInt(s, 10, 32); err != nil {
			return "", isOther
		}
		return s, isScalar
	}
}
