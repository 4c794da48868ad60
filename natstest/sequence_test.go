package natstest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
)

// recordOrder records three events of three types.
func recordOrder(t *testing.T) *natstest.Recorder {
	r := new(natstest.Recorder)
	publish(t, r, ticketCreated{ID: "T1", Title: "Rock", Price: 20})
	publish(t, r, orderCreated{ID: "O1", UserID: "generated"})
	publish(t, r, expired{OrderID: "O1"})
	return r
}

func TestRequireSequenceComparesEverythingThatWasRecorded(t *testing.T) {
	r := recordOrder(t)
	got := natstest.RequireSequence(t, r,
		ticketCreated{ID: "T1", Title: "Rock", Price: 20},
		natstest.Like(orderCreated{ID: "O1"}, cmpopts.IgnoreFields(orderCreated{}, "UserID")),
		expired{OrderID: "O1"},
	)
	if len(got) != 3 || got[1].Subject != "order:created" || got[1].Key != "O1" {
		t.Errorf("returned %+v", got)
	}
}

func TestRequireSequenceOfNothing(t *testing.T) {
	var r natstest.Recorder
	natstest.RequireSequence(t, &r)
	publish(t, &r, expired{OrderID: "O1"})
	got := run(t, func(t testing.TB) { natstest.RequireSequence(t, &r) })
	wantText(t, got, `
natstest: the recorded sequence differs (-want +got):
+ expiration:complete`)
}

func TestRequireSequencePrintsADiffOfSubjectsAndKeys(t *testing.T) {
	tests := []struct {
		name string
		want []ticketing.Event
		text string
	}{
		{"one is missing", []ticketing.Event{
			ticketCreated{ID: "T1", Title: "Rock", Price: 20},
			ticketCreated{ID: "T2"},
			orderCreated{ID: "O1", UserID: "generated"},
			expired{OrderID: "O1"},
		}, `
  ticket:created T1
- ticket:created T2
  order:created O1
  expiration:complete`},
		{"one too many", []ticketing.Event{
			ticketCreated{ID: "T1", Title: "Rock", Price: 20},
			expired{OrderID: "O1"},
		}, `
  ticket:created T1
+ order:created O1
  expiration:complete`},
		{"another order", []ticketing.Event{
			orderCreated{ID: "O1", UserID: "generated"},
			ticketCreated{ID: "T1", Title: "Rock", Price: 20},
			expired{OrderID: "O1"},
		}, `
- order:created O1
  ticket:created T1
+ order:created O1
  expiration:complete`},
		{"another content", []ticketing.Event{
			ticketCreated{ID: "T1", Title: "Rock", Price: 20},
			orderCreated{ID: "O1", UserID: "U1"},
			expired{OrderID: "O1"},
		}, `
  ticket:created T1
  order:created O1
      natstest_test.orderCreated{
      	ID:     "O1",
    - 	UserID: "U1",
    + 	UserID: "generated",
      }
  expiration:complete`},
		{"another key", []ticketing.Event{
			ticketCreated{ID: "T1", Title: "Rock", Price: 20},
			orderCreated{ID: "O2", UserID: "generated"},
			expired{OrderID: "O1"},
		}, `
  ticket:created T1
- order:created O2
+ order:created O1
  expiration:complete`},
		{"nothing is wanted", nil, `
+ ticket:created T1
+ order:created O1
+ expiration:complete`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := recordOrder(t)
			got := run(t, func(t testing.TB) { natstest.RequireSequence(t, r, tt.want...) })
			wantText(t, got, "natstest: the recorded sequence differs (-want +got):"+tt.text)
		})
	}
}

func TestRequireSequencePairsOffTheEventsThatAreEqual(t *testing.T) {
	var r natstest.Recorder
	for price := range 4 {
		publish(t, &r, ticketCreated{ID: "T1", Price: price + 1})
	}
	got := run(t, func(t testing.TB) {
		natstest.RequireSequence(t, &r,
			ticketCreated{ID: "T1", Price: 1},
			ticketCreated{ID: "T1", Price: 3},
			ticketCreated{ID: "T1", Price: 5},
			ticketCreated{ID: "T1", Price: 4},
		)
	})
	wantText(t, got, `
natstest: the recorded sequence differs (-want +got):
  ticket:created T1
+ ticket:created T1
  ticket:created T1
- ticket:created T1
  ticket:created T1`)
}

func TestRequireSequenceSaysThatNothingWasRecorded(t *testing.T) {
	var r natstest.Recorder
	got := run(t, func(t testing.TB) { natstest.RequireSequence(t, &r, expired{OrderID: "O1"}) })
	wantText(t, got, `
natstest: the recorded sequence differs (-want +got):
- expiration:complete
nothing at all was recorded`)
}

func TestRequireSequenceQuotesWhatDoesNotDecode(t *testing.T) {
	var r natstest.Recorder
	m := &ticketing.Message{ID: "1", Subject: "ticket:created", Key: "T1", Data: []byte(`{"id":7}`)}
	if err := send(t, t.Context(), &r, m); err != nil {
		t.Fatal(err)
	}
	got := run(t, func(t testing.TB) { natstest.RequireSequence(t, &r, ticketCreated{ID: "T1"}) })
	wantText(t, got, `
natstest: the recorded sequence differs (-want +got):
  ticket:created T1
    does not decode into natstest_test.ticketCreated: json: cannot unmarshal number into Go struct field ticketCreated.id of type string: {"id":7}`)
}

func TestRequireSequenceDoesNotNeedTheMessagesKey(t *testing.T) {
	var r natstest.Recorder
	publishRaw(t, &r, "ticket:created", `{"id":"T1"}`)
	natstest.RequireSequence(t, &r, ticketCreated{ID: "T1"})
}

func TestRequireSequenceRefusesWhatIsNoEvent(t *testing.T) {
	var r natstest.Recorder
	got := run(t, func(t testing.TB) { natstest.RequireSequence(t, &r, expired{}, nil) })
	wantText(t, got, "natstest: RequireSequence: event 2: it is nil")
	got = run(t, func(t testing.TB) { natstest.RequireSequence(t, &r, natstest.Like(&expired{})) })
	wantText(t, got, "natstest: RequireSequence: event 1: *natstest_test.expired is a pointer; an event is a value: use natstest_test.expired")
}
