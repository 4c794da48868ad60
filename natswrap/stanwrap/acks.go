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
//
// They remember what is done, because the server may deliver it again: when an
// acknowledgement was lost, crosses a redelivery, or could not be sent.
type acks struct {
	mu     sync.Mutex
	queue  []*delivery
	unsent map[identity]*stan.Msg // done, and the server could not be told
	sent   []identity             // done, and the server was told lately
	oldest int                    // in sent, once that is full
	most   int                    // of sent
	wake   chan struct{}
	quit   chan struct{}
}

// identity tells a message from one that has the same sequence after a memory
// store was restarted.
type identity struct {
	sequence  uint64
	timestamp int64
}

func identityOf(m *stan.Msg) identity { return identity{m.Sequence, m.Timestamp} }

// newAcks remembers as many messages as the window has places: the server
// delivers no more than that again, because it does not send more at a time.
func newAcks(window int) *acks {
	return &acks{
		unsent: make(map[identity]*stan.Msg),
		most:   window,
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

// run writes each in the queue, remembers how that went, and releases it,
// until stop.
func (a *acks) run(write func(*stan.Msg) bool, release func(*delivery)) {
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
			d.acked = write(d.msg.Load())
		}
		a.remember(batch)
		for _, d := range batch {
			release(d)
		}
		clear(batch)
	}
}

func (a *acks) stop() { close(a.quit) }

func (a *acks) remember(batch []*delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range batch {
		m := d.msg.Load()
		switch {
		case !d.acked:
			a.unsent[d.key] = m
			continue
		case len(a.sent) < a.most:
			a.sent = append(a.sent, d.key)
		default:
			a.sent[a.oldest] = d.key
			a.oldest = (a.oldest + 1) % a.most
		}
		if m.Redelivered {
			delete(a.unsent, d.key)
		}
	}
}

// keep remembers a message that is done although the server does not know.
func (a *acks) keep(m *stan.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsent[identityOf(m)] = m
}

// done reports whether m is remembered: then it only has to be acknowledged
// again.
func (a *acks) done(m *stan.Msg) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := identityOf(m)
	return a.unsent[key] != nil || slices.Contains(a.sent, key)
}

func (a *acks) allUnsent() []*stan.Msg {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.unsent))
}
