package brokertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// keyedEvent is one of a numbered series for each key.
type keyedEvent struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (keyedEvent) Subject() ticketing.Subject { return "brokertest:keyed" }
func (e keyedEvent) Key() string              { return e.ID }

// quietly keeps the scripted failures out of the log.
var quietly = slog.New(slog.NewTextHandler(io.Discard, nil))

// listen runs a listener until the subtest's end, or until stop is called. Its
// subject is one of listened.
func listen[E ticketing.Event](s *suite, c Conn, h ticketing.Handler[E], opts *ticketing.ListenerOptions) (stop func()) {
	if subject := (*new(E)).Subject(); !slices.Contains(listened, subject) {
		s.Fatalf("brokertest: Subjects does not tell that there is a listener on %s", subject)
	}
	quiet := *opts
	quiet.Logger = quietly
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- ticketing.NewListener(c, listenerGroup, h, &quiet).Listen(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := s.completion(result); err != nil { // Fatal in a OnceFunc is a panic
			s.Errorf("Listen = %v, want nil", err)
		}
	})
	s.Cleanup(stop)
	return stop
}

// testListenerOrder is the contract under load: 8 handlers at once, a fifth of
// the attempts fail, and each key's events come in order, none missing.
func testListenerOrder(s *suite) {
	const keys, each, handlers = 50, 20, 8
	c := s.connect()
	var mu sync.Mutex
	next := make(map[string]int, keys)
	running := make(map[string]bool, handlers)
	left := keys * each
	done := make(chan struct{})
	handler := func(_ context.Context, d *ticketing.Delivery[keyedEvent]) error {
		e := d.Event
		mu.Lock()
		if running[e.ID] {
			s.Errorf("two handlers of key %s at once", e.ID)
		}
		running[e.ID] = true
		fails := rand.IntN(5) == 0
		mu.Unlock()
		if rand.IntN(4) == 0 {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // what the handler does
		}
		mu.Lock()
		defer mu.Unlock()
		running[e.ID] = false
		if fails {
			return errors.New("scripted failure")
		}
		if e.N != next[e.ID] {
			s.Errorf("key %s: event %d came where %d was due", e.ID, e.N, next[e.ID])
		}
		next[e.ID] = e.N + 1
		if left--; left == 0 {
			close(done)
		}
		return nil
	}
	stop := listen(s, c, handler, &ticketing.ListenerOptions{
		Concurrency: handlers,
		MaxAttempts: 1000,
		MinBackoff:  time.Millisecond,
		MaxBackoff:  5 * time.Millisecond,
		AckWait:     time.Second,
	})
	var events []string
	for n := range each {
		for key := range keys {
			events = append(events, fmt.Sprintf(`{"id":"key-%d","n":%d}`, key, n))
		}
	}
	s.feedMeanwhile(c, keyedEvent{}.Subject(), events...)
	select {
	case <-done:
	case <-time.After(3 * s.Patience):
		mu.Lock()
		s.Errorf("%d of %d events are missing", left, keys*each)
		mu.Unlock()
	}
	stop()
}

// backoffEvent is one whose key decides whether it can be handled.
type backoffEvent struct {
	ID string `json:"id"`
}

func (backoffEvent) Subject() ticketing.Subject { return "brokertest:backoff" }
func (e backoffEvent) Key() string              { return e.ID }

// testListenerBackoff has one handler, and more events of a key that fails than
// its window begins with.
func testListenerBackoff(s *suite) {
	c := s.connect()
	handled := make(chan struct{})
	stop := listen(s, c, func(_ context.Context, d *ticketing.Delivery[backoffEvent]) error {
		if d.Event.ID == "bad" {
			return errors.New("scripted failure")
		}
		close(handled)
		return nil
	}, &ticketing.ListenerOptions{MinBackoff: time.Hour})
	s.feedMeanwhile(c, backoffEvent{}.Subject(), append(slices.Repeat([]string{`{"id":"bad"}`}, 20), `{"id":"good"}`)...)
	select {
	case <-handled:
	case <-time.After(s.Patience):
		s.Error("the event of the good key was not handled")
	}
	stop()
}

// versionedEvent is a change of something that has a version.
type versionedEvent struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

func (versionedEvent) Subject() ticketing.Subject { return "brokertest:versioned" }
func (e versionedEvent) Key() string              { return e.ID }

// testListenerVersions publishes the versions of several keys in a random
// order, to two members where the broker has groups. A tenth of the attempts
// fail, half of them when the version was applied.
func testListenerVersions(s *suite) {
	const keys, versions = 8, 12
	var mu sync.Mutex
	stored := make(map[string]int, keys)
	left := keys * versions
	done := make(chan struct{})
	handler := func(_ context.Context, d *ticketing.Delivery[versionedEvent]) error {
		mu.Lock()
		defer mu.Unlock()
		fails := rand.IntN(20)
		if fails == 0 {
			return errors.New("scripted failure")
		}
		if err := ticketing.NextVersion(stored[d.Event.ID], d.Event.Version); err != nil {
			return err
		}
		stored[d.Event.ID] = d.Event.Version
		if left--; left == 0 {
			close(done)
		}
		if fails == 1 {
			return errors.New("scripted failure after the effect")
		}
		return nil
	}
	opts := ticketing.ListenerOptions{
		Concurrency:  4,
		MaxAttempts:  1000,
		MinBackoff:   time.Millisecond,
		MaxBackoff:   20 * time.Millisecond,
		Window:       keys * versions,
		OnDeadLetter: func(d ticketing.DeadLetter) { s.Errorf("dead letter: %v", d.Err) },
	}
	c := s.connect()
	stops := []func(){listen(s, c, handler, &opts)}
	if s.has.Groups {
		stops = append(stops, listen(s, s.connect(), handler, &opts))
	}
	var events []string
	for _, i := range rand.Perm(keys * versions) {
		events = append(events, fmt.Sprintf(`{"id":"key-%d","version":%d}`, i%keys, 1+i/keys))
	}
	s.feedMeanwhile(c, versionedEvent{}.Subject(), events...)
	select {
	case <-done:
	case <-time.After(3 * s.Patience):
		mu.Lock()
		s.Errorf("%d of %d versions were not applied: %v", left, keys*versions, stored)
		mu.Unlock()
	}
	for _, stop := range stops {
		stop()
	}
}

// poisonEvent is one that no handler can handle.
type poisonEvent struct {
	ID string `json:"id"`
}

func (poisonEvent) Subject() ticketing.Subject { return "brokertest:poison" }

func testListenerDeadLetters(s *suite) {
	c := s.connect()
	letters := make(chan ticketing.DeadLetter, 1)
	stop := listen(s, c, func(context.Context, *ticketing.Delivery[poisonEvent]) error {
		return ticketing.Permanent(errors.New("poison"))
	}, &ticketing.ListenerOptions{OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d }})
	s.feed(c, poisonEvent{}.Subject(), `{"id":"p"}`)
	var letter ticketing.DeadLetter
	select {
	case letter = <-letters:
	case <-time.After(s.Patience):
		s.Fatal("OnDeadLetter was not called")
	}
	if letter.Attempts != 1 || letter.Err == nil {
		s.Errorf("dead letter after %d attempts because of %v, want 1 and an error", letter.Attempts, letter.Err)
	}
	sub := s.subscription()
	sub.Subject, sub.Group = letter.Subject, "undertaker"
	in := s.receive(c, sub)
	m := in.want(`{"id":"p"}`)
	in.ack(m)
	if s.has.Headers {
		if m.ID != letter.Inbound.ID {
			s.Errorf("the dead letter has id %q, the event %q", m.ID, letter.Inbound.ID)
		}
		if got := m.Header[ticketing.HeaderDeadReason]; len(got) != 1 || got[0] != "permanent: poison" {
			s.Errorf("reason %q, want the handler's error", got)
		}
	}
	in.stop()
	stop()
}

// strictEvent has a payload that garbage does not fit.
type strictEvent struct {
	N int `json:"n"`
}

func (strictEvent) Subject() ticketing.Subject { return "brokertest:strict" }

// testListenerGarbage feeds what cannot be decoded at full speed: each has to be
// put away at its first delivery.
func testListenerGarbage(s *suite) {
	c := s.connect()
	letters := make(chan ticketing.DeadLetter, 1000)
	handled := make(chan int, 10)
	stop := listen(s, c, func(_ context.Context, d *ticketing.Delivery[strictEvent]) error {
		handled <- d.Event.N
		return nil
	}, &ticketing.ListenerOptions{OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d }})
	garbage := slices.Repeat([]string{`{"n":`, `not json`, `{"n":"text"}`, `{"n":1} {"n":2}`, `null`}, 40)
	s.feed(c, strictEvent{}.Subject(), garbage...)
	s.feed(c, strictEvent{}.Subject(), `{"n":7,"unknown":true}`)
	for range garbage {
		select {
		case d := <-letters:
			if d.Attempts != 0 || d.Err == nil {
				s.Errorf("%s: %d attempts, error %v; want none and the reason", d.Inbound.Data, d.Attempts, d.Err)
			}
			if d.Inbound.Attempt != 1 {
				s.Errorf("%s was put away at delivery %d, want the first", d.Inbound.Data, d.Inbound.Attempt)
			}
		case <-time.After(s.Patience):
			s.Fatal("garbage has not become a dead letter")
		}
	}
	select {
	case n := <-handled:
		if n != 7 {
			s.Errorf("handled %d, want 7", n)
		}
	case <-time.After(s.Patience):
		s.Fatal("the good event behind the garbage was not handled")
	}
	stop()
}

// unseenEvent is one that was delivered before a listener gets it.
type unseenEvent struct {
	ID string `json:"id"`
}

func (unseenEvent) Subject() ticketing.Subject { return "brokertest:unseen" }

// testListenerUnseen is a backlog whose processes ended before they came to it.
func testListenerUnseen(s *suite) {
	const attempts = 2
	c := s.connect()
	sub := s.subscription()
	sub.Subject = unseenEvent{}.Subject()
	in := s.receive(c, sub)
	s.feed(c, sub.Subject, `{"id":"u"}`)
	for range attempts {
		in.settle(in.want(`{"id":"u"}`), ticketing.Verdict{Kind: ticketing.Retry})
	}
	in.stop()

	letters := make(chan ticketing.DeadLetter, 1)
	tried := 0
	stop := listen(s, c, func(context.Context, *ticketing.Delivery[unseenEvent]) error {
		tried++
		return errors.New("scripted failure")
	}, &ticketing.ListenerOptions{
		MaxAttempts:  attempts,
		MinBackoff:   time.Millisecond,
		AckWait:      sub.AckWait,
		OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d },
	})
	select {
	case letter := <-letters:
		if tried != attempts || letter.Attempts != attempts {
			s.Errorf("dead after %d attempts, and says %d, want %d", tried, letter.Attempts, attempts)
		}
		if letter.Inbound.Attempt < 2 {
			s.Errorf("delivery %d, want one of several", letter.Inbound.Attempt)
		}
	case <-time.After(s.Patience):
		s.Error("there is no dead letter")
	}
	stop()
}
