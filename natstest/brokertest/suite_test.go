package brokertest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// hang takes longer than anything waits for, of a bubble's time.
func hang() {
	time.Sleep(time.Hour) // what hangs
}

// failing are subtests that fail, and what they have to say.
var failing = map[string]struct {
	run   func(*suite)
	feed  func(testing.TB, Conn, *ticketing.Message)
	hangs bool // something is left at the end, which has to be before the bubble's
	want  []string
}{
	"a publish that is not completed": {
		run: func(s *suite) {
			s.feedMeanwhile(s.connect(), s.subject, "first", "second")
			s.others.Wait()
		},
		want: []string{`publish "first": no completion within 1m0s`},
	},
	"a feeder that reports when the test has failed": {
		run: func(s *suite) {
			s.feedMeanwhile(s.connect(), s.subject, "first", "second")
			synctest.Wait() // for Feed
			s.Fatal("the reason")
		},
		feed: func(t testing.TB, _ Conn, m *ticketing.Message) {
			<-t.Context().Done()
			time.Sleep(time.Second) // of the bubble's, so that it is late
			t.Errorf("%s comes late", m.Data)
		},
		want: []string{"the reason", "first comes late"},
	},
	"a feeder that does not return": {
		run: func(s *suite) {
			s.feedMeanwhile(s.connect(), s.subject, "first")
			synctest.Wait() // for Feed
			s.Fatal("the reason")
		},
		feed:  func(testing.TB, Conn, *ticketing.Message) { hang() },
		hangs: true,
		want:  []string{"the reason", "does not return within 1m0s of the end"},
	},
	"a listener that does not return": {
		run: func(s *suite) {
			listen(s, deaf{}, never[keyedEvent], &ticketing.ListenerOptions{})()
		},
		hangs: true,
		want:  []string{"Listen = no completion within 1m0s"},
	},
	"a listener that Subjects does not tell of": {
		run: func(s *suite) {
			listen(s, deaf{}, never[untoldEvent], &ticketing.ListenerOptions{})
		},
		hangs: true,
		want:  []string{"Subjects does not tell that there is a listener on brokertest:untold"},
	},
}

// deaf does not hear that its Receive is to end.
type deaf struct{ Conn }

func (deaf) CheckSubject(context.Context, ticketing.Subject) error { return nil }

func (deaf) Receive(context.Context, ticketing.Subscription, func(context.Context, *ticketing.Inbound)) error {
	hang()
	return nil
}

type untoldEvent struct{}

func (untoldEvent) Subject() ticketing.Subject { return "brokertest:untold" }

// never is a handler that is not called.
func never[E ticketing.Event](context.Context, *ticketing.Delivery[E]) error { return nil }

const failingVar = "BROKERTEST_FAILING"

// TestFails runs the one of failing that it is told to.
func TestFails(t *testing.T) {
	f, ok := failing[os.Getenv(failingVar)]
	if !ok {
		t.Skip("only for TestWhatGoesWrongBesideATestIsReportedAndHidesNothing")
	}
	synctest.Test(t, func(t *testing.T) {
		if f.hangs {
			t.Cleanup(hang) // it began later than what it waits for
		}
		f.run(newBubbleSuite(t, new(bare), f.feed, ticketing.Capabilities{}))
	})
}

func TestWhatGoesWrongBesideATestIsReportedAndHidesNothing(t *testing.T) {
	for name, f := range failing {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestFails$")
			cmd.Env = append(os.Environ(), failingVar+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("it passed")
			}
			for _, want := range f.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output does not say %q", want)
				}
			}
			for _, unwanted := range []string{"panic", "second"} {
				if strings.Contains(string(out), unwanted) {
					t.Errorf("the output says %q", unwanted)
				}
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
