package cloudevent_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
)

var payloads = []string{
	`{"price":20}`, `{"price":20.50,"n":1e400}`, `20`, `"text"`, `null`, `[1, 2]`, "", " {} ", "{}\n", "not JSON", "\xff\x00", "\"\xff\"",
	`{"a":1,"a":2}`, `{"specversion":"1.0"}`, `{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}}`,
}

// want is m as it arrives: RFC 3339 has nanoseconds, and no location.
func want(m *ticketing.Message) ticketing.Message {
	w := *m
	w.Time = m.Time.UTC()
	return w
}

func TestAMessageComesOutOfItsEnvelopeAsItWentIn(t *testing.T) {
	w := cloudevent.NewWriter(source)
	for _, data := range payloads {
		for name, change := range map[string]func(*ticketing.Message){
			"full":      func(*ticketing.Message) {},
			"bare":      func(m *ticketing.Message) { *m = ticketing.Message{ID: "1", Subject: "a"} },
			"not ASCII": func(m *ticketing.Message) { m.ID, m.Key = `50% "ü" %20`, " key " },
		} {
			m := message()
			change(m)
			m.Data = []byte(data)
			for mode, write := range map[string]func(*ticketing.Message) (*ticketing.Message, error){"JSON": w.JSON, "header": w.Header} {
				enclosed, err := write(m)
				if err != nil {
					t.Fatalf("%s, %s, %q: %v", name, mode, data, err)
				}
				got := ticketing.Message{Subject: m.Subject, Data: enclosed.Data}
				read := cloudevent.ReadJSON
				if mode == "header" {
					got.Header = maps.Clone(enclosed.Header)
					read = cloudevent.ReadHeader
				}
				if !read(&got) {
					t.Fatalf("%s, %s: not read: %s %q", name, mode, enclosed.Data, enclosed.Header)
				}
				if len(got.Data) == 0 && len(m.Data) == 0 {
					got.Data = m.Data
				}
				if !reflect.DeepEqual(got, want(m)) {
					t.Errorf("%s, %s: got\n%+v, want\n%+v", name, mode, got, want(m))
				}
			}
		}
	}
}

func TestWhatCannotBeInAnEnvelopeIsTheEventsFault(t *testing.T) {
	w := cloudevent.NewWriter(source)
	for name, change := range map[string]func(*ticketing.Message){
		"JSON: an id that is not UTF-8":      func(m *ticketing.Message) { m.ID = "\xff" },
		"JSON: a header that is not UTF-8":   func(m *ticketing.Message) { m.Header["X"] = []string{"\xff"} },
		"header: an id with a tab":           func(m *ticketing.Message) { m.ID = "a\tb" },
		"header: a header of the envelope's": func(m *ticketing.Message) { m.Header["ce-id"] = []string{"2"} },
	} {
		m := message()
		change(m)
		write := w.JSON
		if strings.HasPrefix(name, "header") {
			write = w.Header
		}
		if _, err := write(m); !errors.Is(err, ticketing.ErrInvalidEvent) || !strings.Contains(err.Error(), "CloudEvent") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A key and a time are not worth the event.
	m := message()
	m.Key, m.Time = "\xff\n", time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	enclosed, err := w.JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	if !cloudevent.ReadJSON(enclosed) || enclosed.Key != "" {
		t.Errorf("read back as %+v", enclosed)
	}
}

const rest = `"id":"1","source":"s","type":"t","data":{}`

func TestWhatIsNoCloudEventStaysAsItIs(t *testing.T) {
	for _, data := range append([]string{
		`{"specversion":"1.0"}`,
		`{"specversion":"0.3",` + rest + `}`,
		`{"specversion":1.0,` + rest + `}`,
		`{"specversion":null,` + rest + `}`,
		`{"specversion":"1.0","id":"","source":"s","type":"t","data":{}}`,
		`{"specversion":"1.0","id":7,"source":"s","type":"t","data":{}}`,
		`{"specversion":"1.0","id":"a\u0000","source":"s","type":"t","data":{}}`,
		`{"specversion":"1.0","source":"s","type":"t","data":{}}`,
		`{"specversion":"1.0","id":"1","type":"t","data":{}}`,
		`{"specversion":"1.0","id":"1","source":"s","data":{}}`,
		`{"specversion":"1.0","id":"1","source":"s","type":"t"}`,
		`{"specversion":"1.0",` + rest + `,"data_base64":""}`,
		`{"specversion":"1.0",` + rest + `,"id":"2"}`,
		`{"specversion":"1.0",` + rest + `,"userId":"2"}`,
		`{"specversion":"1.0",` + rest + `,"price":20.5}`,
		`{"specversion":"1.0",` + rest + `,"price":{}}`,
		`{"specversion":"1.0",` + rest + `,"n":2147483648}`,
		`{"specversion":"1.0",` + rest + `,"time":"yesterday"}`,
		`{"specversion":"1.0",` + rest + `,"time":5}`,
		`{"specversion":"1.0",` + rest + `,"ticketingheaders":"{"}`,
		`{"specversion":"1.0",` + rest + `,"datacontenttype":"text/plain"}`,
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"!"}`,
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":5}`,
		`{"specversion":"1.0",` + rest + `} {}`,
		`{"specversion":"1.0",` + rest,
		`[{"specversion":"1.0",` + rest + `}]`,
		`{"data":{"specversion":"1.0",` + rest + `}}`,
		"{\"specversion\":\"1.0\",\"x\":\"\xff\"," + rest + `}`,
		`"specversion"`,
	}, manyExtensions()) {
		m := ticketing.Message{ID: "id", Time: time.Unix(1, 0), Data: []byte(data)}
		if cloudevent.ReadJSON(&m) || !reflect.DeepEqual(m, ticketing.Message{ID: "id", Time: time.Unix(1, 0), Data: []byte(data)}) {
			t.Errorf("%s was read as %+v", data, m)
		}
	}
	good := map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"s"}, "ce-type": {"t"}}
	for name, values := range map[string][]string{
		"ce-specversion": {"0.3"}, "ce-id": {""}, "ce-source": {"s", "s"}, "ce-type": nil, "ce-time": {"yesterday"}, "ce-subject": {"%0a"},
	} {
		h := maps.Clone(good)
		h[name] = values
		m := ticketing.Message{ID: "id", Header: maps.Clone(h)}
		if cloudevent.ReadHeader(&m) || m.ID != "id" || !reflect.DeepEqual(m.Header, h) {
			t.Errorf("%q was read as %+v", h, m)
		}
	}
	if m := (ticketing.Message{ID: "id", Header: good}); !cloudevent.ReadHeader(&m) || m.ID != "1" || m.Header != nil {
		t.Errorf("a good one was read as %+v", m)
	}
}

func manyExtensions() string {
	var b strings.Builder
	b.WriteString(`{"specversion":"1.0",` + rest)
	for i := range 100 {
		fmt.Fprintf(&b, `,"e%d":1`, i)
	}
	return b.String() + "}"
}

func TestASourceIsAURIReference(t *testing.T) {
	for s, ok := range map[string]bool{
		"tickets": true, "/tickets": true, "urn:a:b": true, source: true,
		"": false, "a b": false, "%zz": false, ":a": false, "a\n": false, "ü": false, "<a>": false,
	} {
		if err := cloudevent.CheckSource(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestAPlainMessageCostsNothing(t *testing.T) {
	m := ticketing.Message{Data: []byte(`{"id":"1","title":"a ticket","price":20.50}`)}
	if n := testing.AllocsPerRun(100, func() { cloudevent.ReadJSON(&m); cloudevent.ReadHeader(&m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReadJSON looks for a panic, for a message that is changed though it is in
// no envelope, and for one that does not survive another envelope.
func FuzzReadJSON(f *testing.F) {
	for _, p := range payloads {
		f.Add([]byte(p))
	}
	enclosed, err := cloudevent.NewWriter(source).JSON(message())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(enclosed.Data)
	f.Add([]byte(`{"specversion":"1.0",` + rest + `,"ext":true,"subject":null,"time":"2026-05-01T12:00:00+02:00","ticketingheaders":"{\"a\":[\"b\"]}"}`))
	f.Add([]byte(`{"specversion":"1.0","id":"\ud800","source":"s","type":"t","datacontenttype":"text/xml","data":"<a\u2028/>"}`))
	f.Add([]byte(manyExtensions()))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		m := ticketing.Message{Subject: "a", Data: data}
		if !cloudevent.ReadJSON(&m) {
			if !reflect.DeepEqual(m, ticketing.Message{Subject: "a", Data: before}) {
				t.Errorf("changed to %+v", m)
			}
			return
		}
		enclosed, err := cloudevent.NewWriter(source).JSON(&m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if !cloudevent.ReadJSON(enclosed) {
			t.Fatalf("%+v is not read back", m)
		}
		if enclosed.ID != m.ID || enclosed.Key != m.Key || !enclosed.Time.Equal(m.Time) || !bytes.Equal(enclosed.Data, m.Data) {
			t.Errorf("%+v became %+v", m, enclosed)
		}
	})
}
