package brokertest

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// outcomeEvent is one that says what its handler does.
type outcomeEvent struct {
	Does string `json:"does"`
}

func (outcomeEvent) Subject() ticketing.Subject { return "brokertest:outcome" }

// The bounds of the listener whose handler does all this.
const (
	outcomeAttempts = 3
	outcomeTimeout  = 2 * time.Second
	outcomePause    = 200 * time.Millisecond
)

var errOutcome = errors.New("scripted failure")

// outcomes are what a handler can do. It is called as often as it says here; then
// the event is acknowledged, or a dead letter that was tried as often.
var outcomes = map[string]struct {
	handle func(ctx context.Context, call int) error
	calls  int
	dead   bool
}{
	"succeeds":                   {func(context.Context, int) error { return nil }, 1, false},
	"fails":                      {func(context.Context, int) error { return errOutcome }, outcomeAttempts, true},
	"fails before the last time": {onlyBefore(outcomeAttempts, errOutcome), outcomeAttempts, false},
	"fails for good":             {func(context.Context, int) error { return ticketing.Permanent(errOutcome) }, 1, true},
	"panics":                     {func(context.Context, int) error { panic("scripted") }, outcomeAttempts, true},
	"panics with nil":            {func(context.Context, int) error { panic(nil) }, outcomeAttempts, true},
	"ends its goroutine":         {func(context.Context, int) error { runtime.Goexit(); return nil }, outcomeAttempts, true},
	"asks for a pause":           {onlyBefore(2, ticketing.RetryAfter(outcomePause, errOutcome)), 2, false},
	"has done it before":         {func(context.Context, int) error { return ticketing.ErrApplied }, 1, false},
	"says that no error is fatal": {
		func(context.Context, int) error { return ticketing.Permanent(nil) }, 1, false,
	},
	"takes too long once": {func(ctx context.Context, call int) error {
		if call > 1 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}, 2, false},
	"waits more often than it may fail": {onlyBefore(3*outcomeAttempts, ticketing.Wait(errOutcome)), 3 * outcomeAttempts, false},
}

// onlyBefore is a handler that returns err before the nth call.
func onlyBefore(n int, err error) func(context.Context, int) error {
	return func(_ context.Context, call int) error {
		if call < n {
			return err
		}
		return nil
	}
}

// testListenerOutcomes has a handler do whatever handlers do.
func testListenerOutcomes(s *suite) {
	var mu sync.Mutex
	calls := make(map[string]int)
	dead := make(map[string]int) // their attempts
	var paused time.Time
	left := len(outcomes)
	done := make(chan struct{})
	over := func() {
		if left--; left == 0 {
			close(done)
		}
	}
	c := s.connect()
	stop := listen(s, c, func(ctx context.Context, d *ticketing.Delivery[outcomeEvent]) error {
		mu.Lock()
		calls[d.Event.Does]++
		call := calls[d.Event.Does]
		mu.Unlock()
		err := outcomes[d.Event.Does].handle(ctx, call)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case d.Event.Does == "asks for a pause" && call == 1:
			paused = time.Now()
		case d.Event.Does == "asks for a pause":
			if pause := time.Since(paused); pause < outcomePause {
				s.Errorf("the pause was %v, want %v", pause, outcomePause)
			}
		}
		if err == nil || errors.Is(err, ticketing.ErrApplied) {
			over()
		}
		return err
	}, &ticketing.ListenerOptions{
		Concurrency:    4,
		MaxAttempts:    outcomeAttempts,
		MinBackoff:     time.Millisecond,
		MaxBackoff:     5 * time.Millisecond,
		MaxWait:        -1,
		HandlerTimeout: outcomeTimeout,
		OnDeadLetter: func(d ticketing.DeadLetter) {
			var e outcomeEvent
			if err := ticketing.JSON.Unmarshal(d.Inbound.Data, &e); err != nil {
				s.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			dead[e.Does] = d.Attempts
			over()
		},
	})
	var events []string
	for does := range outcomes {
		events = append(events, `{"does":"`+does+`"}`)
	}
	s.feedMeanwhile(c, outcomeEvent{}.Subject(), events...)
	select {
	case <-done:
	case <-time.After(s.Patience):
		s.Error("not everything was settled")
	}
	stop()

	wantCalls, wantDead := make(map[string]int), make(map[string]int)
	for does, o := range outcomes {
		wantCalls[does] = o.calls
		if o.dead {
			wantDead[does] = o.calls
		}
	}
	if !maps.Equal(calls, wantCalls) {
		s.Errorf("calls\n%v, want\n%v", calls, wantCalls)
	}
	if !maps.Equal(dead, wantDead) {
		s.Errorf("dead letters and their attempts\n%v, want\n%v", dead, wantDead)
	}
}

// waitingEvent is one whose time does not come.
type waitingEvent struct{}

func (waitingEvent) Subject() ticketing.Subject { return "brokertest:waiting" }

func testListenerMaxWait(s *suite) {
	const bound = 100 * time.Millisecond
	c := s.connect()
	var start time.Time
	letters := make(chan ticketing.DeadLetter, 1)
	stop := listen(s, c, func(context.Context, *ticketing.Delivery[waitingEvent]) error {
		if start.IsZero() {
			start = time.Now()
		}
		return ticketing.Wait(errOutcome)
	}, &ticketing.ListenerOptions{
		MaxAttempts:  1,
		MinBackoff:   time.Millisecond,
		MaxWait:      bound,
		OnDeadLetter: func(d ticketing.DeadLetter) { letters <- d },
	})
	s.feed(c, waitingEvent{}.Subject(), `{}`)
	select {
	case d := <-letters:
		if waited := time.Since(start); waited < bound || !errors.Is(d.Err, errOutcome) {
			s.Errorf("dead after %v because of %v, want %v and why it waited", waited, d.Err, bound)
		}
	case <-time.After(s.Patience):
		s.Error("it waits longer than it may")
	}
	stop()
}
