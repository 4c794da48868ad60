package stanwrap

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// record is a message in a channel of dead letters, or of replays. NATS
// Streaming has no headers and takes nothing out of a channel, so a record has
// the headers with it, and what became of a letter is a record behind it. On
// the wire it is JSON, with the payload behind the fields: as "data" where it is
// text, so that it can be read with any tool, otherwise as "data_base64".
type record struct {
	Kind   recordKind          `json:"ticketing_record"`
	Of     uint64              `json:"of,omitempty"` // the sequence of the letter, of what is none itself
	ID     string              `json:"id,omitempty"`
	Header map[string][]string `json:"header,omitempty"`
	// Of a replay: where the event was published.
	Subject   ticketing.Subject `json:"subject,omitempty"`
	Position  uint64            `json:"sequence,omitempty"`
	Published time.Time         `json:"time,omitzero"`

	Data []byte `json:"-"`
}

// recordKind is what a record is for.
type recordKind string

const (
	recordDead      recordKind = "dead"      // a letter
	recordReplayed  recordKind = "replayed"  // it is done with
	recordDiscarded recordKind = "discarded" // it is done with
	recordReplay    recordKind = "replay"    // in the channel of replays: the event again
)

// parseRecord reports false for what is no record: a dead letter that was
// stored by something else.
func parseRecord(data []byte) (record, bool) {
	var r struct {
		record
		Text   string `json:"data"`
		Base64 []byte `json:"data_base64"`
	}
	if json.Unmarshal(data, &r) != nil {
		return record{}, false
	}
	if r.Data = r.Base64; r.Data == nil {
		r.Data = []byte(r.Text)
	}
	switch r.Kind {
	case recordDead:
		return r.record, true
	case recordReplay, recordReplayed, recordDiscarded:
		return r.record, r.Of > 0
	}
	return record{}, false
}

// apply makes m what r was made of.
func (r *record) apply(m *ticketing.Message) {
	if r.ID != "" {
		m.ID = r.ID
	}
	m.Header, m.Data = r.Header, r.Data
}

// encode makes r the message that is sent for m on channel. The payload is
// copied once: it may be large, and encoding/json keeps a buffer of its size.
func (r *record) encode(m *ticketing.Message, channel ticketing.Subject) (*ticketing.Message, error) {
	fields, err := ticketing.JSON.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, err)
	}
	fields = fields[:len(fields)-1] // "}"
	var data []byte
	if isText(r.Data) {
		data = make([]byte, 0, len(fields)+len(r.Data)+bytes.Count(r.Data, []byte{'"'})+64)
		data = appendText(append(append(data, fields...), `,"data":"`...), r.Data)
	} else {
		data = make([]byte, 0, len(fields)+base64.StdEncoding.EncodedLen(len(r.Data))+64)
		data = base64.StdEncoding.AppendEncode(append(append(data, fields...), `,"data_base64":"`...), r.Data)
	}
	return &ticketing.Message{ID: m.ID, Subject: channel, Time: m.Time, Data: append(data, `"}`...)}, nil
}

// isText reports whether data can be a JSON string without growing much.
func isText(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexFunc(data, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) < 0
}

// appendText appends what stands between the quotes of a JSON string.
func appendText(to, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, `\n`...)
		case '\r':
			to = append(to, `\r`...)
		case '\t':
			to = append(to, `\t`...)
		default:
			to = append(to, c)
		}
	}
	return to
}

// wrapDead puts a dead letter into its record.
func wrapDead(m *ticketing.Message) (*ticketing.Message, error) {
	r := record{Kind: recordDead, ID: m.ID, Header: m.Header, Data: m.Data}
	return r.encode(m, m.Subject)
}
