package stanwrap_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
	"github.com/nats-io/stan.go/pb"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

// quickPings find a lost session within some seconds.
func quickPings(c *stanwrap.Config) { c.PingInterval, c.PingMaxOut = time.Second, 2 }

// forget makes the server forget the client, as its restart with a memory
// store does.
func forget(t *testing.T, s *stanserver.Server, id string) {
	t.Helper()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	request, err := (&pb.CloseRequest{ClientID: id}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("_STAN.close."+stanserver.DefaultClusterID, request, patience); err != nil {
		t.Fatal(err)
	}
}

// healthyAgain waits until c has another session than the one of before.
func healthyAgain(t *testing.T, c *stanwrap.Client, before stan.Conn) {
	t.Helper()
	until(t, "a new session", func() bool { return c.Stan() != before && c.Healthy() })
}

// Without the call of lose in the connection lost handler the client would
// never know.
func TestASessionThatTheServerForgotIsMadeAnewWithItsSubscriptions(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), quickPings)
	before := c.Stan()
	in := receive(t, c, subscription())
	send(t, c, "one")
	held := in.want("one")
	forget(t, s, "client")
	healthyAgain(t, c, before)
	send(t, c, "two")
	in.ack(in.want("two"))
	// The new subscription gets "one" again. It is held, and acknowledged
	// where it came last.
	in.ack(held)
	in.stop()

	rest := receive(t, c, subscription())
	send(t, c, "three")
	rest.ack(rest.want("three"))
	if c.Err() != nil {
		t.Errorf("Err = %v, want nil", c.Err())
	}
}

// The acknowledgement is given while there is no session that could take it.
func TestAnAckOfALostSessionIsSentInTheNextOne(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t, stanserver.FileStore())
	c := connect(t, s.URL(), quickPings)
	before := c.Stan()
	in := receive(t, c, subscription())
	send(t, c, "one")
	held := in.want("one")
	s.Streaming().Shutdown()
	until(t, "the session is lost", func() bool { return !c.Healthy() })
	is(t, held.Settle(ticketing.Verdict{Kind: ticketing.Ack}), ticketing.ErrNotConnected)
	if err := s.RestartStreaming(); err != nil {
		t.Fatal(err)
	}
	healthyAgain(t, c, before)
	send(t, c, "two")
	in.ack(in.want("two")) // and not "one" again
	in.stop()
}

// A memory store that comes back empty begins again at sequence 1: the event
// that has that now is not the one that is held.
func TestAStoreThatComesBackEmptyGivesNewEventsWithOldSequences(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), quickPings)
	before := c.Stan()
	in := receive(t, c, subscription())
	send(t, c, "old")
	held := in.want("old")
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	healthyAgain(t, c, before)
	send(t, c, "new")
	fresh := in.want("new")
	if fresh.Sequence != held.Sequence || fresh.ID == held.ID {
		t.Errorf("sequences %d and %d, ids %q and %q: want the same sequence and different ids",
			held.Sequence, fresh.Sequence, held.ID, fresh.ID)
	}
	in.ack(held) // must not let go of the other
	if err := held.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err == nil {
		t.Error("a message was settled twice")
	}
	in.ack(fresh)
	in.stop()
}

// A lost session is found by a publish long before the pings find it: see
// srvInvalidPublish in explainAck.
func TestAPublishFindsThatTheSessionIsLost(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), func(c *stanwrap.Config) { c.PingInterval = time.Hour })
	before := c.Stan()
	forget(t, s, "client")
	is(t, await(t, start(t.Context(), c, message("{}"))), ticketing.ErrNotSent, ticketing.ErrNotConnected)
	healthyAgain(t, c, before)
	send(t, c, "{}")
}

func TestReceiveFindsThatTheSessionIsLost(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), func(c *stanwrap.Config) { c.PingInterval = time.Hour })
	send(t, c, "one")
	forget(t, s, "client")
	in := receive(t, c, subscription())
	in.ack(in.want("one"))
}

// Without the pings that stanConnect asks for, stan.go would wait for their
// acknowledgements until the ack timeout.
func TestWhatIsInFlightWhenTheSessionIsLostIsUnknown(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), func(c *stanwrap.Config) {
		quickPings(c)
		c.AckTimeout = time.Hour
	})
	s.Streaming().Shutdown()
	outcome := start(t.Context(), c, message("{}"))
	err := await(t, outcome)
	is(t, err, ticketing.ErrUnknown, ticketing.ErrNotConnected)
	if strings.Contains(err.Error(), ticketing.ErrClosed.Error()) {
		t.Errorf("error %q says that the client is closed", err)
	}
	is(t, await(t, start(t.Context(), c, message("{}"))), ticketing.ErrNotSent, ticketing.ErrNotConnected)
}

func TestAStreamingServerThatIsDownIsFoundByItsPingsAndWaitedFor(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t, stanserver.FileStore())
	c := connect(t, s.URL(), quickPings)
	before := c.Stan()
	in := receive(t, c, subscription())
	send(t, c, "one")
	in.ack(in.want("one"))
	s.Streaming().Shutdown()
	sub := subscription()
	sub.Group, sub.DrainTimeout = "late", time.Millisecond
	late := receive(t, c, sub)
	until(t, "the session is lost", func() bool { return !c.Healthy() })
	if err := s.RestartStreaming(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	healthyAgain(t, c, before)
	late.ack(late.want("one"))
	send(t, c, "two")
	in.ack(in.want("two"))
	if d := time.Since(back); d > 5*time.Second {
		t.Errorf("the first event came %v after the server was back, want less than 5 s", d)
	}
}

func TestACloseOfTheNATSConnectionIsALostSession(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), nil)
	before := c.Stan()
	in := receive(t, c, subscription())
	c.Conn().Close()
	healthyAgain(t, c, before)
	send(t, c, "one")
	in.ack(in.want("one"))
}

// The network is away for so long that another process takes the id. The
// client that comes back must not harm it, and has to say what is wrong.
func TestAClientWhoseIDWasTakenEndsAndNamesIt(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	c := connect(t, p.URL(), func(c *stanwrap.Config) {
		quickPings(c)
		c.ClientIDWait = time.Millisecond
	})
	in := receive(t, c, subscription())
	p.Cut()
	until(t, "the session is lost", func() bool { return !c.Healthy() })
	second := connect(t, s.URL(), nil)
	p.Heal()
	closed(t, "the client is closed", c.Closed())
	is(t, c.Err(), ticketing.ErrClosed)
	if text := errText(c.Err()); !strings.Contains(text, `"client"`) || !strings.Contains(text, "in use") {
		t.Errorf("error %q does not say that the client id is in use", text)
	}
	is(t, in.wait(), ticketing.ErrClosed)
	is(t, await(t, start(t.Context(), c, message("{}"))), ticketing.ErrNotSent, ticketing.ErrClosed)
	is(t, c.Receive(t.Context(), subscription(), nil), ticketing.ErrClosed)
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	is(t, c.Err(), ticketing.ErrClosed)
	send(t, second, "{}")
}

func TestAClientWhoseCredentialsAreRefusedEnds(t *testing.T) {
	t.Parallel()
	password := "sesame"
	s := stanserver.Run(t, stanserver.ConfigureNATS(func(o *server.Options) { o.Username, o.Password = "user", password }))
	c := connect(t, strings.Replace(s.URL(), "nats://", "nats://user:sesame@", 1), quickPings)
	password = "other"
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	closed(t, "the client is closed", c.Closed())
	is(t, c.Err(), ticketing.ErrClosed, nats.ErrAuthorization)
	if strings.Contains(c.Err().Error(), "sesame") {
		t.Errorf("error %q has the password", c.Err())
	}
}

func TestCloseDoesNotWaitForASessionThatCannotBeHad(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	c := connect(t, s.URL(), quickPings)
	in := receive(t, c, subscription())
	send(t, c, "one")
	m := in.want("one")
	s.Streaming().Shutdown()
	until(t, "the session is lost", func() bool { return !c.Healthy() })
	result := closing(context.Background(), c)
	until(t, "the acknowledgement is refused", func() bool {
		return m.Settle(ticketing.Verdict{Kind: ticketing.Ack}) != nil
	})
	if err := await(t, result); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	is(t, in.wait(), ticketing.ErrClosed)
	if err := c.Err(); err != nil {
		t.Errorf("Err = %v after Close, want nil", err)
	}
}

// One loss is one recovery, whoever sees it first.
func TestALossThatManySeeIsRecoveredOnce(t *testing.T) {
	t.Parallel()
	s := stanserver.Run(t)
	p := netfault.Run(t, s.URL())
	var log testlog.Buffer
	c := connect(t, p.URL(), func(c *stanwrap.Config) {
		quickPings(c)
		c.Logger = log.Logger()
	})
	before := c.Stan()
	forget(t, s, "client")
	p.BlackHole(netfault.ToClient) // or the next session may be there before the last publish
	var outcomes []<-chan error
	for range 50 {
		outcomes = append(outcomes, start(t.Context(), c, message("{}")))
	}
	p.Heal()
	for _, o := range outcomes {
		is(t, await(t, o), ticketing.ErrNotConnected)
	}
	healthyAgain(t, c, before)
	if n := strings.Count(log.String(), "session lost"); n != 1 {
		t.Errorf("%d recoveries for one loss:\n%s", n, log.String())
	}
}
