package ticketing

import (
	"context"
	"errors"
	"sync"
)

// Receipt is the pending outcome of a [Publisher.PublishAsync]. Its methods
// may be called concurrently.
type Receipt struct {
	msg     Message // here, so that both take one allocation
	onError func(*Message, error)

	mu       sync.Mutex
	finished bool
	err      error
	done     chan struct{} // made when somebody waits; never pooled: a channel belongs to its synctest bubble
}

// ID returns the event's id.
func (r *Receipt) ID() string { return r.msg.ID }

// Done returns a channel that is closed once the outcome is known, which is
// within the sender's own timeout.
func (r *Receipt) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(chan struct{})
		if r.finished {
			close(r.done)
		}
	}
	return r.done
}

// Err returns the outcome: nil when the broker holds the event, and also while
// the outcome is not known yet ([Receipt.Done]); otherwise a [*PublishError].
func (r *Receipt) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Wait blocks until the outcome is known and returns it, or until ctx ends and
// returns an [ErrUnknown]: the event may still be stored.
func (r *Receipt) Wait(ctx context.Context) error {
	if finished, err := r.outcome(); finished {
		return err // most synchronous senders get here, and need no channel
	}
	select {
	case <-r.Done():
		return r.Err()
	case <-ctx.Done():
		// Both may be the case.
		if finished, err := r.outcome(); finished {
			return err
		}
		return NewPublishError(OutcomeUnknown, &r.msg, context.Cause(ctx))
	}
}

func (r *Receipt) outcome() (finished bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finished, r.err
}

// complete is the sender's completion callback.
func (r *Receipt) complete(err error) {
	err = r.withOutcome(err)
	r.mu.Lock()
	r.finished, r.err = true, err
	if r.done != nil {
		close(r.done)
	}
	r.mu.Unlock()
	if err != nil && r.onError != nil {
		r.onError(&r.msg, err)
	}
}

// withOutcome makes a sender's error one that says what is known.
func (r *Receipt) withOutcome(err error) error {
	if err == nil {
		return nil
	}
	var pe *PublishError
	if errors.As(err, &pe) {
		return err
	}
	return NewPublishError(OutcomeUnknown, &r.msg, err)
}
