package jswrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/held"
)

// Receive implements [ticketing.Receiver]. It creates the group's durable
// consumer where there is none ([ConsumerName]), and changes settings of an
// existing one that differ: ack wait, delivery and request limits. One whose
// filter, ack policy or deliver policy is another is an error that names the
// fields. Members of one group should agree on the ack wait: the last to
// start sets it for all.
//
// A server that is away is waited for. A subject without a stream is an error
// at once; so is a stream that gets deleted meanwhile, once the server has
// confirmed it, which matches [ticketing.ErrNoStream]; so is a permission that
// is missing.
//
// A consumer that gets deleted meanwhile is made again, and a warning logged.
// It starts at the lowest message that this process holds, or behind the last
// that the group got, and is marked so that the start is no mismatch later.
// What comes again, and was settled here, is not handed over; what is held
// here comes again to the member that asks first. With the consumer goes the
// server's record of what a member that died at the same time held: nobody
// else can know of that. With [Config].VerifyOnly it is an error.
//
// An Ack that the server cannot be told, because the connection is down, is
// kept and sent on reconnect. A redelivery of one of the last 8192 messages
// that were settled is acknowledged and not handed over. A Retry waits for its delay and up to a fifth more. A Drop
// terminates the message, so that the server's advisory tells.
func (c *Client) Receive(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	switch {
	case ctx == nil:
		return errNilContext
	case handle == nil:
		return errors.New("the handle function is nil")
	}
	if err := s.Validate(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	r := newReceiver(ctx, c, s.WithDefaults())
	defer r.end(nil)
	if err := c.receivers.add(r); err != nil {
		return err
	}
	defer c.receivers.remove(r)
	if err := r.run(ctx, handle); err != nil {
		return fmt.Errorf("receive %s as %q: %w", s.Subject, s.Group, err)
	}
	return nil
}

// receiver is one running Receive.
type receiver struct {
	c   *Client
	sub ticketing.Subscription
	log *slog.Logger

	// life is the intake's time: it ends with Receive's ctx, or with what
	// makes it fail, which is then its cause.
	life context.Context
	end  context.CancelCauseFunc

	stream, consumer string
	pullSubject      string
	ackWait          time.Duration

	held  held.Table[uint64, item]
	ready *queue[*item] // to be handed over
	woken chan struct{} // has a token when the intake should be looked at

	telling atomic.Bool // what keepAlive said last is not written yet

	intake    sync.Mutex   // held while the intake is opened or closed
	returning sync.RWMutex // read-held while a message is handed back

	mu       sync.Mutex
	window   window
	asked    int // messages that the server may still send
	count    int // messages held
	parked   int // those among them that wait for another attempt
	open     bool
	stopping bool        // nothing is taken in any more, and
	late     []*returned // what is handed back waits here,
	stopped  bool        // until the server cannot send it here again
	natsSub  *nats.Subscription
	owed     map[uint64]owedAck // acknowledgements that could not be sent
	more     bool               // there may have been more when the last message came
	arrivals uint64             // whatever came, statuses included
	trouble  trouble
	at       position
	bonus    int // messages of those held that are expected again, beside the window
}

func newReceiver(ctx context.Context, c *Client, s ticketing.Subscription) *receiver {
	r := &receiver{
		c:      c,
		sub:    s,
		log:    c.cfg.Logger.With("subject", s.Subject, "group", s.Group),
		ready:  newQueue[*item](),
		woken:  make(chan struct{}, 1),
		window: newWindow(s.Window, s.Concurrency),
	}
	r.life, r.end = context.WithCancelCause(ctx)
	return r
}

// failure is the cause of a receiver's end that its caller did not ask for.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }

// fail ends the receiver because of err, unless it has ended.
func (r *receiver) fail(err error) { r.end(failure{err}) }

// result is what Receive returns: why it failed, or nil when its ctx ended.
func (r *receiver) result() error {
	var f failure
	if errors.As(context.Cause(r.life), &f) {
		return f.err
	}
	return nil
}

// run receives until life ends.
func (r *receiver) run(ctx context.Context, handle func(context.Context, *ticketing.Inbound)) error {
	defer r.c.denials.watch(r.onDenied)()
	if err := r.find(); err != nil {
		r.fail(err)
		return r.result()
	}
	// work is what handlers get: it outlives the intake, at most until drain
	// ends.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	drain, drained := context.WithCancel(context.Background())
	defer drained()
	context.AfterFunc(drain, cancel)
	context.AfterFunc(r.life, func() {
		_ = sleep(drain, r.sub.DrainTimeout)
		drained()
	})
	defer context.AfterFunc(r.c.receivers.patience, drained)()

	kept, stopKeeping := context.WithCancel(context.Background())
	var keeper sync.WaitGroup
	keeper.Go(func() { r.keep(kept) })
	keeper.Go(func() { r.tend(kept) })
	defer keeper.Wait()
	defer stopKeeping()

	r.wake()
	left := r.handOver(work, handle)
	r.stop(drain, left, cancel)
	return r.result()
}

// onDenied hears of subjects that may not be published to: without requests
// nothing comes, and without acknowledgements all of it again and again.
func (r *receiver) onDenied(subject string) {
	r.mu.Lock()
	mine := subject != "" && subject == r.pullSubject ||
		// Newer servers put a domain and an account hash before the stream.
		strings.HasPrefix(subject, ackReplyPrefix) && strings.Contains(subject, "."+r.stream+"."+r.consumer+".")
	r.mu.Unlock()
	if mine {
		r.fail(denied(subject))
	}
}

// find finds the stream and the consumer. It waits for a server that is away.
func (r *receiver) find() error {
	const maxPause = 2 * time.Second
	pause := 50 * time.Millisecond
	for first := true; ; first = false {
		err := r.bind()
		if err == nil || !errors.Is(err, errRace) && !transient(err) || r.life.Err() != nil {
			return err
		}
		if first {
			r.log.Warn("subscription waits for JetStream", "error", err)
		}
		if err := sleep(r.life, jitter(pause)); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

func (r *receiver) bind() error {
	at, known := r.c.homes.get(r.sub.Subject)
	if !known || at.stream == "" {
		var err error
		if at, err = r.c.lookup(r.life, r.sub.Subject); err != nil {
			return err
		}
	}
	made, err := r.c.streamMade(r.life, at.stream)
	var info *jetstream.ConsumerInfo
	if err == nil {
		info, err = r.c.ensureConsumer(r.life, at.stream, consumerConfig(r.sub))
	}
	if known && errors.Is(err, jetstream.ErrStreamNotFound) {
		r.c.homes.forget(r.sub.Subject)
		return r.bind()
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream, r.consumer, r.ackWait = at.stream, info.Config.Durable, info.Config.AckWait
	r.pullSubject = apiPrefix + "CONSUMER.MSG.NEXT." + at.stream + "." + r.consumer
	r.at.stream = made
	r.at.follow(info)
	r.at.distrust(info, time.Now())
	return nil
}

// handOver hands messages over until life ends, and returns those that were
// left.
func (r *receiver) handOver(work context.Context, handle func(context.Context, *ticketing.Inbound)) (left []*item) {
	for {
		select {
		case <-r.ready.wake:
		case <-r.life.Done():
			return nil
		}
		for batch := r.ready.take(); len(batch) > 0; batch = r.ready.take() {
			for i, it := range batch {
				if r.life.Err() != nil {
					return append(left, batch[i:]...)
				}
				handle(work, &it.in)
			}
		}
	}
}

// stop ends the receiver: nothing more comes in, what is held is waited for
// until drain ends, then cancel is called and the rest is handed back. left was
// never handed over.
func (r *receiver) stop(drain context.Context, left []*item, cancel func()) {
	r.closeIntake(drain)
	for _, it := range append(left, r.ready.take()...) {
		if r.held.Take(it.in.Sequence) == it {
			r.giveBackLater(it.in.Sequence, it.reply)
		}
	}
	r.awaitHeld(drain, r.c.receivers.grace)
	r.clearRequests(drain)
	r.lastWords(r.stopWaiting())

	_ = r.held.WaitEmpty(drain) // what is left then is handed back
	cancel()
	var rest []*returned
	for _, it := range r.held.TakeAll() {
		rest = append(rest, &returned{it.in.Sequence, it.reply})
	}
	r.lastWords(rest)
}

// lastWords hands messages back and flushes the acknowledgements.
func (r *receiver) lastWords(list []*returned) {
	if !r.c.state.Connected() {
		return // what is not settled comes again
	}
	ctx, cancel := context.WithTimeout(r.c.receivers.patience, flushTimeout)
	defer cancel()
	r.giveBackInOrder(ctx, list)
	if err := r.c.wire.sync(ctx); err != nil {
		r.log.Warn("the last acknowledgements may not have reached the server", "error", err)
	}
}

// giveBackGrace is how long what was never handed over waits for what was: if
// all goes back, as when a listener has handlers for none of it, it should be
// in order.
const giveBackGrace = 250 * time.Millisecond

// awaitHeld waits until nothing is held, ctx ends, or limit is over.
func (r *receiver) awaitHeld(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_ = r.held.WaitEmpty(ctx)
}
