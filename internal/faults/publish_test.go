package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

// Without reasonToWait in ticketing an outage of some tries makes a dead letter
// of every event whose handler publishes; without ErrNotConnected in the errors
// of a Send that waited for the connection, where it is asked to wait.
func TestAHandlerWhosePublishFindsNoBrokerUsesNoAttempts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *broker) {
		for name, waits := range map[string]bool{"fail at once": false, "wait for the connection": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := netfault.Run(t, b.url)
				c := connect(t, withID(b.config(b.url), "in"+t.Name()))
				cfg := withID(b.config(p.URL()), "out"+t.Name())
				cfg.WaitForConnection = waits
				away := connect(t, cfg)
				p.Cut()
				until(t, "the client notices", func() bool { return !away.Healthy() })

				tries := 0
				handled := make(chan int, 10)
				out := ticketing.NewPublisher[events.TicketUpdated](away, nil)
				l := ticketing.NewListener(c, strings.ReplaceAll(name, " ", "-"), func(ctx context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
					timeout := 100 * time.Millisecond
					if tries++; tries > 5 {
						p.Heal()
						for tick := time.Tick(5 * time.Millisecond); !away.Healthy(); {
							select {
							case <-tick:
							case <-ctx.Done():
								return context.Cause(ctx)
							}
						}
						timeout = patience
					}
					ctx, cancel := context.WithTimeout(ctx, timeout)
					defer cancel()
					if err := out.Publish(ctx, events.TicketUpdated{ID: d.Event.ID}); err != nil {
						return err
					}
					handled <- d.Attempt
					return nil
				}, &ticketing.ListenerOptions{
					MaxAttempts:    2,
					MinBackoff:     5 * time.Millisecond,
					MaxBackoff:     50 * time.Millisecond,
					HandlerTimeout: 2 * patience,
					Logger:         quiet,
					OnDeadLetter:   func(d ticketing.DeadLetter) { t.Errorf("dead letter: %v", d.Err) },
				})
				ctx, stop := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- l.Listen(ctx) }()
				defer func() {
					stop()
					if err := await(t, "Listen", ended); err != nil {
						t.Error(err)
					}
				}()
				publish(t, c, "1", "")
				if attempt := await(t, "the handler", handled); attempt != 1 {
					t.Errorf("handled at attempt %d, want 1", attempt)
				}
			})
		}
	})
}
