package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

func TestMain(m *testing.M) {
	process.Dispatch(roles)
	leaktest.Main(m)
}

func TestTheScheduleIsTheSeeds(t *testing.T) {
	for _, total := range []time.Duration{0, time.Second, shortRun, 10 * time.Minute} {
		for _, lose := range []bool{false, true} {
			steps := plan(42, total, 3, lose)
			if again := plan(42, total, 3, lose); !slices.Equal(steps, again) {
				t.Errorf("%v: two schedules of one seed", total)
			}
			if other := plan(43, total, 3, lose); len(steps) > 0 && slices.Equal(steps, other) {
				t.Errorf("%v: one schedule of two seeds", total)
			}
		}
	}
}

func TestTheScheduleLeavesAMajorityAndEndsInTime(t *testing.T) {
	for seed := range uint64(50) {
		for _, total := range []time.Duration{shortRun, 10 * time.Minute} {
			end := make(map[int]time.Duration)
			had := make(map[fault]bool)
			for _, s := range plan(seed, total, 3, false) {
				if s.at < end[s.lane] || s.at+s.lasts > total || s.lasts < least || s.target < 0 || s.target > 2 {
					t.Fatalf("seed %d: step %v at %v after one that ends at %v", seed, s, s.at, end[s.lane])
				}
				end[s.lane] = s.at + s.lasts
				had[s.fault] = true
			}
			for _, f := range serverFaults {
				if !had[f] {
					t.Errorf("seed %d, %v: no %s", seed, total, f)
				}
			}
		}
	}
}

// publish records the entries of one publisher.
func publish(l *ledger, outcomes ...error) {
	p := l.addPublisher()
	for _, err := range outcomes {
		e := l.begin(p)
		if !errors.Is(err, errPending) {
			l.finish(e, err, false)
		}
	}
}

var errPending = errors.New("for ever")

func TestTheCheckFindsWhatIsWrong(t *testing.T) {
	entries := func(ns ...int) (es []Entry) {
		for _, n := range ns {
			es = append(es, Entry{N: n})
		}
		return es
	}
	for _, tt := range []struct {
		name      string
		published []error
		stored    []Entry
		handled   []Entry
		stan      bool
		want      string // what is not zero
	}{
		{name: "nothing"},
		{
			name:      "all is well",
			published: []error{nil, ticketing.ErrUnknown, ticketing.ErrUnknown, ticketing.ErrNotSent, ticketing.ErrBusy, nil},
			stored:    entries(0, 1, 5),
			handled:   entries(0, 1, 5, 0, 5),
		},
		{"lost", []error{nil, nil}, entries(0), entries(0), false, "acknowledged and not stored"},
		{"not sent and stored", []error{ticketing.ErrNotSent}, entries(0), entries(0), false, "failed as not stored, and stored"},
		{"twice", []error{nil, nil}, entries(0, 1, 0), entries(0, 1), false, "stored twice"},
		{"twice on NATS Streaming", []error{nil, nil}, entries(0, 1, 0), entries(0, 1), true, ""},
		{"not published", []error{nil}, entries(0, 1), entries(0, 1), false, "stored and never published"},
		{"not delivered", []error{nil, nil}, entries(0, 1), entries(1), false, "not delivered to group alone"},
		{"rejected", []error{ticketing.ErrRejected}, nil, nil, false, "rejected"},
		{"no outcome", []error{errPending}, nil, nil, false, "publishes without an outcome"},
		{"out of order", []error{nil, nil, nil, nil, nil}, entries(0, 1, 2, 3, 4), entries(4, 1, 2, 3, 0), false, "first delivered out of order to group alone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			l.addMember("alone")
			publish(l, tt.published...)
			for _, e := range tt.handled {
				l.handle("alone", e, uint64(e.N)+1, 1)
			}
			r := check(l, tt.stored, !tt.stan)
			for _, c := range r.zero {
				if failed := c.n > 0 && !c.any; failed != (c.what == tt.want) {
					t.Errorf("%d %s %q", c.n, c.what, c.examples)
				}
			}
			if r.good() != (tt.want == "") {
				t.Errorf("good: %t", r.good())
			}
			var out strings.Builder
			r.print(&out)
			if strings.Contains(out.String(), "FAILED") != (tt.want != "") {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
}

func TestARedeliveryMayComeLate(t *testing.T) {
	l := newLedger()
	l.addMember("alone")
	publish(l, nil, nil, nil, nil, nil)
	l.handle("alone", Entry{N: 4}, 2, 1)
	l.handle("alone", Entry{N: 0}, 1, 2)
	if g := l.groups["alone"]; g.reordered != 1 || g.reorderedAtFirst != 0 {
		t.Errorf("%d reordered, %d at the first delivery", g.reordered, g.reorderedAtFirst)
	}
}

func TestALateOutcomeAndAnEndedListenerAreFound(t *testing.T) {
	l := newLedger()
	e := Entry{Publisher: l.addPublisher()}
	l.finish(l.begin(e.Publisher), nil, true)
	l.listenEnded(errors.New("no more"))
	r := check(l, []Entry{e}, true)
	var found []string
	for _, c := range r.zero {
		if c.n > 0 {
			found = append(found, c.what)
		}
	}
	if want := []string{"publishes past their deadline", "listeners that gave up"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

func TestWhatIsLeftBehindIsFound(t *testing.T) {
	before := measure()
	r := new(report)
	r.compare(before, measureAgain(before))
	if !r.good() {
		t.Errorf("nothing is left, and the report is %+v", r.zero)
	}
	r = new(report)
	r.compare(usage{goroutines: 5}, usage{goroutines: 6})
	if r.good() {
		t.Error("a goroutine is not found")
	}
	r = new(report)
	r.compare(usage{}, usage{heap: maxRetained + 1<<20})
	if r.good() {
		t.Error("memory is not found")
	}
}

func TestTheCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // of the error
		ok   func(settings) bool
	}{
		{"", "", func(s settings) bool { return s.lasts == 10*time.Minute && s.seed != 0 && s.backend == "jetstream" }},
		{"-short -backend stan -seed 7", "", func(s settings) bool { return s.lasts == shortRun && s.seed == 7 && s.backend == "stan" }},
		{"-backend kafka", "-backend", nil},
		{"-rate 0", "-rate", nil},
		{"-for -1s", "-for", nil},
		{"more", "more", nil},
	} {
		s, err := parse(strings.Fields(tt.args))
		if tt.want == "" && (err != nil || !tt.ok(s)) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: %+v, %v", tt.args, s, err)
		}
	}
	if _, err := parse([]string{"-none"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("an unknown flag: %v", err)
	}
}

func TestAShortRunIsGood(t *testing.T) {
	for _, backend := range []string{"jetstream", "stan"} {
		t.Run(backend, func(t *testing.T) {
			s, err := parse(strings.Fields("-for 1s -v -seed 1 -backend " + backend))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out strings.Builder
			if err := run(ctx, s, &out); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			if !strings.Contains(out.String(), fmt.Sprint("seed ", s.seed)) {
				t.Errorf("the seed is not in\n%s", out.String())
			}
		})
	}
}
