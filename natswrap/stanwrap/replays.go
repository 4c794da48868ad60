package stanwrap

import (
	"context"
	"errors"
	"strings"
	"sync"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
)

// replayChannel is where replays for a group are: one channel for all its
// subjects, because servers allow 100 channels by default.
func replayChannel(group string) ticketing.Subject {
	return ticketing.Subject(ticketing.DeadLetterPrefix + "." + group)
}

// replayDurable is the durable name under which the listeners of a group to s
// read its replays. The server refuses colons, and no subject has a slash.
func replayDurable(s ticketing.Subject) string { return strings.ReplaceAll(string(s), ":", "/") }

// receiveAll receives the messages of s and, beside them, the dead letters of
// its group that are replayed. A server that does not make the subscription to
// those keeps nobody from the messages.
func (c *Client) receiveAll(ctx context.Context, s ticketing.Subscription, handle func(context.Context, *ticketing.Inbound)) error {
	if _, _, ok := deadletter.ParseChannel(s.Subject); ok {
		return c.receive(ctx, s, s.Group, func(ctx context.Context, in *ticketing.Inbound) {
			if isLetter(in) {
				handle(ctx, in)
			}
		})
	}
	var turn sync.Mutex // handle gets one message at a time
	oneByOne := func(ctx context.Context, in *ticketing.Inbound) {
		turn.Lock()
		defer turn.Unlock()
		handle(ctx, in)
	}
	ctx, cancel := context.WithCancel(ctx)
	var replays sync.WaitGroup
	defer replays.Wait()
	defer cancel()
	replays.Go(func() {
		of := s
		of.Subject, of.Window = replayChannel(s.Group), 1
		err := c.receive(ctx, of, replayDurable(s.Subject), func(ctx context.Context, in *ticketing.Inbound) {
			if isReplay(in, s.Subject) {
				oneByOne(ctx, in)
			}
		})
		if err != nil && !errors.Is(err, ticketing.ErrClosed) {
			c.log.Warn("replays of dead letters are not received", "subject", s.Subject, "group", s.Group, "error", err)
		}
	})
	return c.receive(ctx, s, s.Group, oneByOne)
}

// isLetter opens a dead letter, and acknowledges what became of one.
func isLetter(in *ticketing.Inbound) bool {
	r, ok := parseRecord(in.Data)
	if ok && r.Kind != recordDead {
		skip(in)
		return false
	}
	if ok {
		r.apply(&in.Message)
	}
	return true
}

// isReplay makes of a replay the event that was published on subject, and
// acknowledges what is for other listeners of the group.
func isReplay(in *ticketing.Inbound, subject ticketing.Subject) bool {
	r, ok := parseRecord(in.Data)
	if !ok || r.Kind != recordReplay || r.Subject != subject {
		skip(in)
		return false
	}
	r.apply(&in.Message)
	in.Subject = subject
	if r.Position > 0 {
		in.Sequence, in.Time = r.Position, r.Published
	}
	return true
}

// skip acknowledges a message that nobody waits for. When that fails it comes
// again, and is skipped again.
func skip(in *ticketing.Inbound) { _ = in.Settle(ticketing.Verdict{Kind: ticketing.Ack}) }
