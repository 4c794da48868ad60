package natswrap

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
)

// wantFinding checks that there is a finding of that level whose detail has
// text in it.
func wantFinding(t *testing.T, found []Finding, check string, level slog.Level, text string) {
	t.Helper()
	if !slices.ContainsFunc(found, func(f Finding) bool {
		return f.Check == check && f.Level == level && strings.Contains(f.Detail, text)
	}) {
		t.Errorf("no %v of %s with %q among %+v", level, check, text, found)
	}
}

func TestInspectFindsNothingWrongAndChangesNothing(t *testing.T) {
	cfg := Config{URLs: []string{natsserver.Run(t).URL()}, ClientID: "c"}
	found := Inspect(t.Context(), cfg)
	wantFinding(t, found, "stream TICKETING", slog.LevelError, "does not exist")
	wantFinding(t, found, "dead letters", slog.LevelError, "no stream stores dead.>")

	c := connectTest(t, cfg)
	js, _ := c.JetStream()
	found = Inspect(t.Context(), cfg)
	for _, f := range found {
		if f.Level != slog.LevelInfo {
			t.Errorf("%+v", f)
		}
	}
	wantFinding(t, found, "connection", slog.LevelInfo, "nats-server 2.")
	s, err := js.Stream(t.Context(), "TICKETING")
	if err != nil || s.CachedInfo().State.Consumers != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestInspectFindsWhatIsWrong(t *testing.T) {
	cfg := Config{URLs: []string{natsserver.Run(t).URL()}, ClientID: "c"}
	js, _ := connectTest(t, cfg).JetStream()
	for _, consumer := range []jetstream.ConsumerConfig{
		{Durable: "g_ticket--created", FilterSubject: "ticket:created", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3},
		{Durable: "g_ticket--updated", FilterSubject: "ticket:updated", AckPolicy: jetstream.AckAllPolicy, MaxRequestBatch: 1},
		{Durable: "export", FilterSubjects: []string{"ticket:created", "order:created"}, AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 4},
		{Durable: "archive", AckPolicy: jetstream.AckExplicitPolicy},
	} {
		if _, err := js.CreateConsumer(t.Context(), "TICKETING", consumer); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Subjects = append(ticketing.Subjects(), "deposit:received")
	cfg.Replicas = 3
	found := Inspect(t.Context(), cfg)
	wantFinding(t, found, "stream TICKETING", slog.LevelError, "lacks the subjects deposit:received")
	wantFinding(t, found, "stream TICKETING", slog.LevelWarn, "num_replicas is 1, not 3")
	wantFinding(t, found, "consumer g_ticket--created", slog.LevelError, "max_deliver is 3")
	wantFinding(t, found, "consumer g_ticket--updated", slog.LevelError, "ack_policy is")
	wantFinding(t, found, "consumer g_ticket--updated", slog.LevelError, "max_batch is 1, not 0")
	wantFinding(t, found, "consumer export", slog.LevelWarn, "max_deliver is 4")
	wantFinding(t, found, "consumer export", slog.LevelInfo, "on ticket:created, order:created")
	wantFinding(t, found, "consumer archive", slog.LevelInfo, "on all subjects")
}

func TestInspectTellsAClientIDThatIsInUse(t *testing.T) {
	s := stanserver.Run(t)
	cfg := Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID(), ClientID: "c"}
	wantFinding(t, Inspect(t.Context(), cfg), "client id", slog.LevelInfo, "c is free")
	c := connectTest(t, cfg)
	wantFinding(t, Inspect(t.Context(), cfg), "client id", slog.LevelWarn, "c is in use by a client that runs")
	if !c.Healthy() {
		t.Error("the client lost its session")
	}
}

func TestInspectTellsWhyItCannotConnectWithoutAPassword(t *testing.T) {
	for _, cfg := range []Config{
		{URLs: []string{"nats://root:s3cret@127.0.0.1:1"}, ClientID: "c"},
		{URLs: []string{"nats://root:s3cret@127.0.0.1:1"}, ClientID: "c", ClusterID: "cluster"},
	} {
		found := Inspect(t.Context(), cfg)
		wantFinding(t, found, "connection", slog.LevelError, "connection refused")
		for _, f := range found {
			if strings.Contains(f.Detail, "s3cret") {
				t.Errorf("%+v has the password", f)
			}
		}
	}
	wantFinding(t, Inspect(t.Context(), Config{}), "configuration", slog.LevelError, "URLs: is required")
	//lint:ignore SA1012 a nil context is the point
	wantFinding(t, Inspect(nil, Config{}), "configuration", slog.LevelError, "context is nil")
}

// A tool does not make what a service would.
func TestConnectOnlyMakesNoStream(t *testing.T) {
	cfg := Config{URLs: []string{natsserver.Run(t).URL()}, ClientID: "c", ConnectOnly: true}
	js, _ := connectTest(t, cfg).JetStream()
	if _, err := js.Stream(t.Context(), "TICKETING"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("Stream = %v", err)
	}
	if !strings.Contains(cfg.String(), "ConnectOnly:true") {
		t.Errorf("%v does not say so", cfg)
	}
}

func connectTest(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	c, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
