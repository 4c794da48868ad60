package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/rogpeppe/go-internal/testscript"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ticketing": main})
}

// patience bounds every wait for what has to happen.
const patience = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// onBoth runs scripts on a server of each kind.
func onBoth(t *testing.T, scripts ...string) {
	t.Run("JetStream", func(t *testing.T) { onJetStream(t, scripts...) })
	t.Run("NATS Streaming", func(t *testing.T) { onStan(t, scripts...) })
}

func onJetStream(t *testing.T, scripts ...string) {
	runScripts(t, scripts, func(env *testscript.Env) error {
		s, err := natsserver.Start(natsserver.StoreDir(filepath.Join(env.WorkDir, ".store")))
		if err != nil {
			return err
		}
		env.Defer(s.Shutdown)
		env.Setenv("NATS_URL", s.URL())
		return prepare(env, natswrap.Config{URLs: []string{s.URL()}})
	})
}

func onStan(t *testing.T, scripts ...string) {
	runScripts(t, scripts, func(env *testscript.Env) error {
		s, err := stanserver.Start()
		if err != nil {
			return err
		}
		env.Defer(s.Shutdown)
		env.Setenv("NATS_URL", s.URL())
		env.Setenv("NATS_CLUSTER_ID", s.ClusterID())
		return prepare(env, natswrap.Config{URLs: []string{s.URL()}, ClusterID: s.ClusterID()})
	})
}

// service is the service that a script plays.
type service struct {
	*natswrap.Client
	mu      sync.Mutex
	handled map[string][]string // by group
	stop    []func()
	heard   func() string
}

// prepare connects the service, which makes the streams.
func prepare(env *testscript.Env, cfg natswrap.Config) error {
	cfg.ClientID, cfg.Logger = nuid.Next(), quiet
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	s := &service{Client: c, handled: map[string][]string{}}
	env.Values["service"] = s
	env.Defer(func() {
		for _, stop := range s.stop {
			stop()
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	return nil
}

func runScripts(t *testing.T, scripts []string, setup func(*testscript.Env) error) {
	files := make([]string, len(scripts))
	for i, name := range scripts {
		files[i] = filepath.Join("testdata", "script", name+".txtar")
	}
	testscript.Run(t, testscript.Params{
		Files: files,
		Setup: func(env *testscript.Env) error {
			// With the race detector each run would sleep for a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return setup(env)
		},
		Cmds:                commands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// commands are what scripts can do besides running the program.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"bury":     bury,
	"listener": startListener,
	"handled":  handled,
	"consumer": consumer,
	"status":   wantStatus,
	"listen":   startListen,
	"heard":    heard,
	"outbox":   makeOutbox,
}

func serviceOf(ts *testscript.TestScript) *service { return ts.Value("service").(*service) }

// bury group reason payload... makes dead letters of tickets.
func bury(ts *testscript.TestScript, _ bool, args []string) {
	s, group, reason, payloads := serviceOf(ts), args[0], args[1], args[2:]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	died := make(chan struct{}, len(payloads))
	result := make(chan error, 1)
	listening, stop := context.WithCancel(ctx)
	go func() {
		result <- ticketing.NewListener(s, group, func(context.Context, *ticketing.Delivery[events.TicketCreated]) error {
			return ticketing.Permanent(errors.New(unescape(ts, reason)))
		}, &ticketing.ListenerOptions{Logger: quiet, OnDeadLetter: func(ticketing.DeadLetter) { died <- struct{}{} }}).Listen(listening)
	}()
	for i, p := range payloads {
		sent := make(chan error, 1)
		s.Send(ctx, &ticketing.Message{
			ID: fmt.Sprintf("event-%d", i+1), Subject: ticketing.SubjectTicketCreated, Data: []byte(unescape(ts, p)),
			Header: map[string][]string{"Traceparent": {"00-ab"}},
		}, func(err error) { sent <- err })
		ts.Check(<-sent)
	}
	for range payloads {
		select {
		case <-died:
		case <-ctx.Done():
			ts.Fatalf("the event has not become a dead letter")
		}
	}
	stop()
	ts.Check(<-result)
}

// unescape reads Go's escapes, which a script cannot have as bytes.
func unescape(ts *testscript.TestScript, s string) string {
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	ts.Check(err)
	return out
}

// listener group starts a listener that handles tickets.
func startListener(ts *testscript.TestScript, _ bool, args []string) {
	s, group := serviceOf(ts), args[0]
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		result <- ticketing.NewListener(s, group, func(_ context.Context, d *ticketing.Delivery[events.TicketCreated]) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.handled[group] = append(s.handled[group], d.Event.ID)
			return nil
		}, &ticketing.ListenerOptions{Logger: quiet}).Listen(ctx)
	}()
	s.stop = append(s.stop, func() {
		cancel()
		<-result
	})
}

// handled group id... waits until a listener has handled just these.
func handled(ts *testscript.TestScript, _ bool, args []string) {
	s, group, want := serviceOf(ts), args[0], strings.Join(args[1:], " ")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		got := strings.Join(s.handled[group], " ")
		s.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("group %s handled %q, want %q", group, got, want)
		}
	}
}

// consumer name max_deliver makes a consumer as somebody else would.
func consumer(ts *testscript.TestScript, _ bool, args []string) {
	js, ok := serviceOf(ts).JetStream()
	if !ok {
		ts.Fatalf("there are no consumers here")
	}
	var limit int
	_, err := fmt.Sscan(args[1], &limit)
	ts.Check(err)
	_, err = js.CreateOrUpdateConsumer(context.Background(), "TICKETING", jetstream.ConsumerConfig{
		Durable: args[0], FilterSubject: "ticket:created", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: limit,
	})
	ts.Check(err)
}

// listen args... runs ticketing listen, and goes on once it listens.
func startListen(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("ticketing", append([]string{"listen"}, args...)...)
	cmd.Env = append(os.Environ(), "NATS_URL="+ts.Getenv("NATS_URL"), "NATS_CLUSTER_ID="+ts.Getenv("NATS_CLUSTER_ID"))
	var out bytes.Buffer
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(errs).ReadString('\n')
	if !strings.HasPrefix(line, "listening to ") {
		ts.Fatalf("listen said %q, %v", line, err)
	}
	serviceOf(ts).heard = func() string {
		ts.Check(cmd.Wait())
		return out.String()
	}
}

// heard waits until what listen runs has ended, and prints what it printed.
func heard(ts *testscript.TestScript, _ bool, _ []string) {
	_, err := io.WriteString(ts.Stdout(), serviceOf(ts).heard())
	ts.Check(err)
}

// outbox database makes an outbox with two parked events.
func makeOutbox(ts *testscript.TestScript, _ bool, args []string) {
	where := args[0]
	if !strings.Contains(where, "://") {
		where = ts.MkAbs(where)
	}
	ts.Check(park(where))
}

// park makes an outbox with two parked events in a database.
func park(where string) error {
	ctx := context.Background()
	db, store, err := new(database).store(where)
	if err != nil {
		return err
	}
	defer db.Close()
	s := store.(interface {
		outbox.Store
		Migrate(context.Context) error
		InTx(context.Context, func(*sql.Tx) error) error
		Tx(interface {
			ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		}) ticketing.Sender
	})
	if err := s.Migrate(ctx); err != nil {
		return err
	}
	if err := s.InTx(ctx, func(tx *sql.Tx) error {
		p := ticketing.NewPublisher[events.TicketCreated](s.Tx(tx), nil)
		for i, id := range []string{"T-1", "T-1", "T-2", "T-3"} {
			if err := p.Publish(ctx, events.TicketCreated{ID: id}, ticketing.WithID(fmt.Sprintf("event-%d", i+1))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	lease, _, err := s.Acquire(ctx, "relay", time.Minute)
	if err != nil {
		return err
	}
	if err := s.Settle(ctx, lease, outbox.Settlement{
		Parked: []outbox.Parking{
			{Ref: outbox.Ref{Seq: 1, ID: "event-1"}, Reason: "too large: \x1b[2J"},
			{Ref: outbox.Ref{Seq: 3, ID: "event-3"}, Reason: "too large"},
		},
		Waiting: []outbox.Ref{{Seq: 2, ID: "event-2"}},
	}); err != nil {
		return err
	}
	return s.Release(ctx, lease)
}

// status n args... runs the program, which has to end with status n.
func wantStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("ticketing", args[1:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}
