package stanwrap

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
)

// record is a message in a channel of dead letters, or of replays. NATS
// Streaming has no headers and takes nothing out of a channel, so a record has
// the headers with it, and what became of a letter is a record behind it.
type record struct {
	Kind   recordKind          `json:"ticketing_record"`
	Of     uint64              `json:"of,omitempty"` // the sequence of the letter, of what is none itself
	ID     string              `json:"id,omitempty"`
	Header map[string][]string `json:"header,omitempty"`
	// Data is the payload where it is text, so that it can be read with any
	// tool, and Base64 otherwise.
	Data   *string `json:"data,omitempty"`
	Base64 []byte  `json:"data_base64,omitempty"`
	// Of a replay: where the event was published.
	Subject   ticketing.Subject `json:"subject,omitempty"`
	Position  uint64            `json:"sequence,omitempty"`
	Published time.Time         `json:"time,omitzero"`
}

// recordKind is what a record is for.
type recordKind string

const (
	recordDead      recordKind = "dead"      // a letter
	recordReplayed  recordKind = "replayed"  // it is done with
	recordDiscarded recordKind = "discarded" // it is done with
	recordReplay    recordKind = "replay"    // in the channel of replays: the event again
)

// newRecord is a record that has m in it.
func newRecord(kind recordKind, m *ticketing.Message) *record {
	r := &record{Kind: kind, ID: m.ID, Header: m.Header}
	if utf8.Valid(m.Data) {
		text := string(m.Data)
		r.Data = &text
	} else {
		r.Base64 = m.Data
	}
	return r
}

// parseRecord reports false for what is no record: a dead letter that was
// stored by something else.
func parseRecord(data []byte) (r record, ok bool) {
	if json.Unmarshal(data, &r) != nil {
		return record{}, false
	}
	switch r.Kind {
	case recordDead:
		return r, true
	case recordReplay, recordReplayed, recordDiscarded:
		return r, r.Of > 0
	}
	return record{}, false
}

func (r *record) data() []byte {
	if r.Data != nil {
		return []byte(*r.Data)
	}
	return r.Base64
}

// apply makes m what r was made of.
func (r *record) apply(m *ticketing.Message) {
	if r.ID != "" {
		m.ID = r.ID
	}
	m.Header, m.Data = r.Header, r.data()
}

// encode makes r the message that is sent for m on channel.
func (r *record) encode(m *ticketing.Message, channel ticketing.Subject) (*ticketing.Message, error) {
	data, err := ticketing.JSON.Marshal(r)
	if err != nil {
		return nil, err
	}
	return &ticketing.Message{ID: m.ID, Subject: channel, Time: m.Time, Data: data}, nil
}

// wrapDead puts a dead letter into its record. Everything else stays as it is.
func wrapDead(m *ticketing.Message) (*ticketing.Message, error) {
	if _, _, ok := deadletter.ParseChannel(m.Subject); !ok {
		return m, nil
	}
	return newRecord(recordDead, m).encode(m, m.Subject)
}
