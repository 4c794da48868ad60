package events_test

import (
	"math"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"pgregory.net/rapid"
)

const ticketID = "615c5f2e9b1e8a0012d3a4b5"

// The literals are what the Node package's Publisher handed to its client.
func TestEventsAreOnTheWireAsTheNodePackageWritesThem(t *testing.T) {
	t.Run("TicketCreated", wire(events.TicketCreated{
		ID: ticketID, Title: `Tom & Jerry <live> "été" 日本 🎫`, Price: 20, UserID: "u1",
	}, `{"id":"615c5f2e9b1e8a0012d3a4b5","title":"Tom & Jerry <live> \"été\" 日本 🎫","price":20,"userId":"u1","version":0}`))

	t.Run("TicketUpdated, reserved", wire(events.TicketUpdated{
		ID: ticketID, Title: "concert", Price: 20.5, UserID: "u1", Version: 2, OrderID: "o1",
	}, `{"id":"615c5f2e9b1e8a0012d3a4b5","title":"concert","price":20.5,"userId":"u1","version":2,"orderId":"o1"}`))

	t.Run("TicketUpdated, free", wire(events.TicketUpdated{
		ID: ticketID, Title: "concert", Price: 20.5, UserID: "u1", Version: 3,
	}, `{"id":"615c5f2e9b1e8a0012d3a4b5","title":"concert","price":20.5,"userId":"u1","version":3}`))

	t.Run("OrderCreated", wire(events.OrderCreated{
		ID: "o1", Status: events.OrderStatusCreated, UserID: "u2", ExpiresAt: 1633445280000,
		Ticket: events.OrderCreatedTicket{ID: ticketID, Price: 0.1, Version: 1},
	}, `{"id":"o1","status":"created","userId":"u2","expiresAt":"2021-10-05T14:48:00.000Z","ticket":{"id":"615c5f2e9b1e8a0012d3a4b5","price":0.1,"version":1}}`))

	t.Run("OrderCancelled", wire(events.OrderCancelled{
		ID: "o1", Ticket: events.OrderCancelledTicket{ID: ticketID, Version: 2},
	}, `{"id":"o1","ticket":{"id":"615c5f2e9b1e8a0012d3a4b5","version":2}}`))

	t.Run("ExpirationComplete", wire(events.ExpirationComplete{OrderID: "o1"},
		`{"orderId":"o1"}`))

	t.Run("PaymentCreated", wire(events.PaymentCreated{
		ID: "p1", OrderID: "o1", StripeID: "ch_3JhYxK2eZvKYlo2C0",
	}, `{"id":"p1","orderId":"o1","stripeId":"ch_3JhYxK2eZvKYlo2C0"}`))
}

// wire checks that event and payload are the same in both directions.
func wire[E comparable](event E, payload string) func(*testing.T) {
	return func(t *testing.T) {
		if got := encode(t, event); got != payload {
			t.Errorf("encoded:\n got %s\nwant %s", got, payload)
		}
		if got := decode[E](t, payload); got != event {
			t.Errorf("decoded:\n got %+v\nwant %+v", got, event)
		}
	}
}

func TestReadingIsTolerant(t *testing.T) {
	want := events.TicketUpdated{ID: "t1", Title: "concert", Price: 1, UserID: "u1", Version: 4}
	for name, payload := range map[string]string{
		"null order id": `{"id":"t1","title":"concert","price":1,"userId":"u1","version":4,"orderId":null}`,
		"unknown field": `{"id":"t1","title":"concert","price":1,"userId":"u1","version":4,"seat":{"row":1}}`,
		"another order": `{"version":4,"userId":"u1","price":1,"title":"concert","id":"t1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := decode[events.TicketUpdated](t, payload); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestPricesRoundTripWithoutChangingADigit(t *testing.T) {
	// As JSON.stringify writes them.
	for _, price := range []string{
		"0", "20", "20.5", "0.1", "4.35", "-1.5", "0.30000000000000004", "0.3333333333333333",
		"0.000001", "1e-7", "1.23e-18", "5e-324",
		"9007199254740991", "9007199254740992", "123456789012345680000", "999999999999999900000",
		"1e+21", "1e+300", "1.7976931348623157e+308",
	} {
		payload := `{"id":"","title":"","price":` + price + `,"userId":"","version":0}`
		if got := encode(t, decode[events.TicketCreated](t, payload)); got != payload {
			t.Errorf("price %s came out as %s", price, got)
		}
	}
}

func TestAPriceIsReadFromAnyJSONNumber(t *testing.T) {
	for in, want := range map[string]float64{"20.00": 20, "2e1": 20, "1e21": 1e21, "1E-7": 1e-7, "9007199254740993": 9007199254740992} {
		if got := decode[events.TicketCreated](t, `{"price":`+in+`}`).Price; got != want {
			t.Errorf("price %s was read as %v, want %v", in, got, want)
		}
	}
}

func TestWrongTypesAreErrors(t *testing.T) {
	refuse[events.TicketCreated](t, `{"price":"20"}`, `{"price":1e999}`, `{"version":1.5}`, `{"id":7}`, `[]`, `"x"`, `null`, ``)
	refuse[events.OrderCreated](t, `{"ticket":[]}`, `{"status":1}`, `{"expiresAt":1633445280000}`, `{"expiresAt":"tomorrow"}`, `{"expiresAt":""}`)
}

func refuse[E any](t *testing.T, payloads ...string) {
	t.Helper()
	for _, payload := range payloads {
		var e E
		if err := ticketing.JSON.Unmarshal([]byte(payload), &e); err == nil {
			t.Errorf("%q was read as %+v", payload, e)
		}
	}
}

func TestAPriceThatIsNoNumberCannotBeEncoded(t *testing.T) {
	for _, price := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if data, err := ticketing.JSON.Marshal(events.TicketCreated{Price: price}); err == nil {
			t.Errorf("%v was encoded as %s", price, data)
		}
	}
}

func TestEveryEventRoundTrips(t *testing.T) {
	id, text, price, version := rapid.String(), rapid.String(), rapid.Float64(), rapid.Int()
	status := rapid.Map(rapid.String(), func(s string) events.OrderStatus { return events.OrderStatus(s) })

	t.Run("TicketCreated", roundTrips(func(t *rapid.T) events.TicketCreated {
		return events.TicketCreated{
			ID: id.Draw(t, "id"), Title: text.Draw(t, "title"), Price: price.Draw(t, "price"),
			UserID: id.Draw(t, "userId"), Version: version.Draw(t, "version"),
		}
	}))
	t.Run("TicketUpdated", roundTrips(func(t *rapid.T) events.TicketUpdated {
		return events.TicketUpdated{
			ID: id.Draw(t, "id"), Title: text.Draw(t, "title"), Price: price.Draw(t, "price"),
			UserID: id.Draw(t, "userId"), Version: version.Draw(t, "version"), OrderID: id.Draw(t, "orderId"),
		}
	}))
	t.Run("OrderCreated", roundTrips(func(t *rapid.T) events.OrderCreated {
		return events.OrderCreated{
			ID: id.Draw(t, "id"), Status: status.Draw(t, "status"), UserID: id.Draw(t, "userId"),
			ExpiresAt: timestamps.Draw(t, "expiresAt"),
			Ticket: events.OrderCreatedTicket{
				ID: id.Draw(t, "ticket.id"), Price: price.Draw(t, "ticket.price"), Version: version.Draw(t, "ticket.version"),
			},
		}
	}))
	t.Run("OrderCancelled", roundTrips(func(t *rapid.T) events.OrderCancelled {
		return events.OrderCancelled{
			ID:     id.Draw(t, "id"),
			Ticket: events.OrderCancelledTicket{ID: id.Draw(t, "ticket.id"), Version: version.Draw(t, "ticket.version")},
		}
	}))
	t.Run("ExpirationComplete", roundTrips(func(t *rapid.T) events.ExpirationComplete {
		return events.ExpirationComplete{OrderID: id.Draw(t, "orderId")}
	}))
	t.Run("PaymentCreated", roundTrips(func(t *rapid.T) events.PaymentCreated {
		return events.PaymentCreated{
			ID: id.Draw(t, "id"), OrderID: id.Draw(t, "orderId"), StripeID: id.Draw(t, "stripeId"),
		}
	}))
}

// roundTrips checks that an event that was encoded and decoded is the same,
// and encodes to the same bytes.
func roundTrips[E comparable](draw func(*rapid.T) E) func(*testing.T) {
	return rapid.MakeCheck(func(t *rapid.T) {
		event := draw(t)
		payload := encode(t, event)
		back := decode[E](t, payload)
		if back != event {
			t.Fatalf("%+v came back as %+v", event, back)
		}
		if again := encode(t, back); again != payload {
			t.Fatalf("%s came back as %s", payload, again)
		}
	})
}

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func encode(t tb, event any) string {
	t.Helper()
	data, err := ticketing.JSON.Marshal(event)
	if err != nil {
		t.Fatalf("encode %+v: %v", event, err)
	}
	return string(data)
}

func decode[E any](t tb, payload string) E {
	t.Helper()
	var e E
	if err := ticketing.JSON.Unmarshal([]byte(payload), &e); err != nil {
		t.Fatalf("decode %s: %v", payload, err)
	}
	return e
}
