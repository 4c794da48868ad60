package stanwrap_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
	"github.com/nats-io/stan.go/pb"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/stanwrap"
)

func TestConnectReportsAllThatIsWrongWithTheConfigTogether(t *testing.T) {
	_, err := stanwrap.Connect(t.Context(), stanwrap.Config{ClientID: "a.b", AckTimeout: -1, PingMaxOut: 1})
	for _, want := range []string{"URLs", "ClusterID", `"a.b"`, "AckTimeout", "PingMaxOut"} {
		if !strings.Contains(errText(err), want) {
			t.Errorf("error %q does not name %s", errText(err), want)
		}
	}
	if _, err := stanwrap.Connect(t.Context(), stanwrap.Config{ClusterID: "a *"}); !strings.Contains(errText(err), `"a *"`) {
		t.Errorf("error %q does not name the cluster id", errText(err))
	}
	if _, err := stanwrap.Connect(t.Context(), stanwrap.Config{}); !strings.Contains(errText(err), "ClientID is empty") {
		t.Errorf("error %q does not say that ClientID is empty", errText(err))
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestConnectNamesTheClusterIDWhenNoStreamingServerAnswers(t *testing.T) {
	s := stanserver.Run(t)
	begin := time.Now()
	_, err := stanwrap.Connect(t.Context(), stanwrap.Config{
		URLs: []string{s.URL()}, ClusterID: "another", ClientID: "client", Logger: quiet,
	})
	if text := errText(err); !strings.Contains(text, `"another"`) || !strings.Contains(text, "ClusterID") {
		t.Errorf("error %q does not name the cluster id and its field", text)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("it took %v although NATS knows at once that nobody listens", d)
	}
}

func TestConnectSaysThatTheClientIDIsInUseAndLeavesItsOwnerAlone(t *testing.T) {
	s := stanserver.Run(t)
	first := connect(t, s.URL(), nil)
	_, err := stanwrap.Connect(t.Context(), stanwrap.Config{
		URLs: []string{s.URL()}, ClusterID: stanserver.DefaultClusterID, ClientID: "client", Logger: quiet,
		ClientIDWait: time.Millisecond,
	})
	if text := errText(err); !strings.Contains(text, `"client"`) || !strings.Contains(text, "in use") {
		t.Errorf("error %q does not say that the client id is in use", text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = stanwrap.Connect(ctx, stanwrap.Config{
		URLs: []string{s.URL()}, ClusterID: stanserver.DefaultClusterID, ClientID: "client", Logger: quiet,
	})
	is(t, err, context.DeadlineExceeded)
	if text := errText(err); !strings.Contains(text, "in use") {
		t.Errorf("error %q does not say why it waited until its context ended", text)
	}
	send(t, first, "{}")
}

// A deployment that replaces its processes one by one, and a quick restart.
func TestConnectWaitsForTheProcessThatIsAboutToFreeTheClientID(t *testing.T) {
	s := stanserver.Run(t)
	first := connect(t, s.URL(), nil)
	result := make(chan error, 1)
	var refused testlog.Buffer
	go func() {
		c, err := stanwrap.Connect(t.Context(), stanwrap.Config{
			URLs: []string{s.URL()}, ClusterID: stanserver.DefaultClusterID, ClientID: "client", Logger: refused.Logger(),
			ClientIDWait: patience,
		})
		if err == nil {
			err = c.Close(t.Context())
		}
		result <- err
	}()
	until(t, "the id is in use", func() bool { return strings.Contains(refused.String(), "in use") })
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := await(t, result); err != nil {
		t.Errorf("Connect = %v after the id was freed, want nil", err)
	}
}

func TestConnectTakesTheClientIDOverFromAClientThatDied(t *testing.T) {
	s := stanserver.Run(t)
	dead, err := stan.Connect(stanserver.DefaultClusterID, "client", stan.NatsURL(s.URL()))
	if err != nil {
		t.Fatal(err)
	}
	dead.NatsConn().Close() // nothing tells the streaming server
	send(t, connect(t, s.URL(), nil), "{}")
}

func TestConnectFailsWithoutAServer(t *testing.T) {
	s := stanserver.Run(t)
	url := strings.Replace(s.URL(), "nats://", "nats://user:pa55word@", 1)
	s.Shutdown()
	_, err := stanwrap.Connect(t.Context(), stanwrap.Config{
		URLs: []string{url}, ClusterID: stanserver.DefaultClusterID, ClientID: "client", Logger: quiet,
	})
	if err == nil || strings.Contains(err.Error(), "pa55word") {
		t.Errorf("error %v, want one without the password", err)
	}
}

// A streaming server that takes its time: it answers when it is told to.
func TestConnectReturnsWithItsContextAndClosesALateSession(t *testing.T) {
	s := stanserver.Run(t)
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	requests, closes := make(chan *nats.Msg, 1), make(chan *nats.Msg, 1)
	if _, err := nc.ChanSubscribe("_STAN.discover.slow", requests); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.ChanSubscribe("slow.close", closes); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := stanwrap.Connect(ctx, stanwrap.Config{
			URLs: []string{s.URL()}, ClusterID: "slow", ClientID: "client", Logger: quiet,
		})
		result <- err
	}()
	request := <-requests
	cancel()
	is(t, await(t, result), context.Canceled)

	answer, err := (&pb.ConnectResponse{CloseRequests: "slow.close"}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := request.Respond(answer); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-closes:
		_ = m.Respond(nil)
		_ = nc.Flush()
	case <-time.After(patience):
		t.Fatal("the late session was not closed")
	}
}

func TestConnectDoesNothingWithAnEndedContext(t *testing.T) {
	s := stanserver.Run(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := stanwrap.Connect(ctx, stanwrap.Config{
		URLs: []string{s.URL()}, ClusterID: stanserver.DefaultClusterID, ClientID: "client", Logger: quiet,
	})
	is(t, err, context.Canceled)
}

func TestAClientTellsWhatItCanDo(t *testing.T) {
	c := connect(t, stanserver.Run(t).URL(), nil)
	want := ticketing.Capabilities{Groups: true, Durable: true, Fetch: true, Attempts: true}
	if got := c.Capabilities(); got != want {
		t.Errorf("capabilities %+v, want %+v", got, want)
	}
	if err := c.CheckSubject(t.Context(), "never:used"); err != nil {
		t.Errorf("CheckSubject = %v, want nil: channels are made on demand", err)
	}
	if !c.Healthy() || c.Err() != nil || c.Stan() == nil || !c.Conn().IsConnected() {
		t.Error("a new client is not healthy")
	}
}
