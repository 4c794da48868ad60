package jswrap_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/testlog"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natswrap/jswrap"
)

func TestConnectCreatesTheStreamAndThePlaceForDeadLetters(t *testing.T) {
	cfg := config(natsserver.Run(t).URL())
	cfg.MaxAge = time.Hour
	cfg.MaxBytes = 1 << 20
	c := connect(t, cfg)
	have := streamConfig(t, c.JetStream(), jswrap.DefaultStream)
	if len(have.Subjects) != len(ticketing.Subjects()) || have.Storage != jetstream.FileStorage ||
		have.Retention != jetstream.LimitsPolicy || have.Duplicates != 2*time.Minute || have.MaxAge != time.Hour || have.MaxBytes != 1<<20 {
		t.Errorf("stream is %+v", have)
	}
	dead := streamConfig(t, c.JetStream(), "TICKETING_DEAD")
	if !slices.Equal(dead.Subjects, []string{"dead.>"}) || dead.MaxAge != 0 {
		t.Errorf("stream for dead letters is %+v", dead)
	}
	if err := c.CheckSubject(testContext(t), ticketing.DeadLetterSubject("g", subject)); err != nil {
		t.Errorf("CheckSubject of a dead letter = %v", err)
	}
	if !c.Healthy() || c.Err() != nil {
		t.Error("a new client is not healthy")
	}
}

func TestADuplicateWindowFitsAShortMaxAge(t *testing.T) {
	cfg := config(natsserver.Run(t).URL())
	cfg.MaxAge = time.Minute
	c := connect(t, cfg)
	if have := streamConfig(t, c.JetStream(), jswrap.DefaultStream); have.Duplicates != time.Minute {
		t.Errorf("duplicate window %v, want a minute", have.Duplicates)
	}
}

func TestASecondServiceWithOtherSubjectsLeavesTheFirstAlone(t *testing.T) {
	url := natsserver.Run(t).URL()
	one, two := config(url), config(url)
	one.Subjects, two.Subjects = []ticketing.Subject{subject}, []ticketing.Subject{other}
	first := connect(t, one)
	second := connect(t, two)
	mustSend(t, first, subject, "one")
	mustSend(t, second, other, "two")
	have := streamConfig(t, first.JetStream(), jswrap.DefaultStream).Subjects
	if want := []string{string(subject), string(other)}; !slices.Equal(have, want) {
		t.Errorf("subjects %v, want %v", have, want)
	}
}

func TestConcurrentStartersKeepEachOthersSubjects(t *testing.T) {
	t.Parallel()
	url := natsserver.Run(t).URL()
	const n = 12
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			cfg := config(url)
			cfg.Subjects = []ticketing.Subject{ticketing.Subject(fmt.Sprintf("service:%d", i))}
			c, err := jswrap.Connect(testContext(t), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			closeClient(t, c)
		})
	}
	wg.Wait()
	c := connect(t, config(url))
	if have := streamConfig(t, c.JetStream(), jswrap.DefaultStream).Subjects; len(have) != n+len(ticketing.Subjects()) {
		t.Errorf("%d subjects are left: %v", len(have), have)
	}
}

func TestASubjectCoveredByAWildcardIsNotAdded(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	cfg := jetstream.StreamConfig{Name: "WIDE", Subjects: []string{"wide.*.x", "deep.>"}}
	if _, err := admin.JetStream().CreateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	wide := config(url)
	wide.Stream = "WIDE"
	wide.Subjects = []ticketing.Subject{"wide.a.x", "deep.a", "deep.a.b"}
	c := connect(t, wide)
	if have := streamConfig(t, c.JetStream(), "WIDE").Subjects; len(have) != 2 {
		t.Errorf("subjects %v", have)
	}
	mustSend(t, c, "deep.a.b", "x")
}

func TestVerifyOnlyReportsAndCreatesNothing(t *testing.T) {
	url := natsserver.Run(t).URL()
	verify := config(url)
	verify.VerifyOnly = true
	if _, err := jswrap.Connect(testContext(t), verify); err == nil || !strings.Contains(err.Error(), "stream TICKETING: the stream does not exist") {
		t.Fatalf("Connect = %v, want the missing stream named", err)
	}

	narrow := config(url)
	narrow.Subjects = []ticketing.Subject{subject}
	admin := connect(t, narrow)
	verify.Subjects = []ticketing.Subject{subject, other}
	if _, err := jswrap.Connect(testContext(t), verify); err == nil || !strings.Contains(err.Error(), string(other)) {
		t.Fatalf("Connect = %v, want the missing subject named", err)
	}
	if have := streamConfig(t, admin.JetStream(), jswrap.DefaultStream).Subjects; len(have) != 1 {
		t.Errorf("the stream was changed to %v", have)
	}

	verify.Subjects = []ticketing.Subject{subject}
	c := connect(t, verify)
	err := receive(t, c, ticketing.Subscription{Subject: subject, Group: "g"}).wait()
	if err == nil || !strings.Contains(err.Error(), "consumer g_ticket--created of stream TICKETING does not exist") {
		t.Errorf("Receive = %v, want the missing consumer named", err)
	}
}

func TestVerifyOnlyWithoutAStreamForDeadLettersSaysSoWhenAsked(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	if err := admin.JetStream().DeleteStream(testContext(t), "TICKETING_DEAD"); err != nil {
		t.Fatal(err)
	}
	verify := config(url)
	verify.VerifyOnly = true
	c := connect(t, verify)
	if err := c.CheckSubject(testContext(t), ticketing.DeadLetterSubject("g", subject)); !errors.Is(err, ticketing.ErrNoStream) {
		t.Errorf("CheckSubject = %v, want ErrNoStream", err)
	}
	if err := c.CheckSubject(testContext(t), subject); err != nil {
		t.Errorf("CheckSubject of an event = %v", err)
	}
}

func TestSubjectsOfAnotherStreamAreRefusedWithItsName(t *testing.T) {
	url := natsserver.Run(t).URL()
	connect(t, config(url))
	for _, subjects := range [][]ticketing.Subject{
		{"new:subject", subject},
		{subject},
	} {
		second := config(url)
		second.Stream = "SECOND"
		second.Subjects = subjects
		_, err := jswrap.Connect(testContext(t), second)
		if err == nil || !strings.Contains(err.Error(), "the subject "+string(subject)+" is stored by stream TICKETING already") {
			t.Errorf("Connect = %v, want both streams named", err)
		}
	}
}

func TestSettingsOfAnExistingStreamAreLeftAndReportedByField(t *testing.T) {
	url := natsserver.Run(t).URL()
	connect(t, config(url))
	var log testlog.Buffer
	cfg := config(url)
	cfg.Logger = log.Logger()
	cfg.MaxAge = time.Hour
	cfg.MaxBytes = 1 << 20
	cfg.Replicas = 3
	c := connect(t, cfg)
	if have := streamConfig(t, c.JetStream(), jswrap.DefaultStream); have.MaxAge != 0 || have.Replicas != 1 {
		t.Errorf("the stream was changed: %+v", have)
	}
	for _, field := range []string{"max_age", "max_bytes", "num_replicas"} {
		if !strings.Contains(log.String(), "field="+field) {
			t.Errorf("%s is not reported in:\n%s", field, &log)
		}
	}
}

func TestAStreamThatCannotCarryEventsIsRefused(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	if _, err := admin.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "MUTE", Subjects: []string{"mute"}, NoAck: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "COPY", Mirror: &jetstream.StreamSource{Name: "MUTE"}}); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]string{"MUTE": "no_ack is true", "COPY": "mirror is MUTE"} {
		cfg := config(url)
		cfg.Stream = stream
		cfg.Subjects = []ticketing.Subject{"mute"}
		if _, err := jswrap.Connect(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Connect to %s = %v, want %q", stream, err, want)
		}
	}
}

func TestTwoStreamsShareThePlaceForDeadLetters(t *testing.T) {
	url := natsserver.Run(t).URL()
	connect(t, config(url))
	second := config(url)
	second.Stream = "SECOND"
	second.Subjects = []ticketing.Subject{"second:subject"}
	c := connect(t, second)
	if err := c.CheckSubject(testContext(t), ticketing.DeadLetterSubject("g", "second:subject")); err != nil {
		t.Errorf("CheckSubject = %v", err)
	}
	if _, err := c.JetStream().Stream(testContext(t), "SECOND_DEAD"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a second stream for dead letters: %v", err)
	}
}

func TestAStreamWithAPartOfTheDeadLettersIsReported(t *testing.T) {
	url := natsserver.Run(t).URL()
	admin := connect(t, config(url))
	if err := admin.JetStream().DeleteStream(testContext(t), "TICKETING_DEAD"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.JetStream().CreateStream(testContext(t), jetstream.StreamConfig{Name: "PART", Subjects: []string{"dead.part"}}); err != nil {
		t.Fatal(err)
	}
	var log testlog.Buffer
	cfg := config(url)
	cfg.Logger = log.Logger()
	connect(t, cfg)
	if !strings.Contains(log.String(), "stream PART stores a part of dead.>") {
		t.Errorf("not reported in:\n%s", &log)
	}
}

func TestConnectWithoutJetStreamSaysSo(t *testing.T) {
	t.Run("on the server", func(t *testing.T) {
		url := natsserver.Run(t, natsserver.Configure(func(o *server.Options) { o.JetStream = false })).URL()
		_, err := jswrap.Connect(testContext(t), config(url))
		if err == nil || !strings.Contains(err.Error(), "JetStream is not enabled on this server") {
			t.Errorf("Connect = %v", err)
		}
	})
	t.Run("for the account", func(t *testing.T) {
		url := natsserver.Run(t, natsserver.Configure(func(o *server.Options) {
			plain := server.NewAccount("PLAIN")
			o.Accounts = []*server.Account{plain}
			o.Users = []*server.User{{Username: "u", Password: "p", Account: plain}}
		})).URL()
		_, err := jswrap.Connect(testContext(t), config("nats://u:p@"+url[len("nats://"):]))
		if err == nil || !strings.Contains(err.Error(), "JetStream is not enabled for this account") {
			t.Errorf("Connect = %v", err)
		}
	})
}

func TestConnectReportsEveryMistakeInItsConfig(t *testing.T) {
	_, err := jswrap.Connect(testContext(t), jswrap.Config{
		Stream:     "no.dots",
		Subjects:   []ticketing.Subject{"bad subject", "dead.mine"},
		Replicas:   -1,
		MaxAge:     -1,
		MaxBytes:   -1,
		AckTimeout: -1,
		MaxPending: -1,
	})
	if err == nil {
		t.Fatal("Connect succeeded")
	}
	for _, want := range []string{"Config.URLs", "Config.Stream", "bad subject", "dead.mine", "Replicas", "MaxAge", "MaxBytes", "AckTimeout", "MaxPending"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if !errors.Is(err, ticketing.ErrInvalidSubject) {
		t.Error("the error does not match ErrInvalidSubject")
	}
	long := config("nats://127.0.0.1:1")
	long.Stream = strings.Repeat("x", 201)
	if _, err := jswrap.Connect(testContext(t), long); err == nil || !strings.Contains(err.Error(), "201 bytes") {
		t.Errorf("Connect with a long stream name = %v", err)
	}
	if _, err := jswrap.Connect(nil, config("nats://127.0.0.1:1")); err == nil {
		t.Error("Connect accepts a nil context")
	}
}

func TestConnectHonoursItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = jswrap.Connect(ctx, config("nats://"+l.Addr().String()))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("Connect = %v after %v", err, time.Since(start))
	}
}

func TestConnectHonoursItsContextWhileTheAPIIsSilent(t *testing.T) {
	// A subscriber that takes the requests and answers none is an API that is
	// silent.
	srv := natsserver.Run(t, natsserver.Configure(func(o *server.Options) { o.JetStream = false }))
	nc, err := nats.Connect(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := nc.Subscribe("$JS.API.>", func(*nats.Msg) { cancel() }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := jswrap.Connect(ctx, config(srv.URL())); !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v, want the context's error", err)
	}
}

func TestStartersOfDifferentStreamsFindOnePlaceForDeadLetters(t *testing.T) {
	url := natsserver.Run(t).URL()
	var log testlog.Buffer
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			cfg := config(url)
			cfg.Logger = log.Logger()
			cfg.Stream = fmt.Sprint("STREAM", i)
			cfg.Subjects = []ticketing.Subject{ticketing.Subject(fmt.Sprint("service:", i))}
			c, err := jswrap.Connect(testContext(t), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer closeClient(t, c)
			if err := c.CheckSubject(testContext(t), "dead.g.x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if strings.Contains(log.String(), "no stream for dead letters") {
		t.Errorf("somebody found none:\n%s", &log)
	}
}
