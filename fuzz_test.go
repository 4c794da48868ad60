package ticketing_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// decoded has what an event may have.
type decoded struct {
	ID     string             `json:"id"`
	N      int64              `json:"n"`
	Small  uint8              `json:"small"`
	Price  float64            `json:"price"`
	Maybe  *string            `json:"maybe"`
	List   []string           `json:"list"`
	Map    map[string]float64 `json:"map"`
	Raw    []byte             `json:"raw"`
	Nested struct {
		Any  any      `json:"any"`
		Self *decoded `json:"self"`
	} `json:"nested"`
}

// FuzzJSON looks for a payload that makes the codec panic, that it takes with
// something behind the value, that it blows up, or that comes back as another
// event.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, ` {"id":"a","n":-1,"small":255,"price":1e300} `, `{"maybe":"<&>","list":["",null],"map":{"":0.1}}`, `{"raw":"AAEC"}`,
		`{"nested":{"any":[{"a":[1,"b",null,true]}],"self":{"nested":{"self":{}}}}}`, `{"ID":"A","id":"b","Id":"c"}`,
		``, `null`, ` null `, `[]`, `"text"`, `{"n":1.5}`, `{"small":256}`, `{"n":1} trailing`, `{}{}`, `{"id":"\ud800"}`, "{\"id\":\"\xff\"}",
		strings.Repeat("[", 20_000), `{"nested":{"any":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + "}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e decoded
		if err := ticketing.JSON.Unmarshal(data, &e); err != nil {
			return
		}
		if !json.Valid(data) || string(bytes.TrimSpace(data)) == "null" {
			t.Fatalf("%q was decoded", data)
		}
		for _, tail := range []string{"x", "{}", "null", ",", "\x00"} {
			if err := ticketing.JSON.Unmarshal(append(bytes.Clone(data), " "+tail...), new(decoded)); err == nil {
				t.Fatalf("%q was decoded with %q behind it", data, tail)
			}
		}
		out, err := ticketing.JSON.Marshal(e)
		if err != nil {
			t.Fatalf("%q was decoded and cannot be encoded: %v", data, err)
		}
		// Every object of the payload comes back with all its fields, in some
		// 100 bytes.
		if most := 100 * (len(data) + 1); len(out) > most {
			t.Fatalf("%d bytes became %d", len(data), len(out))
		}
		var again decoded
		if err := ticketing.JSON.Unmarshal(out, &again); err != nil {
			t.Fatalf("%q was encoded as %q, which cannot be decoded: %v", data, out, err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q was encoded as %q, and came back as %+v, not %+v", data, out, again, e)
		}
	})
}
