package ticketing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// publishing is a handler that publishes another note about each, through s.
func publishing(s ticketing.Sender) ticketing.Handler[note] {
	p := ticketing.NewPublisher[note](s, nil)
	return func(ctx context.Context, d *ticketing.Delivery[note]) error {
		if err := p.Publish(ctx, d.Event); err != nil {
			return fmt.Errorf("at attempt %d: %w", d.Attempt, err)
		}
		return nil
	}
}

// refusing is a Sender that fails with o for a while.
func refusing(o ticketing.Outcome, err error, d time.Duration) ticketing.SendFunc {
	start := time.Now()
	return func(_ context.Context, m *ticketing.Message) error {
		if time.Since(start) < d {
			return ticketing.NewPublishError(o, m, err)
		}
		return nil
	}
}

func TestAHandlerThatCannotPublishWaitsForTheBrokerHoweverLong(t *testing.T) {
	for name, reason := range map[string]struct {
		outcome ticketing.Outcome
		err     error
	}{
		"not connected":                          {ticketing.OutcomeNotSent, ticketing.ErrNotConnected},
		"waited for the connection for too long": {ticketing.OutcomeNotSent, fmt.Errorf("%w: %w", ticketing.ErrNotConnected, context.DeadlineExceeded)},
		"nobody answers for the stream":          {ticketing.OutcomeNotSent, errScripted},
		"the stream is full":                     {ticketing.OutcomeBusy, errScripted},
		"the window is full":                     {ticketing.OutcomeBusy, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const outage = 24 * time.Hour
				start := time.Now()
				tries, published := 0, []string(nil)
				broken := refusing(reason.outcome, reason.err, outage)
				sender := ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
					tries++
					err := broken(ctx, m)
					if err == nil {
						published = append(published, string(m.Data))
					}
					return err
				})
				l := listen(t, publishing(sender), ticketing.ListenerOptions{MaxAttempts: 1, MaxBackoff: 10 * time.Minute})
				l.broker.deliverNote("a", 1)
				l.broker.deliverNote("a", 2)
				l.want(ticketing.Ack)
				l.want(ticketing.Ack)
				if d := time.Since(start); d < outage || d > outage+13*time.Minute {
					t.Errorf("it took %v, want the outage and one backoff at most", d)
				}
				// Doubled up to 10 min, then each 10 min, within a fifth.
				if most := 20 + int(outage/(8*time.Minute)); tries > most {
					t.Errorf("%d tries, want no more than %d", tries, most)
				}
				if want := []string{`{"id":"a","n":1}`, `{"id":"a","n":2}`}; fmt.Sprint(published) != fmt.Sprint(want) {
					t.Errorf("published %s, want %s", published, want)
				}
				l.stop()
			})
		})
	}
}

func TestAHandlerThatCannotPublishForAnotherReasonHasFailed(t *testing.T) {
	notSent := func(err error) error {
		return ticketing.NewPublishError(ticketing.OutcomeNotSent, new(ticketing.Message), err)
	}
	for name, err := range map[string]error{
		"unknown":                 ticketing.NewPublishError(ticketing.OutcomeUnknown, new(ticketing.Message), ticketing.ErrNotConnected),
		"rejected":                ticketing.NewPublishError(ticketing.OutcomeRejected, new(ticketing.Message), ticketing.ErrNoStream),
		"its own deadline":        notSent(context.DeadlineExceeded),
		"its ctx":                 notSent(context.Canceled),
		"its transaction":         notSent(fmt.Errorf("%w: %w", ticketing.ErrTransaction, errScripted)),
		"marked as permanent":     ticketing.Permanent(notSent(ticketing.ErrNotConnected)),
		"not connected, not NATS": errors.New("not connected"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := listen(t, func(context.Context, *ticketing.Delivery[note]) error { return err }, ticketing.ListenerOptions{MaxAttempts: 2})
				l.broker.deliverNote("a", 1)
				if v := l.want(ticketing.Drop); !errors.Is(v.Err, err) {
					t.Errorf("dead letter because of %v, want %v", v.Err, err)
				}
				l.stop()
			})
		})
	}
}

// An event that waited for the broker has all its time for what it waits for
// then.
func TestTheWaitForTheBrokerDoesNotCountAsAWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		broken := publishing(refusing(ticketing.OutcomeNotSent, ticketing.ErrNotConnected, time.Hour))
		l := listen(t, func(ctx context.Context, d *ticketing.Delivery[note]) error {
			if err := broken(ctx, d); err != nil {
				return err
			}
			return ticketing.Wait(errScripted)
		}, ticketing.ListenerOptions{MaxWait: 10 * time.Minute})
		l.broker.deliverNote("a", 1)
		l.want(ticketing.Drop)
		if d := time.Since(start); d < 70*time.Minute || d > 73*time.Minute {
			t.Errorf("a dead letter after %v, want an hour without the broker and 10 min", d)
		}
		l.stop()
	})
}
