package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common/events"
	"pgregory.net/rapid"
)

const (
	firstMoment events.Timestamp = -62167219200000 // the year 0 begins
	lastMoment  events.Timestamp = 253402300799999 // the year 9999 ends
)

var timestamps = rapid.Map(rapid.Int64Range(int64(firstMoment), int64(lastMoment)),
	func(ms int64) events.Timestamp { return events.Timestamp(ms) })

// The literals are what toISOString wrote.
func TestATimestampIsWrittenAsToISOStringWritesIt(t *testing.T) {
	for ts, want := range map[events.Timestamp]string{
		0:             "1970-01-01T00:00:00.000Z",
		-1:            "1969-12-31T23:59:59.999Z",
		1633445280000: "2021-10-05T14:48:00.000Z",
		1633445280120: "2021-10-05T14:48:00.120Z",
		firstMoment:   "0000-01-01T00:00:00.000Z",
		lastMoment:    "9999-12-31T23:59:59.999Z",
	} {
		if got := ts.String(); got != want {
			t.Errorf("String of %d = %s, want %s", int64(ts), got, want)
		}
		if got := encode(t, ts); got != `"`+want+`"` {
			t.Errorf("JSON of %d = %s, want %q", int64(ts), got, want)
		}
		if got := decode[events.Timestamp](t, `"`+want+`"`); got != ts {
			t.Errorf("%s was read as %d, want %d", want, int64(got), int64(ts))
		}
	}
}

func TestATimestampIsReadFromAnyRFC3339Time(t *testing.T) {
	for in, want := range map[string]string{
		"2021-10-05T14:48:00Z":           "2021-10-05T14:48:00.000Z",
		"2021-10-05T14:48:00.5Z":         "2021-10-05T14:48:00.500Z",
		"2021-10-05T14:48:00.123999Z":    "2021-10-05T14:48:00.123Z",
		"2021-10-05T14:48:00+07:00":      "2021-10-05T07:48:00.000Z",
		"2021-12-31T23:30:00.001-01:00":  "2022-01-01T00:30:00.001Z",
		"1969-12-31T23:59:59.999999999Z": "1969-12-31T23:59:59.999Z",
	} {
		if got := decode[events.Timestamp](t, `"`+in+`"`).String(); got != want {
			t.Errorf("%s was read as %s, want %s", in, got, want)
		}
	}
}

func TestWhatIsNoRFC3339TimeIsRefused(t *testing.T) {
	for _, in := range []string{
		"", "tomorrow", "2021-10-05", "2021-10-05 14:48:00Z", "2021-10-05T14:48:00", "2021-02-29T00:00:00Z",
		"2021-10-05T24:00:00Z", "2021-10-05T14:48:60Z", "+010000-01-01T00:00:00.000Z",
		"0000-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
	} {
		ts := events.Timestamp(42)
		if err := ts.UnmarshalText([]byte(in)); err == nil || ts != 42 {
			t.Errorf("%q: error %v, timestamp %v; want an error and no change", in, err, ts)
		}
	}
}

func TestAMomentOutsideTheYears0To9999CannotBeWritten(t *testing.T) {
	for _, ts := range []events.Timestamp{firstMoment - 1, lastMoment + 1, events.NewTimestamp(time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC))} {
		text, err := ts.MarshalText()
		if err == nil || !strings.Contains(err.Error(), "years 0 to 9999") {
			t.Errorf("%d was written as %q, error %v", int64(ts), text, err)
		}
	}
}

func TestATimestampKeepsTheMomentToTheMillisecond(t *testing.T) {
	saigon := time.FixedZone("+07", 7*3600)
	in := time.Date(2021, 10, 5, 21, 48, 0, 123_999_999, saigon)
	want := time.Date(2021, 10, 5, 14, 48, 0, 123_000_000, time.UTC)
	if got := events.NewTimestamp(in).Time(); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		ts := timestamps.Draw(t, "timestamp")
		if got := events.NewTimestamp(ts.Time()); got != ts {
			t.Fatalf("%v came back as %v", ts, got)
		}
		if got := decode[events.Timestamp](t, encode(t, ts)); got != ts {
			t.Fatalf("%v was read back as %v", ts, got)
		}
	})
}
