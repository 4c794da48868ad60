package interop_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

func TestNodePackage(t *testing.T) {
	modules := install(t)
	t.Run("every event arrives in both languages from both", func(t *testing.T) {
		testExchange(t, modules)
	})
	t.Run("one language goes on where the other's group was", func(t *testing.T) {
		testTakeOver(t, modules)
	})
	t.Run("members in both languages share a group's events", func(t *testing.T) {
		testSharedGroup(t, modules)
	})
}

// fixtures are the events of fixtures.js.
func fixtures(t *testing.T) []event {
	const id = "615c5f2e9b1e8a0012d3a4b5"
	expiresAt := events.NewTimestamp(time.Date(2021, time.October, 5, 14, 48, 0, 7e6, time.UTC))
	return []event{
		of(t, events.TicketCreated{ID: id, Title: `Tom & Jerry <live> "été" 日本 🎫`, Price: 20, UserID: "u1"}),
		of(t, events.TicketCreated{ID: "t2", Price: 0.30000000000000004, UserID: "u1", Version: 1}),
		of(t, events.TicketUpdated{ID: id, Title: "a\nb\t\\ / \u0001 \u007f", Price: 20.5, UserID: "u1", Version: 1}),
		of(t, events.TicketUpdated{ID: id, Title: "concert", Price: 1e21, UserID: "u1", Version: 2, OrderID: "o1"}),
		of(t, events.OrderCreated{
			ID: "o1", Status: events.OrderStatusCreated, UserID: "u2", ExpiresAt: expiresAt,
			Ticket: events.OrderCreatedTicket{ID: id, Price: 0.1, Version: 1},
		}),
		of(t, events.OrderCreated{
			ID: "o2", Status: events.OrderStatusAwaitingPayment, UserID: "u2", ExpiresAt: expiresAt,
			Ticket: events.OrderCreatedTicket{ID: id, Price: 1e-7, Version: 2},
		}),
		of(t, events.OrderCreated{
			ID: "o3", Status: events.OrderStatusCancelled, UserID: "u2", ExpiresAt: expiresAt,
			Ticket: events.OrderCreatedTicket{ID: id, Price: 1<<53 - 1, Version: 3},
		}),
		of(t, events.OrderCreated{
			ID: "o4", Status: events.OrderStatusComplete, UserID: "u2", ExpiresAt: expiresAt,
			Ticket: events.OrderCreatedTicket{ID: id, Version: 4},
		}),
		of(t, events.OrderCancelled{ID: "o1", Ticket: events.OrderCancelledTicket{ID: id, Version: 2}}),
		of(t, events.ExpirationComplete{OrderID: "o1"}),
		of(t, events.PaymentCreated{ID: "p1", OrderID: "o1", StripeID: "ch_3JhYxK2eZvKYlo2C0"}),
	}
}

// testExchange lets Node publish the fixtures, then Go, with listeners in both
// languages. So each gets what the other wrote, and what its own side wrote.
func testExchange(t *testing.T, modules string) {
	server := stanserver.Run(t)
	client := connect(t, server, "go-service")
	fixtures := fixtures(t)

	inNode := listenInNode(t, modules, server, "node-service", ticketing.Subjects()...)
	inGo := make(map[ticketing.Subject]*listener)
	for _, l := range []*listener{
		listen[events.TicketCreated](t, client, "go-service"),
		listen[events.TicketUpdated](t, client, "go-service"),
		listen[events.OrderCreated](t, client, "go-service"),
		listen[events.OrderCancelled](t, client, "go-service"),
		listen[events.ExpirationComplete](t, client, "go-service"),
		listen[events.PaymentCreated](t, client, "go-service"),
	} {
		inGo[l.subject] = l
	}

	publishFrom := map[string]func(){
		"Node": func() { start(t, modules, "publish.js", server.URL(), server.ClusterID(), "node-publisher").end(t) },
		"Go": func() {
			for _, e := range fixtures {
				e.publish(t, client)
			}
		},
	}
	for _, publisher := range []string{"Node", "Go"} {
		publishFrom[publisher]()
		got := make(map[ticketing.Subject][]string)
		for range fixtures {
			subject, payload := receivedInNode(t, inNode)
			got[subject] = append(got[subject], payload)
		}
		for _, want := range fixtures {
			subject := want.value.Subject()
			if e := inGo[subject].next(t); e != want.value {
				t.Errorf("%s published %+v\nGo received %+v", publisher, want.value, e)
			}
			if len(got[subject]) == 0 {
				t.Fatalf("%s published %s\nNode did not receive it", publisher, want.payload)
			}
			if payload := got[subject][0]; payload != want.payload {
				t.Errorf("%s published %s\nNode received %s", publisher, want.payload, payload)
			}
			got[subject] = got[subject][1:]
		}
	}
	inNode.end(t)
}

// testTakeOver moves a service from Node to Go and back. The group's durable
// position is the same for both, or old events would come again.
func testTakeOver(t *testing.T, modules string) {
	const group = "payments-service"
	server := stanserver.Run(t)
	client := connect(t, server, "go-service")
	ticket := func(version int) event {
		return of(t, events.TicketCreated{ID: "t1", Title: "concert", Price: 20, UserID: "u1", Version: version})
	}
	listenInNode := func(want event) {
		t.Helper()
		p := listenInNode(t, modules, server, group, ticketing.SubjectTicketCreated)
		if _, got := receivedInNode(t, p); got != want.payload {
			t.Errorf("Node received %s\nwant %s", got, want.payload)
		}
		p.end(t)
	}

	ticket(1).publish(t, client)
	listenInNode(ticket(1))

	ticket(2).publish(t, client)
	l := listen[events.TicketCreated](t, client, group)
	if got, want := l.next(t), ticket(2).value; got != want {
		t.Errorf("Go received %+v\nwant %+v", got, want)
	}
	l.stop()

	ticket(3).publish(t, client)
	listenInNode(ticket(3))
}

// testSharedGroup has a member of one group in each language.
func testSharedGroup(t *testing.T, modules string) {
	const group, n = "orders-service", 40
	server := stanserver.Run(t)
	client := connect(t, server, "go-service")
	inNode := listenInNode(t, modules, server, group, ticketing.SubjectExpirationComplete)
	inGo := listen[events.ExpirationComplete](t, client, group)

	want := make([]string, n)
	for i := range want {
		e := of(t, events.ExpirationComplete{OrderID: fmt.Sprintf("o%02d", i)})
		e.publish(t, client)
		want[i] = e.payload
	}
	var got []string
	for timeout := time.After(patience); len(got) < n; {
		select {
		case e := <-inGo.events:
			got = append(got, of(t, e.(events.ExpirationComplete)).payload)
		case text, open := <-inNode.lines:
			if !open {
				inNode.end(t)
				t.Fatal("listen.js ended too early")
			}
			if l, ok := inNode.parse(t, text); ok {
				got = append(got, l.Data)
			}
		case <-timeout:
			t.Fatalf("%d of %d events arrived", len(got), n)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("received %v\nwant each once: %v", got, want)
	}
	inNode.end(t)
}

// listenInNode starts the package's Listener and waits until it has
// subscribed.
func listenInNode(t *testing.T, modules string, s *stanserver.Server, group string, subjects ...ticketing.Subject) *process {
	t.Helper()
	args := []string{s.URL(), s.ClusterID(), "node-listener", group}
	for _, subject := range subjects {
		args = append(args, string(subject))
	}
	p := start(t, modules, "listen.js", args...)
	for range subjects {
		if l := p.next(t); l.State != "subscribed" {
			t.Fatalf("listen.js printed %+v, want that it has subscribed", l)
		}
	}
	return p
}

func receivedInNode(t *testing.T, p *process) (subject ticketing.Subject, payload string) {
	t.Helper()
	l := p.next(t)
	if l.State != "received" {
		t.Fatalf("listen.js printed %+v, want that it has received an event", l)
	}
	return ticketing.Subject(l.Subject), l.Data
}
