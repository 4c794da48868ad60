package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// How many clients there are.
const (
	publishingClients   = 2
	publishersPerClient = 2
)

// listeners are the groups, one for each member. A group of one shows the
// order.
var listeners = []string{"alone", "shared", "shared"}

// publishBound is the most that a publish may take: its ctx's deadline, or the
// sender's own timeout. lateAfter is when a publish that has not ended is late.
const (
	publishBound = 12 * time.Second
	lateAfter    = publishBound + time.Second
)

// closeTimeout bounds the end of a client, with all servers there.
const closeTimeout = 30 * time.Second

// clients are the services.
type clients struct {
	all        []*natswrap.Client
	publishers sync.WaitGroup
	listeners  sync.WaitGroup

	stopPublishing, stopListening context.CancelFunc
}

func startClients(ctx context.Context, s settings, b *broker, l *ledger) (*clients, error) {
	c := new(clients)
	publishing, stop := context.WithCancel(context.Background())
	c.stopPublishing = stop
	listening, stop := context.WithCancel(context.Background())
	c.stopListening = stop
	if err := c.start(ctx, publishing, listening, s, b, l); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// start starts everybody: ctx is for the start, the others for what goes on.
func (c *clients) start(ctx, publishing, listening context.Context, s settings, b *broker, l *ledger) error {
	for i, name := range listeners {
		client, err := c.connect(ctx, b.config(fmt.Sprintf("listener-%d", i), s.logger()))
		if err != nil {
			return err
		}
		l.addMember(name)
		c.listeners.Go(func() { listen(listening, client, name, s, l) })
	}
	for i := range publishingClients {
		client, err := c.connect(ctx, b.config(fmt.Sprintf("publisher-%d", i), s.logger()))
		if err != nil {
			return err
		}
		for j := range publishersPerClient {
			p := &publisher{
				number: l.addPublisher(),
				pub:    ticketing.NewPublisher[Entry](client, &ticketing.PublisherOptions{OnError: func(*ticketing.Message, error) {}}),
				ledger: l,
				async:  j%2 == 1,
			}
			c.publishers.Go(func() { p.run(publishing, s.rate) })
		}
	}
	return nil
}

func (c *clients) connect(ctx context.Context, cfg natswrap.Config) (*natswrap.Client, error) {
	client, err := natswrap.Connect(ctx, cfg)
	if err == nil {
		c.all = append(c.all, client)
	}
	return client, err
}

// stopPublishers waits for the outcome of everything that was published.
func (c *clients) stopPublishers() {
	c.stopPublishing()
	c.publishers.Wait()
}

// close ends everything, in the order of a service.
func (c *clients) close() {
	c.stopPublishers()
	c.stopListening()
	c.listeners.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, client := range c.all {
		_ = client.Close(ctx) // what it leaves behind shows in the counts
	}
}

// publisher publishes entries one after the other, each with an id of its own,
// and tries none again.
type publisher struct {
	number int
	pub    *ticketing.Publisher[Entry]
	ledger *ledger
	async  bool
	waits  sync.WaitGroup
}

func (p *publisher) run(ctx context.Context, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	defer p.waits.Wait()
	for {
		select {
		case <-tick.C:
			p.publish()
		case <-ctx.Done():
			return
		}
	}
}

func (p *publisher) publish() {
	e := p.ledger.begin(p.number)
	start := time.Now()
	finish := func(err error) { p.ledger.finish(e, err, time.Since(start) > lateAfter) }
	ctx, cancel := context.WithTimeout(context.Background(), publishBound)
	if !p.async {
		defer cancel()
		finish(p.pub.Publish(ctx, e, ticketing.WithID(e.id())))
		return
	}
	receipt := p.pub.PublishAsync(ctx, e, ticketing.WithID(e.id()))
	p.waits.Go(func() {
		defer cancel()
		<-receipt.Done()
		finish(receipt.Err())
	})
}

var errSometimes = errors.New("one in a hundred fails at first")

// listen handles entries as a member of a group, until ctx ends.
func listen(ctx context.Context, client *natswrap.Client, name string, s settings, l *ledger) {
	handle := func(_ context.Context, d *ticketing.Delivery[Entry]) error {
		if d.Attempt == 1 && d.Sequence%100 == 0 {
			return errSometimes
		}
		l.handle(name, d.Event, d.Sequence, d.Attempt)
		return nil
	}
	err := ticketing.NewListener(client, name, handle, &ticketing.ListenerOptions{
		Concurrency: 8,
		MaxAttempts: 1 << 30, // there are no dead letters
		MinBackoff:  10 * time.Millisecond,
		MaxBackoff:  100 * time.Millisecond,
		Logger:      s.logger(),
	}).Listen(ctx)
	if err == nil && ctx.Err() == nil {
		err = errors.New("it returned nil before its time")
	}
	if err != nil {
		l.listenEnded(fmt.Errorf("group %s: %w", name, err))
	}
}
