package brokertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

func testPublishIsStored(s *suite) {
	c := s.connect()
	m := s.message(`{"stored":true}`)
	if err := s.send(c, m); err != nil {
		s.Fatal(err)
	}
	if !s.has.Fetch {
		return
	}
	in := s.receive(c, s.subscription())
	got := in.want(`{"stored":true}`)
	in.ack(got)
	if got.Subject != s.subject || got.Attempt != 1 || got.Sequence == 0 || got.ID == "" {
		s.Errorf("subject %q, attempt %d, sequence %d, id %q; want the subject, attempt 1, a sequence and an id",
			got.Subject, got.Attempt, got.Sequence, got.ID)
	}
	if d := got.Time.Sub(m.Time); d < -s.Patience || d > s.Patience {
		s.Errorf("stored at %v, sent at %v", got.Time, m.Time)
	}
	in.stop()
}

func testPublishOrder(s *suite) {
	c := s.connect()
	data := numbered(500)
	results := make([]<-chan error, len(data))
	for i, d := range data {
		results[i] = s.sendAsync(s.Context(), c, s.message(d))
	}
	for i, r := range results {
		if err := s.await(r); err != nil {
			s.Fatalf("publish %d: %v", i, err)
		}
	}
	in := s.receive(c, s.subscription())
	last := uint64(0)
	for _, d := range data {
		m := in.want(d)
		if m.Sequence <= last {
			s.Fatalf("sequence %d after %d", m.Sequence, last)
		}
		last = m.Sequence
		in.ack(m)
	}
	in.stop()
}

func testConcurrentPublishers(s *suite) {
	const publishers, each = 64, 20
	c := s.connect()
	results := make([][]<-chan error, publishers)
	messages := make([][]*ticketing.Message, publishers)
	for p := range publishers {
		for i := range each {
			messages[p] = append(messages[p], s.message(fmt.Sprintf("%d %d", p, i)))
		}
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for _, m := range messages[p] {
				results[p] = append(results[p], s.sendAsync(s.Context(), c, m))
			}
		})
	}
	wg.Wait()
	for _, rs := range results {
		for _, r := range rs {
			if err := s.await(r); err != nil {
				s.Fatal(err)
			}
		}
	}
	in := s.receive(c, s.subscription())
	next := make([]int, publishers)
	for range publishers * each {
		m := in.next()
		var p, i int
		if _, err := fmt.Sscanf(string(m.Data), "%d %d", &p, &i); err != nil {
			s.Fatalf("message %q: %v", m.Data, err)
		}
		if i != next[p] {
			s.Fatalf("publisher %d: message %d came where %d was due", p, i, next[p])
		}
		next[p]++
		in.ack(m)
	}
	in.stop()
}

func testHeaders(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	m := s.message("{}")
	m.Header = map[string][]string{"Traceparent": {"00-abc-def-01"}, "X-Many": {"one", "two: 2"}}
	if s.Feed != nil {
		s.Feed(s.T, c, m)
	} else if err := s.send(c, m); err != nil {
		s.Fatal(err)
	}
	got := in.want("{}")
	in.ack(got)
	if got.ID != m.ID {
		s.Errorf("id %q, want %q", got.ID, m.ID)
	}
	if !reflect.DeepEqual(got.Header, m.Header) {
		s.Errorf("header %v, want %v", got.Header, m.Header)
	}
	in.stop()
}

func testDedupe(s *suite) {
	c := s.connect()
	for _, id := range []string{"same", "same", "other"} {
		m := s.message(id)
		m.DedupeID = "dedupe/" + id
		if err := s.send(c, m); err != nil {
			s.Fatal(err)
		}
	}
	in := s.receive(c, s.subscription())
	in.ack(in.want("same"))
	if !s.has.Dedupe {
		in.ack(in.want("same")) // as declared: the broker does not tell
	}
	in.ack(in.want("other"))
	in.stop()
}

func testInvalidSubjects(s *suite) {
	c := s.connect()
	for _, subject := range []ticketing.Subject{"", "a b", "a.*", ">", "a..b", "$JS.API", "_INBOX.x", "a\r\nPUB b 0"} {
		err := s.send(c, s.messageTo(subject, "{}"))
		if !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrInvalidEvent) || !errors.Is(err, ticketing.ErrInvalidSubject) {
			s.Errorf("publish to %q = %v, want it rejected as an invalid subject", subject, err)
		}
		if err := c.CheckSubject(s.Context(), subject); !errors.Is(err, ticketing.ErrInvalidSubject) {
			s.Errorf("CheckSubject(%q) = %v, want an invalid subject", subject, err)
		}
	}
	if err := c.CheckSubject(s.Context(), s.subject); err != nil {
		s.Errorf("CheckSubject(%q) = %v, want nil", s.subject, err)
	}
}

func testInvalidHeaders(s *suite) {
	c := s.connect()
	for name, value := range map[string]string{"": "v", "a b": "v", "a:b": "v", "a\r\nb": "v", "ok": "x\r\nInjected: y", "nul": "\x00", "Nats-Msg-Id": "v"} {
		m := s.message("{}")
		m.Header = map[string][]string{name: {value}}
		if err := s.send(c, m); !errors.Is(err, ticketing.ErrRejected) || !errors.Is(err, ticketing.ErrInvalidEvent) {
			s.Errorf("publish with header %q: %q = %v, want it rejected as an invalid event", name, value, err)
		}
	}
	for _, id := range []string{"", "a\r\nb", " a"} {
		m := s.message("{}")
		m.ID = id
		if err := s.send(c, m); !errors.Is(err, ticketing.ErrInvalidEvent) {
			s.Errorf("publish with id %q = %v, want it rejected as an invalid event", id, err)
		}
	}
}

func testSendAfterContextEnded(s *suite) {
	c := s.connect()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	err := s.await(s.sendAsync(ctx, c, s.message("{}")))
	if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, context.Canceled) {
		s.Errorf("publish = %v, want not sent because of the context", err)
	}
}

func testLargePayload(s *suite) {
	c := s.connect()
	in := s.receive(c, s.subscription())
	data := `{"pad":"` + strings.Repeat("x", 512<<10) + `"}`
	s.feed(c, s.subject, data)
	in.ack(in.want(data))
	in.stop()
}

func testTooLarge(s *suite) {
	if s.MaxPayload == 0 {
		s.Skip("not tested: the harness tells no MaxPayload")
	}
	c := s.connect()
	size := s.MaxPayload + 1
	err := s.send(c, s.message(strings.Repeat("x", size)))
	for _, want := range []error{ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge} {
		if !errors.Is(err, want) {
			s.Errorf("publish of %d bytes = %v, want %v", size, err, want)
		}
	}
	if text := fmt.Sprint(err); !strings.Contains(text, fmt.Sprint(s.MaxPayload)) {
		s.Errorf("%q does not tell the limit of %d bytes", text, s.MaxPayload)
	}
	if err := s.send(c, s.message("{}")); err != nil {
		s.Errorf("a publish after the rejected one: %v", err)
	}
}

func testSendAfterClose(s *suite) {
	c := s.connect()
	closeConn(s.T, c, s.Patience)
	err := s.send(c, s.message("{}"))
	if !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrClosed) {
		s.Errorf("publish after Close = %v, want not sent because it is closed", err)
	}
}
