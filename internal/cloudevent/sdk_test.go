package cloudevent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
)

const source = "https://example.com/tickets?a=b"

func message() *ticketing.Message {
	return &ticketing.Message{
		ID:      `0198-"quoted"\`,
		Key:     "order-7",
		Subject: "ticket:created",
		Time:    time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.FixedZone("", 7200)),
		Header:  map[string][]string{"Traceparent": {"00-1-2-01"}, "tracestate": {"a=b"}, "X-Many": {"ö", `"two"`}},
		Data:    []byte(`{"id":"1","price":20.50,"big":12345678901234567890.10,"s":"<&>\u00e9"}`),
	}
}

// checkSDK holds what the SDK has read to the message.
func checkSDK(t *testing.T, e event.Event, m *ticketing.Message) {
	t.Helper()
	if err := e.Validate(); err != nil {
		t.Errorf("the SDK finds it invalid: %v", err)
	}
	if e.ID() != m.ID || e.Source() != source || e.Type() != string(m.Subject) || e.Subject() != m.Key || !e.Time().Equal(m.Time) ||
		e.DataContentType() != "application/json" || e.Extensions()["traceparent"] != "00-1-2-01" || e.Extensions()["tracestate"] != "a=b" {
		t.Errorf("the SDK has read\n%v", e)
	}
	if !bytes.Equal(e.Data(), m.Data) {
		t.Errorf("data is\n%s, want\n%s", e.Data(), m.Data)
	}
}

func TestTheSDKReadsOurJSON(t *testing.T) {
	m := message()
	enclosed, err := cloudevent.NewWriter(source).JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	var e event.Event
	if err := json.Unmarshal(enclosed.Data, &e); err != nil {
		t.Fatalf("%v: %s", err, enclosed.Data)
	}
	checkSDK(t, e, m)
	m.Data = []byte("\xffnot JSON")
	if enclosed, err = cloudevent.NewWriter(source).JSON(m); err != nil {
		t.Fatal(err)
	}
	e = event.Event{}
	if err := json.Unmarshal(enclosed.Data, &e); err != nil || !bytes.Equal(e.Data(), m.Data) || e.DataContentType() != "application/octet-stream" {
		t.Errorf("the SDK has read %v of %s: %v", e, enclosed.Data, err)
	}
}

func sdkEvent(t *testing.T, data []byte) event.Event {
	e := event.New()
	e.SetID("1/ü")
	e.SetSource("/else/where")
	e.SetType("com.example.sold")
	e.SetSubject("key")
	e.SetTime(time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC))
	e.SetExtension("traceparent", "00-3-4-00")
	e.SetExtension("count", 7)
	if err := e.SetData("application/json", json.RawMessage(data)); err != nil {
		t.Fatal(err)
	}
	return e
}

func wantSDK(data []byte) ticketing.Message {
	return ticketing.Message{
		ID: "1/ü", Key: "key", Subject: "ticket:created", Time: time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC), Data: data,
		Header: map[string][]string{"traceparent": {"00-3-4-00"}, "ce-count": {"7"}},
	}
}

func TestWeReadTheSDKsJSON(t *testing.T) {
	data := []byte(`{"price":20.50}`)
	encoded, err := json.Marshal(sdkEvent(t, data))
	if err != nil {
		t.Fatal(err)
	}
	got := ticketing.Message{Subject: "ticket:created", Data: encoded}
	if !cloudevent.ReadJSON(&got) || !reflect.DeepEqual(got, wantSDK(data)) {
		t.Errorf("of %s we have read\n%+v", encoded, got)
	}
	binary := event.New()
	binary.SetID("1")
	binary.SetSource("s")
	binary.SetType("t")
	if err := binary.SetData("image/png", []byte("\x89PNG")); err != nil {
		t.Fatal(err)
	}
	if encoded, err = json.Marshal(binary); err != nil {
		t.Fatal(err)
	}
	if got = (ticketing.Message{Data: encoded}); !cloudevent.ReadJSON(&got) || string(got.Data) != "\x89PNG" {
		t.Errorf("of %s we have read\n%+v", encoded, got)
	}
}

// headers is a NATS message as the SDK's binding reads and writes it in binary
// mode: its NATS modules map headers to attributes like this.
type headers struct {
	h    map[string][]string
	data []byte
}

var specs = spec.WithPrefix("ce-")

func (*headers) ReadEncoding() binding.Encoding { return binding.EncodingBinary }
func (*headers) Finish(error) error             { return nil }
func (*headers) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m *headers) version() spec.Version {
	if v := m.h["ce-specversion"]; len(v) > 0 {
		return specs.Version(v[0])
	}
	return nil
}

func (m *headers) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	for name, v := range m.h {
		ext, ok := strings.CutPrefix(name, "ce-")
		if !ok {
			continue
		}
		var err error
		if a := m.version().Attribute(name); a != nil {
			err = w.SetAttribute(a, v[0])
		} else {
			err = w.SetExtension(ext, v[0])
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.data))
}

func (m *headers) GetAttribute(k spec.Kind) (spec.Attribute, any) {
	a := m.version().AttributeFromKind(k)
	if v := m.h[a.PrefixedName()]; len(v) > 0 {
		return a, v[0]
	}
	return a, nil
}

func (m *headers) GetExtension(name string) any {
	if v := m.h["ce-"+name]; len(v) > 0 {
		return v[0]
	}
	return nil
}

func (m *headers) Start(context.Context) error { m.h = map[string][]string{}; return nil }
func (m *headers) End(context.Context) error   { return nil }

func (m *headers) SetAttribute(a spec.Attribute, value any) error {
	return m.SetExtension(a.Name(), value)
}

func (m *headers) SetExtension(name string, value any) error {
	s, err := types.Format(value)
	m.h["ce-"+name] = []string{s}
	return err
}

func (m *headers) SetData(r io.Reader) (err error) {
	m.data, err = io.ReadAll(r)
	return err
}

func TestTheSDKReadsOurHeaders(t *testing.T) {
	m := message()
	m.ID = "0198-plain"
	enclosed, err := cloudevent.NewWriter(source).Header(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(enclosed.Data, m.Data) {
		t.Errorf("the payload has changed: %s", enclosed.Data)
	}
	for name, values := range m.Header {
		if !reflect.DeepEqual(enclosed.Header[name], values) {
			t.Errorf("header %s is %q, want %q", name, enclosed.Header[name], values)
		}
	}
	e, err := binding.ToEvent(t.Context(), &headers{enclosed.Header, enclosed.Data})
	if err != nil {
		t.Fatal(err)
	}
	checkSDK(t, *e, m)
}

func TestWeReadTheSDKsHeaders(t *testing.T) {
	data := []byte(`{"price":20.50}`)
	e := sdkEvent(t, data)
	var h headers
	if _, err := binding.Write(t.Context(), binding.ToMessage(&e), nil, &h); err != nil {
		t.Fatal(err)
	}
	got := ticketing.Message{Subject: "ticket:created", Header: h.h, Data: h.data}
	if before := fmt.Sprint(h.h); !cloudevent.ReadHeader(&got) || !reflect.DeepEqual(got, wantSDK(data)) {
		t.Errorf("of %s we have read\n%+v", before, got)
	}
}
