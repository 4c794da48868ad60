// Package brokertest holds an implementation of the broker contract
// ([ticketing.Sender] and [ticketing.Receiver]) to what is written there.
//
// An adapter's test starts its broker, so that it stores [Subjects], and calls
// [Run]:
//
//	func TestTheBrokerContractHolds(t *testing.T) {
//		server := natsserver.Run(t)
//		brokertest.Run(t, brokertest.Harness{
//			Connect: func(t testing.TB) brokertest.Conn { … },
//		})
//	}
//
// What a broker cannot do it declares ([ticketing.Capabilities]). The suite
// skips those tests by name, so that they show in the output, and where it can
// it tests that the declaration is true.
package brokertest

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// Conn is a connection to the broker under test.
type Conn interface {
	ticketing.Sender
	ticketing.Receiver
	ticketing.SubjectChecker
	ticketing.CapabilityReporter

	// Close stops the intake, waits for what is held and for outstanding
	// publishes, and closes, at the latest when ctx ends.
	Close(ctx context.Context) error
}

// Harness connects the suite to a broker.
type Harness struct {
	// Connect opens another connection to the same broker, as another process
	// would. The suite closes it.
	Connect func(t testing.TB) Conn
	// Crash breaks a connection as the death of its process would: nothing is
	// settled, flushed or closed. Nil: what depends on it is skipped.
	Crash func(c Conn)
	// Feed makes a message come to the receivers of its subject. Nil: it is
	// sent, and waited for. A broker that does not store what is sent (its
	// Capabilities lack Fetch) needs one. Unless they have Durable it is called
	// only when a Receive of the subject is running, or has just been begun, which
	// it has to wait for. It may be called from a goroutine beside the test's, and
	// so reports with Errorf, and returns at the latest when the test's context
	// has ended and the connection is closed.
	Feed func(t testing.TB, c Conn, m *ticketing.Message)
	// MaxPayload is the largest message that the broker takes, in bytes. Zero:
	// the test of larger ones is skipped.
	MaxPayload int
	// Patience bounds every wait for something that has to happen. Default
	// 1 min.
	Patience time.Duration
}

type conformanceTest struct {
	name  string
	needs func(ticketing.Capabilities) string // what is missing, or empty
	run   func(s *suite)
}

var tests = []conformanceTest{
	{"a publish is acknowledged exactly once and stored as it was sent", none, testPublishIsStored},
	{"publishes are stored in the order of the calls", fetch, testPublishOrder},
	{"64 publishers at once lose nothing and keep their order", fetch, testConcurrentPublishers},
	{"headers and ids arrive as they were sent", headers, testHeaders},
	{"one dedupe id is stored once, where that is declared", fetch, testDedupe},
	{"invalid subjects are rejected before they are sent", none, testInvalidSubjects},
	{"an invalid header or id is rejected before it is sent", none, testInvalidHeaders},
	{"an ended context is not sent", none, testSendAfterContextEnded},
	{"a large payload arrives whole", none, testLargePayload},
	{"a payload over the limit is rejected with both sizes", none, testTooLarge},
	{"a send after Close is not sent", none, testSendAfterClose},

	{"an invalid subscription is refused at once", none, testInvalidSubscription},
	{"messages are handed over one at a time and in order", none, testHandOverOrder},
	{"an acknowledged message does not come again", durable, testAck},
	{"a dropped message does not come again", durable, testDrop},
	{"a message handed back comes again, counted", fetch, testRetry},
	{"a delayed hand-back does not come early", handBack, testRetryDelay},
	{"an abandoned message comes again after the ack wait", fetch, testAbandon},
	{"a message is settled once", none, testSettleOnce},
	{"no more than the window is held", none, testWindow},
	{"what is held is not handed over again, however long", fetch, testHeldIsAbsorbed},
	{"what is held is not given to another member", keepAlive, testHeldIsKept},
	{"a crash between hand-over and acknowledgement loses nothing", durable, testCrash},

	{"members of a group share, each message goes to one", groups, testGroupShares},
	{"two members share a backlog with a slow handler", backlog, testBacklogIsShared},
	{"two groups both get every message", groups, testTwoGroups},
	{"one group on two subjects gets each on its own", groups, testOneGroupTwoSubjects},

	{"the position survives a restart of the receiver", durable, testPositionSurvives},
	{"stop waits for what is held", none, testStopDrains},
	{"stop hands back what is not settled in time", none, testStopHandsBack},
	{"an ended context ends Receive at once", none, testReceiveWithEndedContext},
	{"Close ends Receive with an error", none, testCloseEndsReceive},
	{"Close can be called again and at the same time", none, testCloseConcurrently},
	{"nothing is left running", none, testNothingLeaks},

	{"a listener keeps the order per key through failures", none, testListenerOrder},
	{"a listener's key in backoff does not stop the others", none, testListenerBackoff},
	{"a listener applies versions in order, however they come", none, testListenerVersions},
	{"a listener makes of whatever a handler does what it promises", none, testListenerOutcomes},
	{"a listener's event waits without an attempt, and not for ever", none, testListenerMaxWait},
	{"a listener's dead letter is stored before its event is dropped", fetch, testListenerDeadLetters},
	{"a listener puts away what it cannot decode and goes on", none, testListenerGarbage},
	{"deliveries that no handler saw use up none of a listener's attempts", fetch, testListenerUnseen},
}

// listenerGroup is the group of the suite's listeners, listened are their
// subjects.
const listenerGroup = "group"

var listened = []ticketing.Subject{
	keyedEvent{}.Subject(), backoffEvent{}.Subject(), versionedEvent{}.Subject(), poisonEvent{}.Subject(), strictEvent{}.Subject(),
	unseenEvent{}.Subject(), outcomeEvent{}.Subject(), waitingEvent{}.Subject(),
}

// Subjects returns the subjects that the suite publishes to, dead letters
// included. The broker under test has to store them. Those of dead letters begin
// with [ticketing.DeadLetterPrefix] and a dot: an adapter that has a place for
// them anyway may have to be configured without.
func Subjects() []ticketing.Subject {
	var all []ticketing.Subject
	for _, test := range tests {
		s := subjectFor(test.name)
		all = append(all, s, second(s))
	}
	for _, s := range listened {
		all = append(all, s, ticketing.DeadLetterSubject(listenerGroup, s))
	}
	return all
}

func subjectFor(name string) ticketing.Subject {
	return ticketing.Subject("brokertest." + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '-'
	}, name))
}

// second is a test's other subject.
func second(s ticketing.Subject) ticketing.Subject { return s + ":second" }

// Run runs the suite against a broker that has stored nothing yet, a subtest
// for each promise, one after the other.
func Run(t *testing.T, h Harness) {
	if h.Patience == 0 {
		h.Patience = 60 * time.Second
	}
	probe := h.Connect(t)
	has := probe.Capabilities()
	closeConn(t, probe, h.Patience)
	t.Logf("capabilities declared: %+v", has)
	if !has.Fetch && h.Feed == nil {
		t.Fatal("brokertest: a broker without Fetch needs Harness.Feed")
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if missing := test.needs(has); missing != "" {
				t.Skipf("not tested: the broker declares that it has no %s", missing)
			}
			test.run(newSuite(t, h, has, subjectFor(test.name)))
		})
	}
}

func none(ticketing.Capabilities) string        { return "" }
func fetch(c ticketing.Capabilities) string     { return missing(c.Fetch, "Fetch") }
func headers(c ticketing.Capabilities) string   { return missing(c.Headers, "Headers") }
func durable(c ticketing.Capabilities) string   { return missing(c.Durable, "Durable") }
func handBack(c ticketing.Capabilities) string  { return missing(c.HandBack, "HandBack") }
func keepAlive(c ticketing.Capabilities) string { return missing(c.KeepAlive, "KeepAlive") }
func groups(c ticketing.Capabilities) string    { return missing(c.Groups, "Groups") }

// backlog is what a group needs that gets what was there before its first member.
func backlog(c ticketing.Capabilities) string { return cmp.Or(groups(c), durable(c)) }

func missing(has bool, name string) string {
	if has {
		return ""
	}
	return name
}
