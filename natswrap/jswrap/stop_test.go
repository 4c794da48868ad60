package jswrap_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
)

// Protection: giveBackInOrder and clearRequests.
func TestAStopHandsBackInOrder(t *testing.T) {
	url := natsserver.Run(t).URL()
	c := connect(t, config(url))
	const n = 40
	for i := range n {
		mustSend(t, c, subject, fmt.Sprint(i))
	}
	s := group
	s.AckWait = time.Minute // nothing comes again by itself
	s.Window = 16
	for handled := 0; handled < n; handled += 10 {
		member := connect(t, config(url))
		member.SetGiveBackGrace(patience)
		in := receive(t, member, s)
		for i := range 10 {
			m := in.want(fmt.Sprint(handled + i))
			in.settle(m, ticketing.Ack)
		}
		in.stop()
		for done := false; !done; {
			select {
			case m := <-in.msgs:
				_ = m.Settle(ticketing.Verdict{Kind: ticketing.Retry})
			case err := <-in.result:
				if err != nil {
					t.Fatal(err)
				}
				done = true
			}
		}
	}
}

// A request that the server gets after that finds nobody, and the message that
// it had for it comes behind the others. Protection: written in clearRequests.
func TestAStopClearsItsRequestsAfterTheLastOfThem(t *testing.T) {
	url := natsserver.Run(t).URL()
	c := connect(t, config(url))
	spy, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer spy.Close()
	requests, err := spy.SubscribeSync("$JS.API.CONSUMER.MSG.NEXT.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	seen := func(limit time.Duration) (last string) {
		for {
			m, err := requests.NextMsg(limit)
			if errors.Is(err, nats.ErrTimeout) {
				return last
			}
			if err != nil {
				t.Fatal(err)
			}
			last = string(m.Data)
		}
	}
	const clears = `"expires":1}`

	s := group
	s.AckWait = time.Minute
	s.Window = 4
	mustSend(t, c, subject, "0", "1", "2", "3", "4")
	in := receive(t, c, s)
	var held []*ticketing.Inbound
	for i := range s.Window {
		held = append(held, in.want(fmt.Sprint(i)))
	}
	if first := seen(100 * time.Millisecond); first == "" {
		t.Fatal("the spy sees no requests")
	}
	release := c.HoldWriter()
	defer release()
	for _, m := range held {
		in.settle(m, ticketing.Ack) // which makes a request for the next
	}
	subscriptions := c.Conn().NumSubscriptions()
	in.stop()
	until(t, "the stop has drained its subscription", func() bool { return c.Conn().NumSubscriptions() < subscriptions })
	if last := seen(100 * time.Millisecond); last != "" {
		t.Errorf("%s overtook the request that is not written yet", last)
	}
	release()
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	last := ""
	until(t, "the last request is the one that clears them", func() bool {
		last = cmp.Or(seen(10*time.Millisecond), last)
		return strings.HasSuffix(last, clears)
	})
}

func TestAStopHandsBackWhatTheHandlersKeep(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	s := group
	s.AckWait = time.Minute
	s.DrainTimeout = 50 * time.Millisecond
	mustSend(t, c, subject, "one", "two", "three")
	in := receive(t, c, s)
	kept := []*ticketing.Inbound{in.want("one"), in.want("two")}
	in.stop()
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	for _, m := range kept {
		if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); !errors.Is(err, ticketing.ErrSettled) {
			t.Errorf("Settle = %v, want ErrSettled", err)
		}
	}
	in = receive(t, c, s)
	for _, want := range []string{"one", "two", "three"} {
		in.settle(in.want(want), ticketing.Ack)
	}
}

func TestCloseIsCutShortWhileAHandlerHolds(t *testing.T) {
	url := natsserver.Run(t).URL()
	c := connect(t, config(url))
	s := group
	s.AckWait = time.Minute
	s.DrainTimeout = time.Minute
	mustSend(t, c, subject, "one")
	in := receive(t, c, s)
	in.want("one")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want the context's error", err)
	}
	if err := in.wait(); !errors.Is(err, ticketing.ErrClosed) {
		t.Errorf("Receive = %v, want ErrClosed", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	again := receive(t, connect(t, config(url)), s)
	again.settle(again.want("one"), ticketing.Ack)
}

func TestAHandleThatBlocksIsToldWhenTheDrainTimeoutIsOver(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	mustSend(t, c, subject, "one")
	s := group
	s.DrainTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, s, func(ctx context.Context, in *ticketing.Inbound) {
			cancel()
			<-ctx.Done()
		})
	}()
	if err := await(t, result, "Receive"); err != nil {
		t.Error(err)
	}
}

// Protection: awaitHeld in stop.
func TestAStopLetsHandlersHandBackFirst(t *testing.T) {
	c := connect(t, config(natsserver.Run(t).URL()))
	c.SetGiveBackGrace(patience)
	const n = 8
	for i := range n {
		mustSend(t, c, subject, fmt.Sprint(i))
	}
	s := group
	s.AckWait = time.Minute
	s.Window = n
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- c.Receive(ctx, s, func(_ context.Context, in *ticketing.Inbound) {
			until(t, "all have come", func() bool { return consumerInfo(t, c, s).NumAckPending == n })
			cancel() // so that the others are never handed over
			time.AfterFunc(50*time.Millisecond, func() { _ = in.Settle(ticketing.Verdict{Kind: ticketing.Retry}) })
		})
	}()
	if err := await(t, result, "Receive"); err != nil {
		t.Fatal(err)
	}
	in := receive(t, c, s)
	for i := range n {
		in.settle(in.want(fmt.Sprint(i)), ticketing.Ack)
	}
}
