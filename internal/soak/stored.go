package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
)

// What is stored is read by the raw clients, around the proxies.

func withJetStream(urls []string, f func(jetstream.JetStream) error) error {
	nc, err := nats.Connect(strings.Join(urls, ","))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return f(js)
}

// streamLeader names the server that leads the stream, or nobody.
func streamLeader(ctx context.Context, urls []string) (name string) {
	_ = withJetStream(urls, func(js jetstream.JetStream) error {
		s, err := js.Stream(ctx, streamName)
		if err == nil {
			name = s.CachedInfo().Cluster.Leader
		}
		return err
	})
	return name
}

// readStream reads all messages, and holds their number against the stream's
// own count. It is an error when a replica is behind.
func readStream(ctx context.Context, urls []string) (stored []Entry, err error) {
	err = withJetStream(urls, func(js jetstream.JetStream) error {
		s, err := js.Stream(ctx, streamName)
		if err != nil {
			return err
		}
		info := s.CachedInfo()
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("the replica at %s is behind", r.Name)
			}
		}
		if stored, err = readMessages(ctx, s, info.State.LastSeq); err != nil {
			return err
		}
		if info, err = s.Info(ctx); err != nil {
			return err
		}
		if info.State.Msgs != uint64(len(stored)) {
			return fmt.Errorf("the stream says that it has %d messages, and %d were read", info.State.Msgs, len(stored))
		}
		return nil
	})
	return stored, err
}

func readMessages(ctx context.Context, s jetstream.Stream, last uint64) ([]Entry, error) {
	if last == 0 {
		return nil, nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, err
	}
	iter, err := c.Messages()
	if err != nil {
		return nil, err
	}
	defer iter.Stop()
	var stored []Entry
	for {
		m, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		e, err := decode(m.Data())
		if err != nil {
			return nil, err
		}
		if id := m.Headers().Get(jetstream.MsgIDHeader); id != e.id() {
			return nil, fmt.Errorf("message %d has the id %q, and is entry %s", meta.Sequence.Stream, id, e.id())
		}
		stored = append(stored, e)
		if meta.Sequence.Stream >= last {
			return stored, nil
		}
	}
}

func decode(data []byte) (e Entry, err error) {
	err = json.Unmarshal(data, &e)
	return e, err
}

// readChannel reads all messages up to the one that the server says is the
// last, and holds their number against its sequence.
func readChannel(ctx context.Context, url, clusterID string) ([]Entry, error) {
	sc, err := stan.Connect(clusterID, "checker", stan.NatsURL(url))
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	last, err := receive(ctx, sc, 0, stan.StartWithLastReceived())
	if err != nil {
		return nil, err
	}
	n := last[0].Sequence
	msgs, err := receive(ctx, sc, n, stan.DeliverAllAvailable())
	if err != nil {
		return nil, err
	}
	if uint64(len(msgs)) != n {
		return nil, fmt.Errorf("the last message is number %d, and %d were read", n, len(msgs))
	}
	stored := make([]Entry, len(msgs))
	for i, m := range msgs {
		if stored[i], err = decode(m.Data); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// receive returns the messages of a subscription, up to one of that sequence or
// a later one.
func receive(ctx context.Context, sc stan.Conn, last uint64, from stan.SubscriptionOption) ([]*stan.Msg, error) {
	msgs := make(chan *stan.Msg, 1024)
	stop := make(chan struct{})
	sub, err := sc.Subscribe(string(subject), func(m *stan.Msg) {
		select {
		case msgs <- m:
		case <-stop:
		}
	}, from)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	defer close(stop)
	var got []*stan.Msg
	for {
		select {
		case m := <-msgs:
			got = append(got, m)
			if m.Sequence >= last {
				return got, nil
			}
		case <-ctx.Done():
			return nil, errors.Join(errors.New("the channel was not read to its end"), context.Cause(ctx))
		}
	}
}
