package stanwrap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/stan.go"
	"github.com/nats-io/stan.go/pb"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func TestSendStoresThePlainPayload(t *testing.T) {
	s := stanserver.Run(t)
	c := connect(t, s.URL(), nil)
	data := `{"id":"1","title":"a <b> & c","price":20.50}`
	send(t, c, data)
	got := make(chan string, 1)
	sub, err := c.Stan().Subscribe(string(subject), func(m *stan.Msg) { got <- string(m.Data) }, stan.DeliverAllAvailable())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if d := <-got; d != data {
		t.Errorf("stored %q, want %q", d, data)
	}
}

// See checkSize: one byte more, and the server closes the connection.
func TestThePayloadLimitIsExact(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	id := strings.Repeat("i", 22)
	most := natsd.MAX_PAYLOAD_SIZE
	for (&pb.PubMsg{ClientID: "client", Guid: id, Subject: string(subject), Data: make([]byte, most), ConnID: []byte(id)}).Size() > natsd.MAX_PAYLOAD_SIZE {
		most--
	}
	in := receive(t, c, subscription())
	send(t, c, strings.Repeat("x", most))
	in.ack(in.next())
	in.stop()

	err := await(t, start(t.Context(), c, message(strings.Repeat("x", most+1))))
	is(t, err, ticketing.ErrRejected, ticketing.ErrInvalidEvent, ticketing.ErrTooLarge)
	for _, want := range []int{most + 1, natsd.MAX_PAYLOAD_SIZE, natsd.MAX_PAYLOAD_SIZE + 1} {
		if !strings.Contains(errText(err), fmt.Sprint(want)) {
			t.Errorf("%q does not tell %d", errText(err), want)
		}
	}
	send(t, c, "after")
}

func TestSendRefusesANilContext(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	var none context.Context
	is(t, await(t, start(none, c, message("{}"))), ticketing.ErrNotSent)
	if err := c.Receive(none, subscription(), nil); err == nil {
		t.Error("Receive takes a nil context")
	}
}

// Without the ctx in send it would wait for the place. The window is full, and
// nothing else is wrong.
func TestAFullWindowBlocksSendWithinItsContext(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) { c.MaxPending = 1 })
	p.BlackHole(netfault.Both)
	first := start(t.Context(), c, message("first"))
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan (<-chan error), 1)
	go func() { second <- start(ctx, c, message("second")) }()
	select {
	case <-second:
		t.Fatal("Send did not wait for a place in the window")
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	is(t, await(t, <-second), ticketing.ErrBusy, context.Canceled)
	p.Heal()
	if err := await(t, first); err != nil {
		t.Errorf("the first = %v, want nil", err)
	}
	send(t, c, "third")
}

func TestSendFailsAtOnceWhileThereIsNoConnection(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) { c.MaxPending = 1; c.AckTimeout = time.Hour })
	p.BlackHole(netfault.Both)
	inFlight := start(t.Context(), c, message("in flight"))
	waiting := make(chan (<-chan error), 1)
	go func() { waiting <- start(t.Context(), c, message("waiting")) }()
	select {
	case <-waiting:
		t.Fatal("Send did not wait for a place in the window")
	case <-time.After(20 * time.Millisecond):
	}
	p.Cut()
	is(t, await(t, <-waiting), ticketing.ErrNotSent, ticketing.ErrNotConnected)
	if c.Healthy() {
		t.Error("a client without a connection is healthy")
	}
	is(t, await(t, start(t.Context(), c, message("later"))), ticketing.ErrNotSent, ticketing.ErrNotConnected)
	is(t, await(t, inFlight), ticketing.ErrUnknown) // and not after an hour
	c.Conn().Close()                                // which ends the session
	is(t, await(t, start(t.Context(), c, message("after"))), ticketing.ErrNotSent, ticketing.ErrNotConnected)
}

func TestSendGoesOnAfterAReconnect(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) { c.AckTimeout = time.Second })
	p.BlackHole(netfault.Both)
	inFlight := start(t.Context(), c, message("in flight"))
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	p.Heal()
	until(t, "reconnected", c.Healthy)
	// Whether the connection had taken it is a matter of luck.
	if err := await(t, inFlight); !errors.Is(err, ticketing.ErrUnknown) && !errors.Is(err, ticketing.ErrNotSent) {
		t.Errorf("the one in flight = %v, want unknown or not sent", err)
	}
	send(t, c, "after")
}

func TestAnOutcomeThatDoesNotComeIsUnknown(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) { c.AckTimeout = 100 * time.Millisecond })
	p.BlackHole(netfault.Both)
	err := await(t, start(t.Context(), c, message("{}")))
	is(t, err, ticketing.ErrUnknown, stan.ErrTimeout)
	p.Heal()
}

// The server's buffers and ours are full: stan.go's call does not return.
func TestAStuckConnectionBoundsTheOutcome(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	const timeout = 400 * time.Millisecond
	c := connect(t, p.URL(), func(c *stanwrap.Config) { c.AckTimeout = timeout; c.MaxPending = 256 })
	p.BlackHole(netfault.Both)
	data := strings.Repeat("x", 256<<10)
	begin := time.Now()
	var outcomes []<-chan error
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		outcomes = append(outcomes, start(ctx, c, message(data)))
		cancel()
	}
	for _, o := range outcomes {
		if err := await(t, o); !errors.Is(err, ticketing.ErrUnknown) && !errors.Is(err, ticketing.ErrNotSent) {
			t.Fatalf("outcome %v, want unknown or not sent", err)
		}
	}
	if d := time.Since(begin); d > patience { // each of them would be stuck for as long as the timeout
		t.Errorf("it took %v, with an ack timeout of %v", d, timeout)
	}
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	p.Heal()
	until(t, "reconnected", c.Healthy)
	send(t, c, "after")
}

func TestTheServersLimitOfChannelsIsNotTheEventsFault(t *testing.T) {
	s := stanserver.Run(t, stanserver.Configure(func(o *stand.Options) { o.MaxChannels = 1 }))
	c := connect(t, s.URL(), nil)
	send(t, c, "one")
	m := message("two")
	m.Subject = "ticket:updated"
	err := await(t, start(t.Context(), c, m))
	is(t, err, ticketing.ErrRejected)
	if errors.Is(err, ticketing.ErrInvalidEvent) {
		t.Errorf("%v is an invalid event", err)
	}
	sub := subscription()
	sub.Subject = m.Subject
	if err := c.Receive(t.Context(), sub, nil); !strings.Contains(errText(err), "limit of channels") {
		t.Errorf("Receive = %v, want the limit of channels", err)
	}
}

// denying runs a server that does not let the user "service" publish to a
// channel.
func denying(t *testing.T, channel ticketing.Subject) *stanserver.Server {
	return stanserver.Run(t, stanserver.ConfigureNATS(func(o *natsd.Options) {
		o.Users = []*natsd.User{
			{Username: "admin", Password: "admin"},
			{Username: "service", Password: "service", Permissions: &natsd.Permissions{
				Publish: &natsd.SubjectPermission{Deny: []string{"_STAN.pub.*." + string(channel)}},
			}},
		}
	}), stanserver.Configure(func(o *stand.Options) { o.Username, o.Password = "admin", "admin" }))
}

// Without denied nothing would tell until the ack timeout.
func TestAPublishThatIsNotPermittedIsRejectedAtOnce(t *testing.T) {
	s := denying(t, "ticket:updated")
	c := connect(t, strings.Replace(s.URL(), "nats://", "nats://service:service@", 1), func(c *stanwrap.Config) { c.AckTimeout = time.Hour })
	m := message("{}")
	m.Subject = "ticket:updated"
	err := await(t, start(t.Context(), c, m))
	is(t, err, ticketing.ErrRejected, ticketing.ErrPermission)
	if errors.Is(err, ticketing.ErrInvalidEvent) {
		t.Errorf("%v is an invalid event", err)
	}
	send(t, c, "{}")
}

// stan.go counts what was denied as under way until its own timeout. With
// little more than our window in MaxPubAcksInflight its call blocks for ever.
func TestDeniedPublishesDoNotUseUpWhatStanGoAllows(t *testing.T) {
	s := denying(t, "ticket:updated")
	c := connect(t, strings.Replace(s.URL(), "nats://", "nats://service:service@", 1), func(c *stanwrap.Config) {
		c.AckTimeout, c.MaxPending = time.Hour, 1
	})
	for range 5 {
		m := message("{}")
		m.Subject = "ticket:updated"
		is(t, await(t, start(t.Context(), c, m)), ticketing.ErrRejected, ticketing.ErrPermission)
	}
	send(t, c, "{}")
}

func TestAChannelInAnotherCaseIsRejected(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	send(t, c, "one")
	m := message("two")
	m.Subject = "Ticket:Created"
	is(t, await(t, start(t.Context(), c, m)), ticketing.ErrRejected)
}

// See the state in finish.
func TestEveryPublishIsCompletedOnceWhateverEndsItsSession(t *testing.T) {
	endings := map[string]func(*testing.T, *stanserver.Server, *stanwrap.Client){
		"closed": func(t *testing.T, _ *stanserver.Server, c *stanwrap.Client) {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"cut short": func(t *testing.T, _ *stanserver.Server, c *stanwrap.Client) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			is(t, c.Close(ctx), context.Canceled)
		},
		"stan.go closed": func(_ *testing.T, _ *stanserver.Server, c *stanwrap.Client) { c.Stan().Close() },
		"NATS closed":    func(_ *testing.T, _ *stanserver.Server, c *stanwrap.Client) { c.Conn().Close() },
		"session lost":   func(t *testing.T, s *stanserver.Server, _ *stanwrap.Client) { forget(t, s, "client") },
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			s := stanserver.Run(t)
			c := connect(t, s.URL(), func(c *stanwrap.Config) { c.MaxPending = 16; c.AckTimeout = time.Second })
			const publishers, each = 8, 500
			var started, completed, stored atomic.Int64
			half := make(chan struct{})
			var wg sync.WaitGroup
			for range publishers {
				wg.Go(func() {
					for range each {
						var once atomic.Bool
						c.Send(t.Context(), message("{}"), func(err error) {
							if !once.CompareAndSwap(false, true) {
								t.Error("completed twice")
							}
							completed.Add(1)
							if err == nil {
								stored.Add(1)
							}
						})
						if started.Add(1) == publishers*each/2 {
							close(half)
						}
					}
				})
			}
			<-half
			end(t, s, c)
			wg.Wait()
			until(t, "everything is completed", func() bool { return completed.Load() == publishers*each })
			t.Logf("%d of %d stored", stored.Load(), publishers*each)
			if stored.Load() == 0 {
				t.Error("nothing was stored before the end")
			}
		})
	}
}

func TestSendWaitsForAConnectionWhereItIsToldTo(t *testing.T) {
	p := netfault.Run(t, stanserver.Run(t).URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) { c.WaitForConnection = true })
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	ctx, cancel := context.WithCancelCause(t.Context())
	given := errors.New("given up")
	cancelled := make(chan (<-chan error), 1)
	go func() { cancelled <- start(ctx, c, message("given up")) }()
	waiting := make(chan (<-chan error), 1)
	go func() { waiting <- start(t.Context(), c, message("patient")) }()
	select {
	case <-cancelled:
		t.Fatal("Send did not wait")
	case <-waiting:
		t.Fatal("Send did not wait")
	case <-time.After(20 * time.Millisecond):
	}
	cancel(given)
	is(t, await(t, <-cancelled), ticketing.ErrNotSent, ticketing.ErrNotConnected, given)
	p.Heal()
	if err := await(t, <-waiting); err != nil {
		t.Errorf("the publish that waited = %v, want nil", err)
	}
	p.Cut()
	until(t, "disconnected", func() bool { return !c.Healthy() })
	go func() { waiting <- start(t.Context(), c, message("too late")) }()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	is(t, await(t, <-waiting), ticketing.ErrNotSent, ticketing.ErrClosed)
}
