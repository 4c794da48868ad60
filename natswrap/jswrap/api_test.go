package jswrap

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
)

// Protection: the subject in request's watch.
func TestARequestEndsAtItsOwnDenialAndAtNoOther(t *testing.T) {
	var c Client
	asked, result := make(chan struct{}), make(chan error, 1)
	go func() {
		result <- c.request(t.Context(), "STREAM.INFO.S", func(ctx context.Context) error {
			close(asked)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	<-asked
	for _, others := range []string{"STREAM.NAMES", "STREAM.INFO.S2", "CONSUMER.INFO.S.C", "STREAM.INFO"} {
		c.denials.tell(apiPrefix + others)
	}
	const own = apiPrefix + "STREAM.INFO.S"
	c.denials.tell(own)
	if err := <-result; !errors.Is(err, ticketing.ErrPermission) || !strings.Contains(err.Error(), `"`+own+`"`) {
		t.Errorf("it ended with %v, want %s denied", err, own)
	}
}

// Protection: the names that the requests have. With a wrong one a denial is not
// noticed, and the request ends only with its time.
func TestEveryRequestThatIsDeniedSaysSoAtOnce(t *testing.T) {
	url := natsserver.Run(t, natsserver.Configure(func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "secret"},
			{Username: "u", Password: "secret", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{
				"$JS.API.STREAM.INFO.HIDDEN", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>",
				"$JS.API.STREAM.MSG.>", "$JS.API.DIRECT.>", "$JS.API.CONSUMER.>",
			}}}},
		}
	})).URL()
	open := func(user string) *Client {
		c, err := Connect(t.Context(), Config{
			URLs: []string{"nats://" + user + ":secret@" + strings.TrimPrefix(url, "nats://")}, ConnectOnly: true, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		return c
	}
	admin, c := open("admin"), open("u")
	streams := map[string]jetstream.Stream{}
	for _, cfg := range []jetstream.StreamConfig{{Name: "S", Subjects: []string{"s"}}, {Name: "DIRECT", Subjects: []string{"d"}, AllowDirect: true}} {
		if _, err := admin.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		s, err := c.openStream(t.Context(), cfg.Name)
		if err != nil {
			t.Fatal(err)
		}
		streams[cfg.Name] = s
	}
	dead, consumer := deadLetters{c}, consumerConfig(ticketing.Subscription{Subject: "s", Group: "g"})
	for name, call := range map[string]func(context.Context) error{
		"a stream": func(ctx context.Context) error { _, err := c.openStream(ctx, "HIDDEN"); return err },
		"a lookup": func(ctx context.Context) error { _, err := c.streamOf(ctx, "s"); return err },
		"a new stream": func(ctx context.Context) error {
			return c.createStream(ctx, jetstream.StreamConfig{Name: "NEW", Subjects: []string{"n"}})
		},
		"more subjects": func(ctx context.Context) error {
			return c.addSubjects(ctx, streams["S"].CachedInfo().Config, []string{"more"})
		},
		"a message":           func(ctx context.Context) error { _, err := dead.message(ctx, streams["S"], 1); return err },
		"a message, directly": func(ctx context.Context) error { _, err := dead.message(ctx, streams["DIRECT"], 1); return err },
		"the next message of a subject, directly": func(ctx context.Context) error {
			_, err := dead.message(ctx, streams["DIRECT"], 1, jetstream.WithGetMsgSubject("d"))
			return err
		},
		"the end of a message":  func(ctx context.Context) error { return dead.remove(ctx, streams["S"], 1) },
		"a consumer":            func(ctx context.Context) error { _, err := c.consumerInfo(ctx, "S", "C"); return err },
		"a new consumer":        func(ctx context.Context) error { _, err := c.createConsumer(ctx, "S", consumer); return err },
		"a consumer's change":   func(ctx context.Context) error { _, err := c.updateConsumer(ctx, "S", consumer); return err },
		"the end of a consumer": func(ctx context.Context) error { return c.deleteConsumer(ctx, "S", "C") },
		"the list of consumers": func(ctx context.Context) error { return listConsumers(ctx, c, streams["S"]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := call(t.Context()); !errors.Is(err, ticketing.ErrPermission) {
				t.Errorf("%v, want ErrPermission", err)
			}
		})
	}
}

// listConsumers returns what an inspection says of the consumers, if it cannot
// list them.
func listConsumers(ctx context.Context, c *Client, s jetstream.Stream) (err error) {
	inspection{c, func(_ string, _ slog.Level, detail string) {
		if strings.Contains(detail, ticketing.ErrPermission.Error()) {
			err = ticketing.ErrPermission
		} else {
			err = errors.New(detail)
		}
	}}.consumers(ctx, s)
	return err
}
