package events

import (
	"fmt"
	"time"
)

// Timestamp is a moment as JavaScript's Date has it: the milliseconds since
// the start of 1970 in UTC. Two timestamps of the same moment are equal with
// ==, and what was published equals what arrives.
//
// Its text and JSON form is what toISOString writes, "2021-10-05T14:48:00.000Z":
// UTC, always three digits of milliseconds. Any RFC 3339 time is read; digits
// beyond the milliseconds are cut off, as JavaScript does. Years are 0 to
// 9999: a moment outside is an error when it is written or read.
type Timestamp int64

const (
	minTimestamp Timestamp = -62167219200000 // 0000-01-01T00:00:00.000Z
	maxTimestamp Timestamp = 253402300799999 // 9999-12-31T23:59:59.999Z
)

// NewTimestamp returns t without what is below a millisecond.
func NewTimestamp(t time.Time) Timestamp { return Timestamp(t.UnixMilli()) }

// Time returns the moment in UTC.
func (ts Timestamp) Time() time.Time { return time.UnixMilli(int64(ts)).UTC() }

// isoFormat is what toISOString writes.
const isoFormat = "2006-01-02T15:04:05.000Z"

// String returns the moment as toISOString writes it.
func (ts Timestamp) String() string { return ts.Time().Format(isoFormat) }

// MarshalText returns the moment as toISOString writes it.
func (ts Timestamp) MarshalText() ([]byte, error) {
	if err := ts.check(); err != nil {
		return nil, err
	}
	return ts.Time().AppendFormat(make([]byte, 0, len(isoFormat)), isoFormat), nil
}

// UnmarshalText reads an RFC 3339 time.
func (ts *Timestamp) UnmarshalText(text []byte) error {
	var t time.Time
	if err := t.UnmarshalText(text); err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	read := NewTimestamp(t)
	if err := read.check(); err != nil {
		return err
	}
	*ts = read
	return nil
}

func (ts Timestamp) check() error {
	if ts < minTimestamp || ts > maxTimestamp {
		return fmt.Errorf("timestamp: %d ms since 1970 is outside the years 0 to 9999", int64(ts))
	}
	return nil
}
