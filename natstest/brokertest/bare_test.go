package brokertest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// bare is a broker without a memory, in a bubble: it gives what it is fed to one
// member of each group that is there. A publish is never completed.
type bare struct {
	Conn // nil: any other method is a mistake

	mu sync.Mutex
	// The members' inboxes. The first of a group is the next to be given something.
	members map[station][]chan *ticketing.Inbound
}

// station is where a member receives.
type station struct {
	subject ticketing.Subject
	group   string
}

func (b *bare) Close(context.Context) error { return nil }

func (b *bare) Send(context.Context, *ticketing.Message, func(error)) {}

func (b *bare) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	inbox := make(chan *ticketing.Inbound, 1000)
	at := station{s.Subject, s.Group}
	b.mu.Lock()
	if b.members == nil {
		b.members = make(map[station][]chan *ticketing.Inbound)
	}
	b.members[at] = append(b.members[at], inbox)
	b.mu.Unlock()
	for {
		select {
		case in := <-inbox:
			handle(ctx, in)
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *bare) feed(t testing.TB, _ Conn, m *ticketing.Message) {
	synctest.Wait() // for a Receive that has just been begun
	b.mu.Lock()
	defer b.mu.Unlock()
	fed := false
	for at, members := range b.members {
		if at.subject == m.Subject {
			members[0] <- &ticketing.Inbound{Message: *m, Attempt: 1}
			b.members[at] = append(members[1:], members[0])
			fed = true
		}
	}
	if !fed {
		t.Errorf("%s was fed before any Receive", m.Data)
	}
}

// newBubbleSuite makes a subtest's in a bubble, where waiting takes no time. A nil
// feed leaves it to Send.
func newBubbleSuite(t *testing.T, b *bare, feed func(testing.TB, Conn, *ticketing.Message), has ticketing.Capabilities) *suite {
	h := Harness{Connect: func(testing.TB) Conn { return b }, Feed: feed, Patience: time.Minute}
	return newSuite(t, h, has, "brokertest.bubble")
}

func TestABrokerWithoutDurableIsFedOnlyWhatItsReceiversWaitFor(t *testing.T) {
	has := ticketing.Capabilities{Groups: true}
	ran := 0
	for _, test := range tests {
		if test.needs(ticketing.Capabilities{}) != "Groups" || test.needs(has) != "" {
			continue
		}
		ran++
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := new(bare)
				test.run(newBubbleSuite(t, b, b.feed, has))
			})
		})
	}
	if ran < 3 {
		t.Errorf("%d tests of groups, want those that need no memory", ran)
	}
}
