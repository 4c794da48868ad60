package ticketing

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
)

// Message is an encoded event, as a broker carries it. It is read-only once it
// was sent: a [Sender] may keep it.
type Message struct {
	// ID identifies the event. It is set once, and kept across retries, an
	// outbox, dead letters and replays. Where the wire carries no id (NATS
	// Streaming without the CloudEvents envelope), a received message has one that its [Receiver] derives from
	// the position it was stored at, the same at every delivery.
	ID string
	// DedupeID is what the broker tells duplicates by. Empty means ID.
	DedupeID string
	// Key is the event's key, or empty. It is on the wire in a CloudEvents
	// envelope alone: a received message has none otherwise, and a [Listener]
	// takes it from the decoded event.
	Key string
	// Subject is where the message is stored.
	Subject Subject
	// Time is when the event was published. On a received message it is when
	// the broker stored it, unless a CloudEvents envelope tells the former.
	Time time.Time
	// Header holds the message's headers beyond those that this module sets
	// itself. JetStream carries them, NATS Streaming in a CloudEvents envelope
	// alone.
	Header map[string][]string
	// Data is the payload: the encoded event and nothing around it.
	Data []byte
}

// DedupeKey returns DedupeID, or ID where that is empty.
func (m *Message) DedupeKey() string {
	if m.DedupeID != "" {
		return m.DedupeID
	}
	return m.ID
}

// Codec turns events into payloads and back. Both methods may be called
// concurrently. Marshal returns a slice that the caller may keep; Unmarshal
// gets a pointer to an event and must not keep data. Its errors are logged, and
// stored with dead letters, so they should not quote data.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// JSON is the default [Codec]: plain JSON as the Node package writes it, so
// '<', '>' and '&' stay as they are. When it decodes, unknown fields are
// ignored, so that a publisher may add some; anything after the value, and a
// payload that is just null, is an error.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

// jsonEncoder is an encoder with its buffer: json.Marshal cannot be told to
// leave '<', '>' and '&' alone.
type jsonEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var jsonEncoders = sync.Pool{New: func() any {
	e := new(jsonEncoder)
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	return e
}}

// maxPooledEncoder bounds what an idle encoder may hold on to.
const maxPooledEncoder = 64 << 10

func (jsonCodec) Marshal(v any) ([]byte, error) {
	e := jsonEncoders.Get().(*jsonEncoder)
	defer func() {
		if e.buf.Cap() <= maxPooledEncoder {
			e.buf.Reset()
			jsonEncoders.Put(e)
		}
	}()
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))), nil
}

var errNull = errors.New("the payload is null, not an event")

func (jsonCodec) Unmarshal(data []byte, v any) error {
	if len(data) < 16 && bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return errNull // json would leave v as it is and call that a success
	}
	if err := json.Unmarshal(data, v); err != nil {
		return withoutValue(err)
	}
	return nil
}

// withoutValue drops from a decoding error what it quotes: a number of any
// length, which is payload.
func withoutValue(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		wrong.Value, _, _ = strings.Cut(wrong.Value, " ") // "number 100..."
	}
	return err
}
