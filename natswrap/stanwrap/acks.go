package stanwrap

import (
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/stan.go"

	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// acks are the acknowledgements on their way to the server. One goroutine
// writes them, so that whoever settles a message never waits for the
// connection.
//
// They remember what is done, because the server may deliver it again: when an
// acknowledgement was lost, crosses a redelivery, or could not be sent.
type acks struct {
	mu    sync.Mutex
	queue []*delivery

	unsent map[identity]*stan.Msg // done, and the server could not be told
	refs   ring                   // of unsent
	link   *natsconn.LinkState    // that those in sent were written over
	sent   ring                   // done, and the server was told lately
	before ring                   // the same, over links that are lost
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

// ring remembers the last so many messages.
type ring struct {
	keys   []identity
	oldest int // in keys, once that is full
	most   int
}

// add remembers key, and returns what it forgets instead.
func (r *ring) add(key identity) (forgotten identity) {
	if len(r.keys) < r.most {
		r.keys = append(r.keys, key)
		return identity{}
	}
	forgotten, r.keys[r.oldest] = r.keys[r.oldest], key
	r.oldest = (r.oldest + 1) % r.most
	return forgotten
}

// moveTo adds all that r remembers to another ring, and forgets it.
func (r *ring) moveTo(other *ring) {
	for _, part := range [][]identity{r.keys[r.oldest:], r.keys[:r.oldest]} {
		for _, key := range part {
			other.add(key)
		}
	}
	r.keys, r.oldest = r.keys[:0], 0
}

// newAcks remembers as many messages of each kind as the window has places,
// because the server waits for no more acknowledgements at a time.
//
// What cannot be told during an outage was held when that began. What was told
// and did not arrive was lost with the link, and is among the last that were
// told over it. Until it comes again, after the ack wait, the other places of
// the window see any number of messages come and go: so the next link has a
// ring of its own. After several losses within one ack wait the first may be
// forgotten, and after an outage of a group what the others got: a message
// that is forgotten and comes again is handed over again.
func newAcks(window int) *acks {
	return &acks{
		unsent: make(map[identity]*stan.Msg),
		refs:   ring{most: window},
		sent:   ring{most: window},
		before: ring{most: window},
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
func (a *acks) run(link func() *natsconn.LinkState, write func(*stan.Msg) bool, release func(*delivery)) {
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
		over := link() // or the next one: then they are remembered for longer
		for _, d := range batch {
			d.acked = write(d.msg.Load())
		}
		a.remember(batch, over)
		for _, d := range batch {
			release(d)
		}
		clear(batch)
	}
}

func (a *acks) stop() { close(a.quit) }

func (a *acks) remember(batch []*delivery, link *natsconn.LinkState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if link != a.link {
		a.sent.moveTo(&a.before)
		a.link = link
	}
	for _, d := range batch {
		if !d.acked {
			a.remain(d.msg.Load())
			continue
		}
		a.sent.add(d.key)
		delete(a.unsent, d.key)
	}
}

// keep remembers a message that is done although the server does not know.
func (a *acks) keep(m *stan.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remain(m)
}

// remain is keep with the lock held. An acknowledgement needs no payload.
func (a *acks) remain(m *stan.Msg) {
	key := identityOf(m)
	if a.unsent[key] == nil {
		delete(a.unsent, a.refs.add(key))
	}
	bare := &stan.Msg{Sub: m.Sub}
	bare.Subject, bare.Sequence, bare.Timestamp = m.Subject, m.Sequence, m.Timestamp
	a.unsent[key] = bare
}

// done reports whether m is remembered: then it only has to be acknowledged
// again.
func (a *acks) done(m *stan.Msg) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := identityOf(m)
	return a.unsent[key] != nil || slices.Contains(a.sent.keys, key) || slices.Contains(a.before.keys, key)
}

func (a *acks) allUnsent() []*stan.Msg {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.unsent))
}
