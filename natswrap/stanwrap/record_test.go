package stanwrap

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Payloads come out as they went in.
func TestARecordIsReadAsItWasWritten(t *testing.T) {
	roundTrip := func(data []byte, text bool) bool {
		r := record{
			Kind: recordReplay, Of: 7, ID: "id", Header: map[string][]string{"a": {"b", "\tc"}}, Data: data,
			Subject: "ticket:created", Position: 3, Published: time.Unix(5, 6).UTC(),
		}
		m, err := r.encode(&ticketing.Message{ID: "id"}, "dead.g")
		if err != nil || !json.Valid(m.Data) {
			t.Errorf("%q: %v, %s", data, err, m.Data)
			return false
		}
		got, ok := parseRecord(m.Data)
		if ok && len(data) == 0 && len(got.Data) == 0 {
			got.Data = data
		}
		if !ok || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came out as %+v, %v", r, got, ok)
			return false
		}
		if readable := bytes.Contains(m.Data, []byte(`,"data":"`)); readable != text {
			t.Errorf("%q is text: %v, want %v", data, readable, text)
		}
		return true
	}
	for data, text := range map[string]bool{
		"": true, `{"id":"a\\\"b"}`: true, "\n\r\t": true, "<>&\u2028\u202e\x7fé": true,
		"\x00": false, "\xff": false, "\x1b[31m": false, "\u0080": true,
	} {
		roundTrip([]byte(data), text)
	}
	if err := quick.Check(func(data []byte) bool { return roundTrip(data, isText(data)) }, nil); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoRecordIsLeftAlone(t *testing.T) {
	for _, data := range []string{
		"", "garbage", "{}", "null", `{"id":"a"}`, `{"ticketing_record":"other","of":1}`,
		`{"ticketing_record":"replayed"}`, `{"ticketing_record":"replay","id":"a"}`, `{"ticketing_record":7}`,
	} {
		if r, ok := parseRecord([]byte(data)); ok {
			t.Errorf("%s is read as %+v", data, r)
		}
	}
}

func TestOnlyADeadLetterIsWrapped(t *testing.T) {
	for _, s := range []ticketing.Subject{"ticket:created", "dead", "dead.g", "deadly.g.s"} {
		m := &ticketing.Message{ID: "id", Subject: s, Data: []byte("{}")}
		if got, err := new(Client).wrap(m); err != nil || got != m {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
}
