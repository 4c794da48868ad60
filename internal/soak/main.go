// Command soak publishes and listens for minutes while a schedule kills,
// suspends and cuts the servers, and then says what became of every event.
//
//	go run ./internal/soak                    ten minutes of JetStream
//	go run ./internal/soak -short             twenty seconds, for CI
//	go run ./internal/soak -backend stan      NATS Streaming
//	go run ./internal/soak -seed 42           the schedule of an earlier run
//
// The servers are processes of their own: on JetStream a cluster of three, with
// the events in a stream with three replicas. Clients reach them through
// proxies. The schedule leaves a majority of the servers alone, unless
// -lose-quorum is given.
//
// It exits with status 1 when one of the counts that have to be zero is not. An
// interrupt ends the faults early, and the events are checked all the same; a
// second one ends it at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// roles are what this program's children do.
var roles = process.Roles{
	roleNATS: natsserver.Role(),
	roleStan: stanserver.Role(stanserver.FileStore()),
}

const (
	roleNATS = "nats"
	roleStan = "stan"
)

func main() {
	process.Dispatch(roles)
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // the second signal is not caught
		err = run(ctx, s, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// settings is what the command line says.
type settings struct {
	lasts      time.Duration
	seed       uint64
	backend    natswrap.Backend
	rate       int // events a second and publisher
	loseQuorum bool
	verbose    bool
}

// shortRun is how long -short takes, without the start and the check.
const shortRun = 20 * time.Second

func parse(args []string) (settings, error) {
	var s settings
	var short bool
	var backend string
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.DurationVar(&s.lasts, "for", 10*time.Minute, "how `long` there are faults")
	f.Uint64Var(&s.seed, "seed", 0, "the schedule's `number`; 0 chooses one")
	f.StringVar(&backend, "backend", string(natswrap.JetStream), "`jetstream` or stan")
	f.IntVar(&s.rate, "rate", 100, "how many `events` a second each publisher publishes")
	f.BoolVar(&short, "short", false, fmt.Sprintf("%v of faults", shortRun))
	f.BoolVar(&s.loseQuorum, "lose-quorum", false, "let two servers be down at a time")
	f.BoolVar(&s.verbose, "v", false, "print what the clients log")
	if err := f.Parse(args); err != nil {
		return s, flag.ErrHelp // it has been reported
	}
	if short {
		s.lasts = shortRun
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	s.backend = natswrap.Backend(backend)
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.backend != natswrap.JetStream && s.backend != natswrap.Stan:
		return s, fmt.Errorf("-backend is %q, and has to be %q or %q", backend, natswrap.JetStream, natswrap.Stan)
	case s.lasts < 0 || s.rate < 1:
		return s, errors.New("-for cannot be negative, and -rate has to be at least 1")
	}
	return s, nil
}

func (s settings) logger() *slog.Logger {
	if s.verbose {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// How long what follows the faults may take.
const (
	startTimeout = 2 * time.Minute
	drainTimeout = 2 * time.Minute
)

// run does all of it. The error of a run that went to its end says that a count
// is not zero.
func run(ctx context.Context, s settings, out io.Writer) error {
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := startBroker(s, dir)
	if err != nil {
		return err
	}
	defer b.stop()

	steps := plan(s.seed, s.lasts, len(b.servers), s.loseQuorum)
	fmt.Fprintf(out, "%s, %v of faults, seed %d\n", s.backend, s.lasts, s.seed)
	before := measure()
	l := newLedger()
	stored, err := soak(ctx, s, b, steps, l, out)
	if err != nil {
		return err
	}
	r := check(l, stored, b.dedupes)
	r.compare(before, measureAgain(before))
	fmt.Fprintln(out)
	printSteps(out, steps)
	fmt.Fprintln(out)
	r.print(out)
	if !r.good() {
		return fmt.Errorf("a count that has to be zero is not; -seed %d replays the schedule", s.seed)
	}
	return nil
}

// soak is the time between the two measurements: it returns what is stored in
// the end, with all clients closed.
func soak(ctx context.Context, s settings, b *broker, steps []step, l *ledger, out io.Writer) ([]Entry, error) {
	up, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := startClients(up, s, b, l)
	if err != nil {
		return nil, err
	}
	err = b.inflict(ctx, steps, out)
	if err = errors.Join(err, b.heal()); err != nil {
		c.close()
		return nil, err
	}
	// From here on an interrupt is not to spoil the result.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	c.stopPublishers()
	stored, err := b.drained(drain, l)
	c.close()
	if err != nil {
		return nil, fmt.Errorf("what is stored cannot be read: %w", err)
	}
	return stored, nil
}
