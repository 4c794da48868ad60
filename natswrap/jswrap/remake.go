package jswrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// position is what a receiver knows of its group's place in the stream, for a
// consumer that has to be made again. receiver.mu guards it.
type position struct {
	stream   time.Time // when the stream was made, zero where the account may not ask
	consumer time.Time // when the consumer was

	// All up to seen was delivered, to this process or another. From doubt on
	// something may have got lost on its way, until that is delivered again.
	seen       uint64
	doubt      uint64
	doubtUntil time.Time

	// top is the highest sequence that came here. A consumer delivers for the
	// first time in order, so what is not above top is a repetition.
	top     uint64
	settled settled
	// away is what was handed back, and may not have come again yet.
	away map[uint64]time.Time
}

// follow notes what the server says of the consumer.
func (p *position) follow(info *jetstream.ConsumerInfo) {
	if !info.Created.Equal(p.consumer) {
		p.consumer, p.seen = info.Created, 0
	}
	p.seen = max(p.seen, info.Delivered.Stream)
}

// distrust notes that something which info tells of may have got lost.
func (p *position) distrust(info *jetstream.ConsumerInfo, now time.Time) {
	if info.NumAckPending > 0 {
		p.doubt = info.AckFloor.Stream + 1
		p.doubtUntil = now.Add(2 * info.Config.AckWait)
	}
}

// isNew reports whether d surely is no repetition, and notes it.
func (p *position) isNew(d delivery) bool {
	if d.delivered > 1 || d.sequence <= p.top {
		return false
	}
	p.top = d.sequence
	p.seen = max(p.seen, d.sequence)
	return true
}

// reached notes a sign of life, which tells how far the group is.
func (p *position) reached(sequence uint64, now time.Time) {
	if now.After(p.doubtUntil) {
		p.seen = max(p.seen, sequence)
	}
}

// handedBack notes a message that comes again after a delay.
func (p *position) handedBack(sequence uint64, until time.Time) {
	if p.away == nil {
		p.away = make(map[uint64]time.Time)
	}
	if len(p.away) < maxSettled {
		p.away[sequence] = until
	}
}

// prune forgets what must have come again, to whomever.
func (p *position) prune(now time.Time) {
	for sequence, until := range p.away {
		if now.After(until) {
			delete(p.away, sequence)
		}
	}
}

// unsettled returns the lowest sequence that this process answers for, or
// false when there is none. The lock is held.
func (r *receiver) unsettled() (lowest uint64, ok bool) {
	note := func(sequence uint64) {
		if !ok || sequence < lowest {
			lowest, ok = sequence, true
		}
	}
	r.held.Each(func(sequence uint64, _ *item) { note(sequence) })
	for sequence := range r.at.away {
		note(sequence)
	}
	return lowest, ok
}

// start is where a consumer that is made again has to begin. The lock is held.
func (r *receiver) start(now time.Time) uint64 {
	start := r.at.seen + 1
	if now.Before(r.at.doubtUntil) {
		start = min(start, r.at.doubt)
	}
	if lowest, ok := r.unsettled(); ok {
		start = min(start, lowest)
	}
	return max(start, 1)
}

// check makes sure of the consumer: one that is gone is made again. Where its
// stream is gone, or that is not possible, the receiver fails.
func (r *receiver) check(ctx context.Context) error {
	info, err := r.c.consumerInfo(ctx, r.stream, r.consumer)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return r.confirmStream(ctx)
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return r.remake(ctx, "consumer was deleted and is made again")
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		r.fail(pushConsumer(r.stream, r.consumer))
		return nil
	case err != nil:
		return err
	}
	r.mu.Lock()
	ours := info.Created.Equal(r.at.consumer)
	r.mu.Unlock()
	if !ours {
		return r.adopt(ctx, info)
	}
	if info, err = r.repair(ctx, info); info != nil {
		r.follow(info, true)
	}
	return err
}

// repair undoes what somebody changed at the consumer, as at the start, but for
// the ack wait: the last member to start sets it for all. Where that is not
// possible the receiver fails, and repair returns nothing; an error is for
// another try.
func (r *receiver) repair(ctx context.Context, info *jetstream.ConsumerInfo) (*jetstream.ConsumerInfo, error) {
	want := consumerConfig(r.sub)
	want.AckWait = info.Config.AckWait
	info, err := r.c.repairConsumer(ctx, r.stream, info, want)
	var bad unfitError
	var api *jetstream.APIError
	switch {
	case err == nil:
		return info, nil
	case errors.Is(err, jetstream.ErrConsumerDoesNotExist), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, err
	case errors.As(err, &bad):
		r.fail(err)
		return nil, nil
	case errors.Is(err, ticketing.ErrPermission), errors.As(err, &api) && !transient(err):
		r.fail(fmt.Errorf("consumer %s of stream %s was changed and cannot be changed back: %w", r.consumer, r.stream, err))
		return nil, nil
	}
	return nil, err
}

// follow notes what the server says of the consumer, if it is the one that is
// known. lost says that messages may have got lost on their way.
func (r *receiver) follow(info *jetstream.ConsumerInfo, lost bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !info.Created.Equal(r.at.consumer) {
		return false
	}
	r.at.follow(info)
	r.ackWait = info.Config.AckWait
	if lost {
		r.at.distrust(info, time.Now())
	}
	return true
}

// use goes on with another consumer.
func (r *receiver) use(info *jetstream.ConsumerInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.follow(info)
	r.ackWait = info.Config.AckWait
	r.bonus = r.held.Len() // all that comes again, and has its place
}

// adopt goes on with a consumer that somebody else made. One that starts above
// what this process holds would lose it, if the process died: it is replaced
// by one that does not. Starts only go down that way, so the members of a
// group agree in the end.
func (r *receiver) adopt(ctx context.Context, info *jetstream.ConsumerInfo) error {
	if err := r.confirmStream(ctx); err != nil || r.life.Err() != nil {
		return err
	}
	info, err := r.repair(ctx, info)
	if info == nil {
		return err
	}
	r.mu.Lock()
	lowest, holds := r.unsettled()
	r.mu.Unlock()
	if !holds || info.Config.OptStartSeq <= lowest {
		r.use(info)
		return nil
	}
	if r.c.cfg.VerifyOnly {
		r.fail(fmt.Errorf("consumer %s of stream %s was made again by another member, above message %d, which is held here; and the configuration says to change nothing", r.consumer, r.stream, lowest))
		return nil
	}
	if err := r.c.deleteConsumer(ctx, r.stream, r.consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return r.unable(err)
	}
	return r.remake(ctx, "consumer starts above what is held and is made again")
}

// remakePause is how long a consumer that was deleted is left alone: the server
// says that it is gone before it has removed its files, and would take those of
// a new one with them. The others of the group notice meanwhile.
const remakePause = 250 * time.Millisecond

// remake makes the consumer again.
func (r *receiver) remake(ctx context.Context, why string) error {
	if r.c.cfg.VerifyOnly {
		r.fail(fmt.Errorf("consumer %s of stream %s was deleted, and the configuration says to create nothing", r.consumer, r.stream))
		return nil
	}
	if err := r.confirmStream(ctx); err != nil || r.life.Err() != nil {
		return err
	}
	if err := sleep(ctx, jitter(remakePause)); err != nil {
		return err
	}
	r.mu.Lock()
	start := r.start(time.Now())
	r.mu.Unlock()
	info, err := r.c.createConsumer(ctx, r.stream, startingAt(consumerConfig(r.sub), start))
	if err != nil {
		return r.unable(err) // another member may have been faster: look again
	}
	r.log.Warn(why, "stream", r.stream, "consumer", r.consumer, "start", start)
	r.use(info)
	return nil
}

// unable fails the receiver when err says that the account may not do what is
// needed, and otherwise returns err, to try again.
func (r *receiver) unable(err error) error {
	if errors.Is(err, ticketing.ErrPermission) {
		r.fail(fmt.Errorf("consumer %s of stream %s was deleted and cannot be made again: %w", r.consumer, r.stream, err))
		return nil
	}
	return err
}

// confirmStream fails the receiver when its stream is gone, or another has its
// name: sequences mean something else there.
func (r *receiver) confirmStream(ctx context.Context) error {
	made, err := r.c.streamMade(ctx, r.stream)
	r.mu.Lock()
	known := r.at.stream
	r.mu.Unlock()
	what := "was deleted and made again"
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		what = "was deleted"
	case err != nil:
		return err
	case made.IsZero() || known.IsZero():
		r.fail(fmt.Errorf("consumer %s of stream %s was deleted, and is not made again, because the account may not ask whether the stream is the same (%sSTREAM.INFO): %w", r.consumer, r.stream, apiPrefix, ticketing.ErrPermission))
		return nil
	case made.Equal(known):
		return nil
	}
	r.c.homes.forget(r.sub.Subject)
	r.fail(fmt.Errorf("%w: stream %s %s while messages were received", ticketing.ErrNoStream, r.stream, what))
	return nil
}

// verify looks whether the consumer is still the one that is known, and has it
// checked if not. It is for a receiver that the server could not tell. lost
// says that the connection was lost.
func (r *receiver) verify(lost bool) {
	ctx, cancel := context.WithTimeout(r.life, verifyTimeout)
	defer cancel()
	info, err := r.c.consumerInfo(ctx, r.stream, r.consumer)
	gone := errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
	switch {
	case gone, err == nil && !r.follow(info, lost):
		r.mu.Lock()
		r.troubled(true, "the consumer was deleted")
		r.mu.Unlock()
	case err == nil && len(mustChange(info.Config)) > 0:
		r.mu.Lock()
		r.troubled(true, "the consumer was changed")
		r.mu.Unlock()
	case err != nil && !errors.Is(err, ticketing.ErrPermission):
		r.mu.Lock()
		r.trouble.verify, r.trouble.lost = true, r.trouble.lost || lost // keep wakes tend for it
		r.mu.Unlock()
	}
}

// verifyTimeout bounds a look: meanwhile nothing else is tended to.
const verifyTimeout = time.Second
