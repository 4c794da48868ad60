package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ducnguyen96/ticketing-common"
)

// broker is a broker for the suite: it answers from another goroutine, keeps
// what it stored in order, and watches that no more than one event of a key is
// in flight.
type broker struct {
	// fault decides about an event: nil stores it. It may be set before the
	// broker is used, or by setFault.
	fault func(m *ticketing.Message) error
	// hold, while not nil, keeps the answers back until it is closed, which
	// release does.
	hold    chan struct{}
	release func()

	mu       sync.Mutex
	stored   []*ticketing.Message // every copy
	tries    map[string]int
	flying   map[string]string // key to id
	inFlight int
	most     int
	epoch    int64    // the latest of which a relay has sent
	broken   []string // what must not happen
	answers  sync.WaitGroup
}

func (s *suite) broker() *broker {
	b := &broker{tries: make(map[string]int), flying: make(map[string]string)}
	s.Cleanup(func() {
		if b.release != nil {
			b.release() // the test has failed before it did
		}
		b.answers.Wait()
		for _, what := range b.broken {
			s.Error(what)
		}
	})
	return b
}

func (b *broker) setFault(f func(m *ticketing.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

// setHold keeps answers back from now on; the result lets them go.
func (b *broker) setHold() (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hold := make(chan struct{})
	b.hold = hold
	b.release = sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.hold = nil
		close(hold)
	})
	return b.release
}

// goOn answers what is sent from now on. What was kept back stays so.
func (b *broker) goOn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold = nil
}

// Send implements [ticketing.Sender].
func (b *broker) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	b.send(ctx, "", 0, m, done)
}

// connection is a sender to the same broker for the relay of a store. What two
// relays have in flight, of which one is dead, is no fault. What one sends when
// another has taken over, and begun, is one.
func (b *broker) connection(name string, h *hooked) ticketing.Sender { return connection{b, name, h} }

type connection struct {
	b     *broker
	name  string
	store *hooked
}

func (c connection) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	c.b.send(ctx, c.name, c.store.lease.Load().Epoch, m, done)
}

func (b *broker) send(ctx context.Context, from string, epoch int64, m *ticketing.Message, done func(error)) {
	if ctx.Err() != nil {
		done(ticketing.NewPublishError(ticketing.OutcomeNotSent, m, context.Cause(ctx)))
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries[m.ID]++
	b.inFlight++
	b.most = max(b.most, b.inFlight)
	lane := from + "/" + m.Key
	if other, flying := b.flying[lane]; flying && m.Key != "" {
		b.broken = append(b.broken, fmt.Sprintf("%s was sent while %s with the same key was in flight", m.ID, other))
	}
	b.flying[lane] = m.ID
	if epoch < b.epoch {
		b.broken = append(b.broken, fmt.Sprintf("%s was sent in epoch %d, when epoch %d had begun", m.ID, epoch, b.epoch))
	}
	b.epoch = max(b.epoch, epoch)
	var err error
	if b.fault != nil {
		err = b.fault(m)
	}
	if err == nil || errors.Is(err, errStored) {
		b.stored = append(b.stored, m)
	}
	hold := b.hold
	b.answers.Go(func() {
		if hold != nil {
			<-hold
		}
		b.mu.Lock()
		b.inFlight--
		delete(b.flying, lane)
		b.mu.Unlock()
		done(err)
	})
}

// Why a broker of the suite does not take an event.
var (
	errAway   = errors.New("the broker is away")
	errStored = errors.New("the acknowledgement got lost")
)

func away(m *ticketing.Message) error {
	return ticketing.NewPublishError(ticketing.OutcomeNotSent, m, fmt.Errorf("%w: %w", ticketing.ErrNotConnected, errAway))
}

func invalid(m *ticketing.Message) error {
	return ticketing.NewPublishError(ticketing.OutcomeRejected, m, fmt.Errorf("%w: %w", ticketing.ErrInvalidEvent, ticketing.ErrTooLarge))
}

// messages returns what was stored, the first copy of each.
func (b *broker) messages() []*ticketing.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[string]bool)
	var list []*ticketing.Message
	for _, m := range b.stored {
		if !seen[m.ID] {
			seen[m.ID] = true
			list = append(list, m)
		}
	}
	return list
}

func (b *broker) count() int { return len(b.messages()) }

// copies is how often an event was stored.
func (b *broker) copies(id string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.stored {
		if m.ID == id {
			n++
		}
	}
	return n
}

func (b *broker) tried(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries[id]
}

// orders is the ids of each key's events, as they were stored first.
func (b *broker) orders() map[string]string {
	orders := make(map[string][]string)
	for _, m := range b.messages() {
		orders[m.Key] = append(orders[m.Key], m.ID)
	}
	joined := make(map[string]string)
	for key, ids := range orders {
		joined[key] = strings.Join(ids, " ")
	}
	return joined
}

func (b *broker) order(key string) string { return b.orders()[key] }

func (b *broker) ids() []string {
	var list []string
	for _, m := range b.messages() {
		list = append(list, m.ID)
	}
	slices.Sort(list)
	return list
}
