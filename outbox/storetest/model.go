package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// testModel does things at random and compares with a model: what was
// committed is published, what was rolled back is not, each key in the order
// of its commits. With a cursor in fetch, without the books of those that wait in
// onInvalid, or with those of the sent in dispatch, it is not.
func testModel(t *testing.T, open func(t *testing.T) Harness) {
	h := open(t)
	others := []outbox.Store{h.Open(t), h.Open(t)}
	iteration := 0
	rapid.Check(t, func(r *rapid.T) {
		iteration++
		m := &model{
			suite:  &suite{T: t, Harness: h},
			r:      r,
			others: others,
			prefix: fmt.Sprintf("m%d-%x-", iteration, rand.Uint32()),
			order:  make(map[string][]string),
			bad:    make(map[string]bool),
		}
		m.b = m.newBroker()
		defer m.endAll()
		r.Repeat(map[string]func(*rapid.T){
			"begin":    m.begin,
			"write":    m.write,
			"commit":   m.commit,
			"rollback": m.rollback,
			"relay":    m.start,
			"look":     m.look,
			"crash":    m.crash,
			"stop":     m.stop,
			"fault":    m.fault,
			"requeue":  m.requeue,
			"discard":  m.discard,
		})
		m.settleAll()
	})
}

type model struct {
	*suite
	r      *rapid.T
	others []outbox.Store // those of the relays
	prefix string
	b      *broker
	n      int

	open   []*openTx
	relays []*modelRelay

	order map[string][]string // key to the ids that were committed, in order
	none  []string            // those without a key
	bad   map[string]bool     // ids that the broker refuses
	mode  atomic.Int32        // how the broker fails
}

type openTx struct {
	tx     Tx
	key    string // the aggregate that it has locked; empty: none
	writes []*ticketing.Message
}

type modelRelay struct {
	cancel  context.CancelFunc
	crashed atomic.Bool
	reads   atomic.Int64
	ended   chan error
}

func (m *model) newBroker() *broker {
	b := &broker{tries: make(map[string]int), flying: make(map[string]string)}
	b.fault = func(msg *ticketing.Message) error {
		if strings.HasPrefix(msg.ID, m.prefix) && strings.HasSuffix(msg.ID, "!") && m.mode.Load() != healed {
			return invalid(msg)
		}
		switch m.mode.Load() {
		case brokerAway:
			return away(msg)
		case brokerFlaky:
			if rand.IntN(3) == 0 {
				return ticketing.NewPublishError(ticketing.OutcomeUnknown, msg, errStored)
			}
		}
		return nil
	}
	return b
}

// How the broker behaves.
const (
	brokerWorks = iota
	brokerAway
	brokerFlaky
	healed // it takes everything
)

const (
	modelKeys  = 3
	modelLease = 100 * time.Millisecond
)

// begin opens a transaction, and locks the aggregate that it will change.
func (m *model) begin(r *rapid.T) {
	most := 3
	if m.OneWriter {
		most = 1
	}
	if len(m.open) == most {
		r.Skip()
	}
	key := ""
	if k := rapid.IntRange(0, modelKeys).Draw(r, "key"); k < modelKeys {
		key = fmt.Sprint(m.prefix, "key", k)
	}
	if key != "" && slices.ContainsFunc(m.open, func(o *openTx) bool { return o.key == key }) {
		r.Skip() // it would wait for the lock
	}
	tx, err := m.Begin(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	if key != "" {
		if err := tx.Lock(context.Background(), key); err != nil {
			r.Fatal(err)
		}
	}
	m.open = append(m.open, &openTx{tx: tx, key: key})
}

func (m *model) pick(r *rapid.T) *openTx {
	if len(m.open) == 0 {
		r.Skip()
	}
	return m.open[rapid.IntRange(0, len(m.open)-1).Draw(r, "tx")]
}

func (m *model) write(r *rapid.T) {
	o := m.pick(r)
	for range rapid.IntRange(1, 20).Draw(r, "events") {
		m.n++
		msg := message(fmt.Sprint(m.prefix, m.n), o.key)
		if rapid.IntRange(0, 29).Draw(r, "bad") == 0 {
			msg.ID += "!"
		}
		if err := send(context.Background(), o.tx.Sender(), msg); err != nil {
			r.Fatal(err)
		}
		o.writes = append(o.writes, msg)
	}
}

func (m *model) end(o *openTx) {
	m.open = slices.DeleteFunc(m.open, func(x *openTx) bool { return x == o })
}

func (m *model) commit(r *rapid.T) {
	o := m.pick(r)
	m.end(o)
	if err := o.tx.Commit(); err != nil {
		r.Fatal(err)
	}
	for _, msg := range o.writes {
		if msg.Key == "" {
			m.none = append(m.none, msg.ID)
		} else {
			m.order[msg.Key] = append(m.order[msg.Key], msg.ID)
		}
	}
}

func (m *model) rollback(r *rapid.T) {
	o := m.pick(r)
	m.end(o)
	if err := o.tx.Rollback(); err != nil {
		r.Fatal(err)
	}
}

func (m *model) start(r *rapid.T) {
	if len(m.relays) == 2 {
		r.Skip()
	}
	m.run()
}

var errCrashed = errors.New("crashed")

func (m *model) run() {
	mr := &modelRelay{ended: make(chan error, 1)}
	h := &hooked{Store: m.others[m.n%2]}
	fail := func() error {
		if mr.crashed.Load() {
			return errCrashed
		}
		return nil
	}
	h.onPending = func(outbox.Query) error { mr.reads.Add(1); return nil }
	h.onSettle = func(context.Context, outbox.Settlement) error { return fail() }
	h.after = func(outbox.Settlement) error { return fail() }
	h.onRenew = func(context.Context) error { return fail() }
	relay := outbox.NewRelay(h, m.b, &outbox.RelayOptions{
		Lease: modelLease, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
		MinPoll: time.Millisecond, MaxPoll: 5 * time.Millisecond,
		Window: 8, MaxRows: 24, DrainTimeout: modelLease, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	mr.cancel = cancel
	go func() { mr.ended <- relay.Run(ctx) }()
	m.relays = append(m.relays, mr)
}

// look gives a relay the time to take in what is there. One may stand by first.
func (m *model) look(r *rapid.T) {
	if m.mode.Load() == brokerAway || m.OneWriter && len(m.open) > 0 {
		r.Skip() // it reads rarely, or cannot get the lease
	}
	if len(m.relays) == 0 {
		m.run()
	}
	reads := func() (n int64) {
		for _, mr := range m.relays {
			n += mr.reads.Load()
		}
		return n
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	before, limit := reads(), time.After(2*modelLease)
	for reads() < before+2 {
		select {
		case <-tick.C:
		case <-limit:
			return
		}
	}
}

func (m *model) crash(r *rapid.T) {
	if len(m.relays) == 0 {
		r.Skip()
	}
	m.relays[0].crashed.Store(true)
	m.stopFirst()
}

func (m *model) stop(r *rapid.T) {
	if len(m.relays) == 0 {
		r.Skip()
	}
	m.stopFirst()
}

func (m *model) stopFirst() {
	mr := m.relays[0]
	m.relays = m.relays[1:]
	mr.cancel()
	if err := <-mr.ended; err != nil {
		m.Error(err)
	}
}

func (m *model) fault(r *rapid.T) {
	m.mode.Store(int32(rapid.IntRange(brokerWorks, brokerFlaky).Draw(r, "mode")))
}

// parkedOnes are the ids of this iteration that are parked.
func (m *model) parkedOnes(r *rapid.T) (ids []string) {
	list, err := m.Store.Parked(context.Background(), 0, 1000)
	if err != nil {
		r.Fatal(err)
	}
	for _, p := range list {
		ids = append(ids, p.Message.ID)
	}
	if len(ids) == 0 {
		r.Skip()
	}
	return ids
}

func (m *model) requeue(r *rapid.T) {
	if m.OneWriter && len(m.open) > 0 {
		r.Skip()
	}
	if _, err := m.Store.Requeue(context.Background(), m.parkedOnes(r)...); err != nil {
		r.Fatal(err)
	}
}

func (m *model) discard(r *rapid.T) {
	if m.OneWriter && len(m.open) > 0 {
		r.Skip()
	}
	id := m.parkedOnes(r)[0]
	n, err := m.Store.Discard(context.Background(), id)
	if err != nil {
		r.Fatal(err)
	}
	if n == 1 {
		m.bad[id] = true
	}
}

// settleAll lets everything come to its end, and compares.
func (m *model) settleAll() {
	for _, o := range m.open {
		_ = o.tx.Rollback()
	}
	m.open = nil
	m.mode.Store(healed)
	if len(m.relays) == 0 {
		m.run()
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(patience); ; <-tick.C {
		list, err := m.Store.Parked(context.Background(), 0, 1000)
		if err != nil {
			m.r.Fatal(err)
		}
		for _, p := range list {
			if _, err := m.Store.Requeue(context.Background(), p.Message.ID); err != nil {
				m.r.Fatal(err)
			}
		}
		st, err := m.Store.Stats(context.Background())
		if err != nil {
			m.r.Fatal(err)
		}
		if st.Pending+st.Parked+st.Waiting == 0 {
			break
		}
		if time.Now().After(limit) {
			m.r.Fatalf("the table is not empty: %+v", st)
		}
	}
	m.endAll()
	discarded := func(id string) bool { return m.bad[id] }
	want := slices.DeleteFunc(slices.Clone(m.none), discarded)
	for key, ids := range m.order {
		ids = slices.DeleteFunc(slices.Clone(ids), discarded)
		want = append(want, ids...)
		if got := m.b.order(key); got != strings.Join(ids, " ") {
			m.r.Fatalf("%s was published in the order\n%s, committed\n%s", key, got, strings.Join(ids, " "))
		}
	}
	slices.Sort(want)
	// A run that failed leaves rows behind for the next one.
	got := slices.DeleteFunc(m.b.ids(), func(id string) bool { return !strings.HasPrefix(id, m.prefix) })
	if !slices.Equal(got, want) {
		m.r.Fatalf("published %v\ncommitted %v", got, want)
	}
}

func (m *model) endAll() {
	for _, o := range m.open {
		_ = o.tx.Rollback()
	}
	m.open = nil
	for len(m.relays) > 0 {
		m.stopFirst()
	}
	m.b.answers.Wait()
	for _, what := range m.b.broken {
		m.r.Error(what)
	}
}
