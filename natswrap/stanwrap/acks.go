package stanwrap

import (
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/stan.go"
)

// acks are the acknowledgements on their way to the server. One goroutine
// writes them, so that whoever settles a message never waits for the
// connection.
type acks struct {
	mu     sync.Mutex
	queue  []*delivery
	unsent map[uint64]*stan.Msg // done, and the server could not be told
	wake   chan struct{}
	quit   chan struct{}
}

func newAcks() *acks {
	return &acks{
		unsent: make(map[uint64]*stan.Msg),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
	}
}

// add queues d's acknowledgement. It does not block.
func (a *acks) add(d *delivery) {
	a.mu.Lock()
	a.queue = append(a.queue, d)
	first := len(a.queue) == 1
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// run calls write for each in the queue, until stop.
func (a *acks) run(write func(*delivery)) {
	var batch []*delivery
	for {
		select {
		case <-a.wake:
		case <-a.quit:
			return
		}
		a.mu.Lock()
		batch, a.queue = a.queue, batch[:0]
		a.mu.Unlock()
		for _, d := range batch {
			write(d)
		}
		clear(batch)
	}
}

func (a *acks) stop() { close(a.quit) }

// keep remembers a message that is done although the server does not know.
// There are no more of them than the window has places: for the server they
// are unsettled.
func (a *acks) keep(m *stan.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsent[m.Sequence] = m
}

// kept reports whether m is such a message.
func (a *acks) kept(m *stan.Msg) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.unsent[m.Sequence]
	return k != nil && k.Timestamp == m.Timestamp
}

func (a *acks) forget(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.unsent, seq)
}

func (a *acks) allKept() []*stan.Msg {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.unsent))
}
