package jswrap_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/netfault"
)

// Protection: troubled, which has messages asked for again.
func TestListenWhileTheLeaderIsKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("an election takes seconds")
	}
	cluster := natsserver.RunProcessCluster(t, "nats", 3)
	cfg := config(cluster.URL())
	cfg.Replicas = 3
	c := connect(t, cfg)
	in := receive(t, c, group)
	mustSend(t, c, subject, "before")
	in.settle(in.want("before"), ticketing.Ack)
	killLeader(t, c, cluster)
	until(t, "a publish", func() bool { return send(t, c, message(subject, "after")) == nil })
	for got := ""; got != "after"; {
		m := in.next() // an acknowledgement may have been lost with the leader
		got = string(m.Data)
		in.settle(m, ticketing.Ack)
	}
}

// Protection: keepAlive.
func TestListenWithAHandlerSlowerThanTheAckWait(t *testing.T) {
	url := natsserver.Run(t).URL()
	s := group
	s.AckWait = time.Second
	c := connect(t, config(url))
	fill(t, c, 2)
	in := receive(t, c, s)
	first := in.want("1")
	other := receive(t, connect(t, config(url)), s)
	second := func() *ticketing.Inbound { // it went to either
		select {
		case m := <-in.msgs:
			return m
		case m := <-other.msgs:
			return m
		case <-time.After(patience):
			t.Fatal("the second message did not come")
			return nil
		}
	}()
	select {
	case m := <-in.msgs:
		t.Errorf("%s came again", m.Data)
	case m := <-other.msgs:
		t.Errorf("%s came again, to the other member", m.Data)
	case <-time.After(3 * s.AckWait):
	}
	for _, m := range []*ticketing.Inbound{first, second} {
		if err := m.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
			t.Error(err)
		}
	}
	until(t, "both are acknowledged", func() bool { return consumerInfo(t, c, s).AckFloor.Stream == 2 })
}

// Protection: absorb, without which what was settled on the old connection, and
// came again because the server did not hear, is handled twice.
func TestListenThroughAReconnectWhileHandlersRun(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	p := netfault.Run(t, url)
	c := connect(t, config(p.URL()))
	const n, handlers = 200, 8
	s := group
	s.AckWait = 500 * time.Millisecond
	s.Concurrency = handlers
	fill(t, admin, n)
	var mu sync.Mutex
	runs := map[string]int{}
	var running, handled atomic.Int64
	work := make(chan *ticketing.Inbound, n)
	var workers sync.WaitGroup
	for range handlers {
		workers.Go(func() {
			for in := range work {
				mu.Lock()
				runs[string(in.Data)]++
				mu.Unlock()
				running.Add(1)
				time.Sleep(5 * time.Millisecond) // the handler's work
				running.Add(-1)
				if err := in.Settle(ticketing.Verdict{Kind: ticketing.Ack}); err != nil {
					t.Error(err)
				}
				handled.Add(1)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- c.Receive(ctx, s, func(_ context.Context, in *ticketing.Inbound) { work <- in }) }()
	for _, at := range []int64{30, 90, 150} {
		until(t, "handlers run", func() bool { return handled.Load() >= at && running.Load() > 0 })
		before := c.Conn().Stats().Reconnects
		p.Break()
		// It may be back before anybody looks.
		until(t, "the client notices", func() bool { return !c.Healthy() || c.Conn().Stats().Reconnects > before })
	}
	until(t, "all is handled and acknowledged", func() bool {
		i := consumerInfo(t, admin, s)
		return i.NumPending == 0 && i.NumAckPending == 0
	})
	cancel()
	if err := await(t, result, "Receive"); err != nil {
		t.Error(err)
	}
	close(work)
	workers.Wait()
	for i := range n {
		if times := runs[fmt.Sprint(i+1)]; times != 1 {
			t.Errorf("message %d was handled %d times", i+1, times)
		}
	}
}
