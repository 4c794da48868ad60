package natstest_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// send is a Send and its result. It fails the test unless done was called once
// before Send returned.
func send(t testing.TB, ctx context.Context, r *natstest.Recorder, m *ticketing.Message) error {
	t.Helper()
	calls := 0
	var result error
	r.Send(ctx, m, func(err error) { calls++; result = err })
	if calls != 1 {
		t.Fatalf("done was called %d times", calls)
	}
	return result
}

func TestSendRecordsEveryPublishInOrder(t *testing.T) {
	var r natstest.Recorder
	p := ticketing.NewPublisher[ticketCreated](&r, nil)
	if err := p.Publish(t.Context(), ticketCreated{ID: "T1"}, ticketing.WithID("a"), ticketing.WithHeader("trace", "x")); err != nil {
		t.Fatal(err)
	}
	if err := p.PublishAsync(t.Context(), ticketCreated{ID: "T2"}, ticketing.WithID("b")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), ticketCreated{ID: "T1"}, ticketing.WithID("a")); err != nil {
		t.Fatal(err)
	}
	var ids, keys []string
	for _, m := range r.Messages() {
		ids, keys = append(ids, m.ID), append(keys, m.Key)
	}
	if want := []string{"a", "b", "a"}; !slices.Equal(ids, want) {
		t.Errorf("ids are %q, want %q: duplicates are recorded", ids, want)
	}
	if want := []string{"T1", "T2", "T1"}; !slices.Equal(keys, want) {
		t.Errorf("keys are %q, want %q", keys, want)
	}
	m := r.Messages()[0]
	if got := m.Header["trace"]; !slices.Equal(got, []string{"x"}) || m.Subject != "ticket:created" || m.Time.IsZero() {
		t.Errorf("recorded %+v", m)
	}
	if got, want := string(m.Data), `{"id":"T1","title":"","price":0}`; got != want {
		t.Errorf("data is %s, want %s", got, want)
	}
}

func TestSendKeepsThePublishersMessageAndMessagesReturnsASliceOfItsOwn(t *testing.T) {
	var r natstest.Recorder
	m := &ticketing.Message{ID: "1", Subject: "a"}
	if err := send(t, t.Context(), &r, m); err != nil {
		t.Fatal(err)
	}
	got := r.Messages()
	if got[0] != m {
		t.Error("another message was recorded")
	}
	got[0] = nil
	if r.Messages()[0] != m {
		t.Error("Messages gave its own slice away")
	}
}

func TestSendRefusesWhatABrokerRefuses(t *testing.T) {
	header := func(name, value string) map[string][]string { return map[string][]string{name: {"fine", value}} }
	tests := []struct {
		name string
		m    ticketing.Message
		is   error
		text string
	}{
		{"no subject", ticketing.Message{}, ticketing.ErrInvalidSubject, "it is empty"},
		{"a wildcard", ticketing.Message{Subject: "ticket.*"}, ticketing.ErrInvalidSubject, "wildcard"},
		{"a line break in a header", ticketing.Message{ID: "1", Subject: "a", Header: header("trace", "x\r\nNats-Msg-Id: 1")}, nil, "header trace has a control character"},
		{"no id", ticketing.Message{Subject: "a"}, nil, "it has no id"},
		{"a large payload", ticketing.Message{Subject: "a", Data: make([]byte, 65)}, ticketing.ErrTooLarge, "the payload has 65 bytes, the recorder's MaxPayload is 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := natstest.Recorder{MaxPayload: 64}
			err := send(t, t.Context(), &r, &tt.m)
			if !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrInvalidEvent) {
				t.Fatalf("error is %v, want a rejected invalid event", err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v does not match %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v does not say %q", err, tt.text)
			}
			if n := len(r.Messages()); n != 0 {
				t.Errorf("%d messages were recorded", n)
			}
		})
	}
}

func TestSendTakesWhatABrokerTakes(t *testing.T) {
	r := natstest.Recorder{MaxPayload: 64}
	m := &ticketing.Message{
		ID:      "1",
		Subject: "dead.orders.ticket:created",
		Header:  map[string][]string{"Ticketing-Dead-Reason": {"über\tall", ""}, "x!~": nil},
		Data:    make([]byte, 64),
	}
	if err := send(t, t.Context(), &r, m); err != nil {
		t.Error(err)
	}
}

func TestSendAfterItsContextEndedIsNotSent(t *testing.T) {
	var r natstest.Recorder
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	err := send(t, ctx, &r, &ticketing.Message{Subject: "not valid"})
	if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, errBoom) {
		t.Errorf("error is %v, want not sent because of boom", err)
	}
	if len(r.Messages()) != 0 {
		t.Error("it was recorded")
	}
}

func TestConcurrentPublishesAreAllRecorded(t *testing.T) {
	const publishers, each = 64, 50
	var r natstest.Recorder
	p := ticketing.NewPublisher[ticketCreated](&r, nil)
	var wg sync.WaitGroup
	for i := range publishers {
		wg.Go(func() {
			for n := range each {
				if err := p.Publish(t.Context(), ticketCreated{ID: strconv.Itoa(i), Price: n}); err != nil {
					t.Error(err)
				}
				r.Messages()
			}
		})
	}
	wg.Wait()
	next := make(map[string]int)
	for _, e := range natstest.Published[ticketCreated](t, &r) {
		if e.Price != next[e.ID] {
			t.Fatalf("publisher %s: got %d, want %d: the order of calls was not kept", e.ID, e.Price, next[e.ID])
		}
		next[e.ID]++
	}
	if n := len(r.Messages()); n != publishers*each {
		t.Errorf("%d were recorded, want %d", n, publishers*each)
	}
}

func TestResetForgetsTheRecordAndTheScript(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1"})
	before := r.Messages()
	r.FailNext(ticketing.OutcomeBusy)
	r.Reset()
	if n := len(r.Messages()); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	publish(t, &r, ticketCreated{ID: "T2"})
	if got := natstest.RequireOnePublished[ticketCreated](t, &r); got.ID != "T2" {
		t.Errorf("recorded %+v", got)
	}
	if before[0].Key != "T1" {
		t.Error("an earlier result of Messages changed")
	}
}

func TestCheckSubjectHasAPlaceForEveryValidSubject(t *testing.T) {
	var r natstest.Recorder
	if err := r.CheckSubject(t.Context(), "dead.orders.ticket:created"); err != nil {
		t.Error(err)
	}
	err := r.CheckSubject(t.Context(), "ticket >")
	if !errors.Is(err, ticketing.ErrNoStream) || !errors.Is(err, ticketing.ErrInvalidSubject) {
		t.Errorf("error is %v, want no stream because of an invalid subject", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.CheckSubject(ctx, "a"); !errors.Is(err, context.Canceled) || errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("error is %v, want the context's", err)
	}
}

func TestARecorderDeclaresHeadersAlone(t *testing.T) {
	if got, want := new(natstest.Recorder).Capabilities(), (ticketing.Capabilities{Headers: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestARecordedPublishAllocatesNothingOfTheRecordersOwn(t *testing.T) {
	var r natstest.Recorder
	m := &ticketing.Message{ID: "1", Subject: "ticket:created", Data: []byte(`{"id":"T1"}`)}
	done := func(error) {}
	const runs = 1000
	for range runs + 1 { // the record has room for as many again
		r.Send(t.Context(), m, done)
	}
	r.Reset()
	ctx := t.Context()
	if n := testing.AllocsPerRun(runs, func() { r.Send(ctx, m, done) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// BenchmarkRecorderPublish is a publish of an event of about 150 bytes, from
// the value to the record.
func BenchmarkRecorderPublish(b *testing.B) {
	var r natstest.Recorder
	p := ticketing.NewPublisher[benchEvent](&r, nil)
	e := benchEvent{
		ID:      "0198c0de-7f00-7aaa-8bbb-0123456789ab",
		Title:   "Concert in the park, row 12",
		Price:   20.5,
		UserID:  "0198c0de-7f00-7ccc-8ddd-0123456789ab",
		Version: 3,
	}
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := p.Publish(ctx, e); err != nil {
			b.Fatal(err)
		}
		if i%4096 == 4095 { // a test's record is no larger
			r.Reset()
		}
	}
	b.StopTimer()
	if size := len(r.Messages()[0].Data); size < 140 || size > 180 {
		b.Fatalf("the event has %d bytes", size)
	}
}

type benchEvent struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Price   float64 `json:"price"`
	UserID  string  `json:"userId"`
	Version int     `json:"version"`
}

func (benchEvent) Subject() ticketing.Subject { return ticketing.SubjectTicketCreated }
func (e benchEvent) Key() string              { return e.ID }
