package ticketing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// note is an event with a key.
type note struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

func (n note) Key() string { return n.ID }

// fakeBroker is a Receiver and Sender in memory: what a test feeds is handed
// over, and what becomes of it is written down.
type fakeBroker struct {
	feed     chan *ticketing.Inbound
	verdicts chan ticketing.Verdict // one for each settlement
	sent     chan *ticketing.Message
	late     chan *ticketing.Inbound // handed over during the drain

	mu      sync.Mutex
	held    map[uint64]bool
	idle    chan struct{}
	sendErr func(*ticketing.Message) error
	check   error
	ends    chan error // makes Receive return
	sub     ticketing.Subscription
	subbed  chan struct{}
	seq     uint64
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{
		feed:     make(chan *ticketing.Inbound, 4096),
		verdicts: make(chan ticketing.Verdict, 4096),
		sent:     make(chan *ticketing.Message, 4096),
		held:     map[uint64]bool{},
		late:     make(chan *ticketing.Inbound, 1),
		ends:     make(chan error, 1),
		subbed:   make(chan struct{}),
	}
}

func (b *fakeBroker) Send(ctx context.Context, m *ticketing.Message, done func(error)) {
	b.mu.Lock()
	fail := b.sendErr
	b.mu.Unlock()
	if fail != nil {
		if err := fail(m); err != nil {
			done(err)
			return
		}
	}
	b.sent <- m
	done(nil)
}

func (b *fakeBroker) CheckSubject(context.Context, ticketing.Subject) error { return b.check }

func (b *fakeBroker) deliver(data string) *ticketing.Inbound { return b.deliverAttempt(data, 1) }

func (b *fakeBroker) deliverAttempt(data string, attempt int) *ticketing.Inbound {
	in := b.inbound(data, attempt)
	b.feed <- in
	return in
}

func (b *fakeBroker) inbound(data string, attempt int) *ticketing.Inbound {
	b.mu.Lock()
	b.seq++
	in := &ticketing.Inbound{Sequence: b.seq, Attempt: attempt}
	b.mu.Unlock()
	in.ID = fmt.Sprint("id-", in.Sequence)
	in.Subject = "note:taken"
	in.Data = []byte(data)
	in.Header = map[string][]string{"X-Kept": {"yes"}}
	in.Bind(b)
	return in
}

func (b *fakeBroker) deliverNote(id string, n int) *ticketing.Inbound {
	data, _ := json.Marshal(note{id, n})
	return b.deliver(string(data))
}

func (b *fakeBroker) SettleInbound(in *ticketing.Inbound, v ticketing.Verdict) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held[in.Sequence] {
		return ticketing.ErrSettled
	}
	delete(b.held, in.Sequence)
	if len(b.held) == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
	b.verdicts <- v
	return nil
}

func (b *fakeBroker) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	s = s.WithDefaults()
	b.sub = s
	close(b.subbed)
	hctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var result error
	for open := true; open; {
		select {
		case <-ctx.Done():
			open = false
		case result = <-b.ends:
			open = false
		case in := <-b.feed:
			b.mu.Lock()
			b.held[in.Sequence] = true
			b.mu.Unlock()
			handle(hctx, in)
		}
	}
	b.mu.Lock()
	idle := make(chan struct{})
	if len(b.held) == 0 {
		close(idle)
	} else {
		b.idle = idle
	}
	b.mu.Unlock()
	timeout := time.After(s.DrainTimeout)
	for {
		select {
		case <-idle:
			return result
		case in := <-b.late: // a message that was on its way when intake stopped
			b.mu.Lock()
			b.held[in.Sequence] = true
			b.mu.Unlock()
			handle(hctx, in)
		case <-timeout:
			cancel()
			b.mu.Lock()
			clear(b.held)
			b.mu.Unlock()
			return result
		}
	}
}

// listening is a Listen that runs in a synctest bubble.
type listening struct {
	t      *testing.T
	broker *fakeBroker
	log    *bytes.Buffer
	cancel context.CancelFunc
	result chan error
}

func listen(t *testing.T, h ticketing.Handler[note], opts ticketing.ListenerOptions) *listening {
	t.Helper()
	b := newFakeBroker()
	log := new(bytes.Buffer)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &listening{t: t, broker: b, log: log, cancel: cancel, result: make(chan error, 1)}
	go func() { l.result <- ticketing.NewListener(b, "group", h, &opts).Listen(ctx) }()
	<-b.subbed
	return l
}

// stop ends the Listen, which has to return nil.
func (l *listening) stop() {
	l.t.Helper()
	l.cancel()
	if err := <-l.result; err != nil {
		l.t.Errorf("Listen = %v, want nil", err)
	}
}

// want waits for the next settlement.
func (l *listening) want(kind ticketing.VerdictKind) ticketing.Verdict {
	l.t.Helper()
	v := <-l.broker.verdicts
	if v.Kind != kind {
		l.t.Fatalf("settled with %v (%v), want %v", v.Kind, v.Err, kind)
	}
	return v
}

func (l *listening) wantNone() {
	l.t.Helper()
	synctest.Wait()
	select {
	case v := <-l.broker.verdicts:
		l.t.Fatalf("settled with %v (%v), want no settlement yet", v.Kind, v.Err)
	default:
	}
}

var errScripted = errors.New("scripted failure")
