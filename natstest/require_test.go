package natstest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// publishRaw records data as it is.
func publishRaw(t testing.TB, r *natstest.Recorder, s ticketing.Subject, data string) {
	t.Helper()
	if err := send(t, t.Context(), r, &ticketing.Message{ID: "id", Subject: s, Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

func TestPublishedReturnsTheEventsOfOneTypeInOrder(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1"})
	publish(t, &r, orderCreated{ID: "O1"})
	publish(t, &r, ticketCreated{ID: "T2", Price: 20})
	got := natstest.Published[ticketCreated](t, &r)
	if want := []ticketCreated{{ID: "T1"}, {ID: "T2", Price: 20}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := natstest.Published[expired](t, &r); len(got) != 0 {
		t.Errorf("got %+v, want none", got)
	}
}

func TestPublishedUsesTheRecordersCodec(t *testing.T) {
	r := natstest.Recorder{Codec: upper{}}
	publishRaw(t, &r, "ticket:created", `{"ID":"T1"}`)
	if got := natstest.RequireOnePublished[ticketCreated](t, &r); got.ID != "t1" {
		t.Errorf("got %+v", got)
	}
}

// upper is JSON in which letters lose their case.
type upper struct{}

func (upper) Marshal(v any) ([]byte, error) { return nil, errors.New("not needed") }
func (upper) Unmarshal(data []byte, v any) error {
	return ticketing.JSON.Unmarshal([]byte(strings.ToLower(string(data))), v)
}

func TestARecordThatDoesNotDecodeFailsEveryHelper(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1"})
	publishRaw(t, &r, "ticket:created", `{"id":7}`)
	decode := `record 2 of ticket:created does not decode into natstest_test.ticketCreated: json: cannot unmarshal number into Go struct field ticketCreated.id of type string: {"id":7}`
	for name, helper := range map[string]func(t testing.TB){
		"Published":            func(t testing.TB) { natstest.Published[ticketCreated](t, &r) },
		"RequirePublished":     func(t testing.TB) { natstest.RequirePublished(t, &r, ticketCreated{ID: "T1"}) },
		"RequireOnePublished":  func(t testing.TB) { natstest.RequireOnePublished[ticketCreated](t, &r) },
		"RequireNonePublished": func(t testing.TB) { natstest.RequireNonePublished[ticketCreated](t, &r) },
	} {
		t.Run(name, func(t *testing.T) { wantText(t, run(t, helper), "natstest: "+decode) })
	}
	got := run(t, func(t testing.TB) {
		natstest.Await(context.Background(), t, &r, func(e ticketCreated) bool { return e.ID == "T2" })
	})
	wantText(t, got, "natstest: Await: "+decode)
}

func TestHelpersRefuseAnEventThatIsNoValue(t *testing.T) {
	var r natstest.Recorder
	pointer := "*natstest_test.ticketCreated is a pointer; an event is a value: use natstest_test.ticketCreated"
	wantText(t, run(t, func(t testing.TB) { natstest.Published[*ticketCreated](t, &r) }), "natstest: "+pointer)
	wantText(t, run(t, func(t testing.TB) { natstest.RequirePublished(t, &r, &ticketCreated{}) }), "natstest: "+pointer)
	wantText(t, run(t, func(t testing.TB) { natstest.RequireOnePublished[*ticketCreated](t, &r) }), "natstest: "+pointer)
	wantText(t, run(t, func(t testing.TB) { natstest.RequireNonePublished[*ticketCreated](t, &r) }), "natstest: "+pointer)
	wantText(t, run(t, func(t testing.TB) { natstest.Await[*ticketCreated](context.Background(), t, &r, nil) }), "natstest: Await: "+pointer)
	wantText(t, run(t, func(t testing.TB) { natstest.Published[ticketing.Event](t, &r) }),
		"natstest: ticketing.Event is an interface; an event has a concrete type")
}

func TestRequirePublishedReturnsTheFirstMatch(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1", Price: 20})
	publish(t, &r, ticketCreated{ID: "T2", Price: 25})
	publish(t, &r, ticketCreated{ID: "T3", Price: 25})
	if got := natstest.RequirePublished(t, &r, ticketCreated{ID: "T2", Price: 25}); got.ID != "T2" {
		t.Errorf("got %+v", got)
	}
	got := natstest.RequirePublished(t, &r, ticketCreated{Price: 25}, cmpopts.IgnoreFields(ticketCreated{}, "ID"))
	if got.ID != "T2" {
		t.Errorf("got %+v, want the first of two", got)
	}
}

func TestRequirePublishedPrintsTheNearestEvents(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, orderCreated{ID: "O1"})
	publish(t, &r, ticketCreated{ID: "T7", Title: "Opera", Price: 90})
	publish(t, &r, ticketCreated{ID: "T8", Title: "Rock", Price: 20})
	publish(t, &r, ticketCreated{ID: "T1", Title: "Rock", Price: 25})
	publish(t, &r, ticketCreated{ID: "T9", Title: "Opera", Price: 20})
	publish(t, &r, expired{OrderID: "O1"})
	publish(t, &r, orderCreated{ID: "O2"})
	got := run(t, func(t testing.TB) {
		natstest.RequirePublished(t, &r, ticketCreated{ID: "T1", Title: "Rock", Price: 20})
	})
	wantText(t, got, `
natstest: the wanted ticket:created was not published; nearest of 4 (-want +got):
event 2, 1 difference:
    natstest_test.ticketCreated{
  - 	ID:    "T1",
  + 	ID:    "T8",
    	Title: "Rock",
    	Price: 20,
    }
event 3, 1 difference:
    natstest_test.ticketCreated{
    	ID:    "T1",
    	Title: "Rock",
  - 	Price: 20,
  + 	Price: 25,
    }
event 4, 2 differences:
    natstest_test.ticketCreated{
  - 	ID:    "T1",
  + 	ID:    "T9",
  - 	Title: "Rock",
  + 	Title: "Opera",
    	Price: 20,
    }
also recorded:
  2 order:created
  1 expiration:complete`)
}

func TestRequirePublishedRanksByTheOptionsGiven(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1", Title: "Opera", Price: 20})
	publish(t, &r, ticketCreated{ID: "x", Title: "Rock", Price: 25})
	got := run(t, func(t testing.TB) {
		natstest.RequirePublished(t, &r, ticketCreated{ID: "T1", Title: "Rock", Price: 20},
			cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".ID" }, cmp.Ignore()))
	})
	if !strings.Contains(got, "event 1, 1 difference:") || !strings.Contains(got, "event 2, 1 difference:") {
		t.Errorf("text is\n%s", got)
	}
}

func TestRequireHelpersSayThatNothingWasRecorded(t *testing.T) {
	var r natstest.Recorder
	want := `
natstest: no ticket:created was published
nothing at all was recorded`
	wantText(t, run(t, func(t testing.TB) { natstest.RequirePublished(t, &r, ticketCreated{ID: "T1"}) }), want)
	wantText(t, run(t, func(t testing.TB) { natstest.RequireOnePublished[ticketCreated](t, &r) }), want)
}

func TestRequireHelpersNameTheOtherSubjects(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, orderCreated{ID: "O1"})
	publish(t, &r, expired{OrderID: "O1"})
	publish(t, &r, orderCreated{ID: "O2"})
	want := `
natstest: no ticket:created was published
also recorded:
  2 order:created
  1 expiration:complete`
	wantText(t, run(t, func(t testing.TB) { natstest.RequirePublished(t, &r, ticketCreated{ID: "T1"}) }), want)
	wantText(t, run(t, func(t testing.TB) { natstest.RequireOnePublished[ticketCreated](t, &r) }), want)
}

func TestRequireOnePublishedListsMoreThanOne(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, ticketCreated{ID: "T1"})
	publish(t, &r, orderCreated{ID: "O1"})
	if got := natstest.RequireOnePublished[ticketCreated](t, &r); got.ID != "T1" {
		t.Errorf("got %+v", got)
	}
	publish(t, &r, ticketCreated{ID: "T2"})
	got := run(t, func(t testing.TB) { natstest.RequireOnePublished[ticketCreated](t, &r) })
	wantText(t, got, `
natstest: 2 ticket:created were published, want one:
  1: {"id":"T1","title":"","price":0}
  2: {"id":"T2","title":"","price":0}`)
}

func TestRequireNonePublishedListsWhatThereIs(t *testing.T) {
	var r natstest.Recorder
	publish(t, &r, orderCreated{ID: "O1"})
	natstest.RequireNonePublished[ticketCreated](t, &r)
	for i := range 12 {
		publish(t, &r, ticketCreated{ID: fmt.Sprint("T", i)})
	}
	got := run(t, func(t testing.TB) { natstest.RequireNonePublished[ticketCreated](t, &r) })
	var want strings.Builder
	want.WriteString("natstest: 12 ticket:created published, want none:")
	for i := range 10 {
		fmt.Fprintf(&want, "\n  %d: {\"id\":\"T%d\",\"title\":\"\",\"price\":0}", i+1, i)
	}
	want.WriteString("\n  and 2 more")
	wantText(t, got, want.String())
}

func TestPayloadsAreQuotedAndCutShort(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{"not\njson\x00", `"not\njson\x00"`},
		{"\xff", `"\xff"`},
		{strings.Repeat("x", 201), strings.Repeat("x", 200) + "… (201 bytes)"},
		{strings.Repeat("x", 199) + "é", strings.Repeat("x", 199) + "… (201 bytes)"},
	} {
		var r natstest.Recorder
		publishRaw(t, &r, "ticket:created", tt.data)
		got := run(t, func(t testing.TB) { natstest.Published[ticketCreated](t, &r) })
		if !strings.HasSuffix(got, ": "+tt.want) {
			t.Errorf("text is %s, want …: %s", got, tt.want)
		}
	}
}
