package deadletter

import (
	"maps"
	"strconv"
	"strings"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Letter is a dead letter: an event as it came, and why its group could not
// handle it. What the broker does not know of it is zero.
type Letter struct {
	Ref
	// ID is the event's id, and Key its key where a CloudEvents envelope carries
	// that. A replay keeps both.
	ID, Key string
	// Died is when the dead letter was stored.
	Died time.Time
	// Reason is the last error of the handler, on one line.
	Reason string
	// Attempts is how often the event was tried: not at all where it could
	// not be decoded.
	Attempts int
	// Published and Position are when the event was published, or stored where
	// no envelope tells, and its sequence where its listener got it.
	Published time.Time
	Position  uint64
	// Cut says what is missing of the event, which was too large to be stored
	// whole: see [ticketing.HeaderDeadCut].
	Cut string
	// Header holds the event's own headers, Data its payload.
	Header map[string][]string
	Data   []byte
}

// FromMessage reads a dead letter. It is for brokers: m has the headers that a
// [ticketing.Listener] gives it, and the time when it was stored.
func FromMessage(r Ref, m *ticketing.Message) *Letter {
	l := &Letter{Ref: r, ID: m.ID, Key: m.Key, Died: m.Time, Data: m.Data}
	value := func(name string) string {
		if v := m.Header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	l.Reason = value(ticketing.HeaderDeadReason)
	l.Cut = value(ticketing.HeaderDeadCut)
	l.Attempts, _ = strconv.Atoi(value(ticketing.HeaderDeadAttempts))
	l.Position, _ = strconv.ParseUint(value(ticketing.HeaderDeadSequence), 10, 64)
	l.Published, _ = time.Parse(time.RFC3339Nano, value(ticketing.HeaderDeadTime))
	l.Header = own(m.Header)
	return l
}

// What this module adds to an event's headers.
var prefixes = []string{"Ticketing-Dead-", "Ticketing-Replay-"}

// own returns h without what this module has added, or nil.
func own(h map[string][]string) map[string][]string {
	h = maps.Clone(h)
	maps.DeleteFunc(h, func(name string, _ []string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	})
	if len(h) == 0 {
		return nil
	}
	return h
}

// Replay returns the message that hands the event to its group again: as it was,
// with a dedupe id of its own. It is for brokers.
func (l *Letter) Replay() *ticketing.Message {
	of := strconv.FormatUint(l.Sequence, 10)
	header := maps.Clone(l.Header)
	if header == nil {
		header = make(map[string][]string, 2)
	}
	header[ticketing.HeaderReplayGroup] = []string{l.Group}
	header[ticketing.HeaderReplayOf] = []string{of}
	published := l.Published
	if published.IsZero() {
		published = time.Now()
	}
	return &ticketing.Message{
		ID:       l.ID,
		DedupeID: l.ID + "/replay/" + of,
		Key:      l.Key,
		Subject:  l.Subject,
		Time:     published,
		Header:   header,
		Data:     l.Data,
	}
}

// Whole reports whether the event's payload is complete. Without that it
// cannot be replayed from here.
func (l *Letter) Whole() bool { return l.Cut == "" || l.Cut == "headers" }
