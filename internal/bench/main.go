// Command bench compares this module with the raw clients: what a service pays
// for it, in time and in allocations. It prints one table, with the bar that
// each measurement has to reach.
//
//	go run ./internal/bench                 everything, in some minutes
//	go run ./internal/bench -quick          a smoke test of all of it
//	go run ./internal/bench -run async      some rows
//
// Only ratios say something, because machines differ and are busy: both sides
// take turns within one process, with the same events and the same server, and
// a ratio is the median of those of the rounds. The servers run in processes of
// their own, so that what they allocate and compute is not counted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest/process"
)

func main() {
	process.Dispatch(roles) // the servers are this program, too
	if err := run(os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// settings is what the command line says.
type settings struct {
	rounds  int
	quick   bool
	check   bool
	pattern string
	profile profile
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&s.rounds, "rounds", 11, "how many `rounds` to measure; each has one turn of either side")
	f.BoolVar(&s.quick, "quick", false, "two rounds of a tenth of the events: a smoke test, its ratios say little")
	f.BoolVar(&s.check, "check", false, "fail when a bar is missed")
	f.StringVar(&s.pattern, "run", "", "measure only the rows whose name matches `regexp`")
	f.StringVar(&s.profile.cpu, "cpuprofile", "", "write a CPU profile of one row, which -run selects, to `file`")
	f.StringVar(&s.profile.mem, "memprofile", "", "write a profile of all allocations of one row to `file`")
	f.StringVar(&s.profile.side, "side", "", "run only that `side` of the rows, ours or raw, and compare nothing; with a profile the default is ours")
	if err := f.Parse(args); err != nil {
		return s, flag.ErrHelp // it has been reported
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if s.rounds < 1 {
		return s, fmt.Errorf("-rounds is %d, and has to be at least 1", s.rounds)
	}
	return s, s.profile.complete()
}

func run(args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	selected, err := choose(rows(), s.pattern)
	if err != nil {
		return err
	}
	if s.profile.wanted() && len(selected) != 1 {
		return fmt.Errorf("a profile is of one row, and -run selects %d", len(selected))
	}

	b := &bench{rounds: s.rounds, scale: 1, profile: &s.profile}
	if s.quick {
		b.rounds, b.scale = min(s.rounds, 2), 10
	}
	start := time.Now()
	var t table
	for i, r := range selected {
		fmt.Fprintf(os.Stderr, "%2d of %d  %s\n", i+1, len(selected), r.name)
		metrics, err := measure(ctx, b, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		t.add(r.name, metrics...)
	}
	fmt.Fprintln(os.Stderr)
	fmt.Printf("%s %s/%s, %d CPUs, %d rounds, %.0f s; JetStream with its file store, NATS Streaming with its memory store\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.rounds, time.Since(start).Seconds())
	t.print(os.Stdout)
	if missed := t.missed(); s.check && missed > 0 {
		return fmt.Errorf("%d bars missed", missed)
	}
	return nil
}

// row is a line, or a few, of the table: what is measured together.
type row struct {
	name    string
	measure func(context.Context, *bench) ([]metric, error)
}

// rowTimeout is more than any row takes.
const rowTimeout = 5 * time.Minute

var errTimeout = fmt.Errorf("not done after %v", rowTimeout)

func measure(ctx context.Context, b *bench, r row) ([]metric, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, rowTimeout, errTimeout)
	defer cancel()
	return r.measure(ctx, b)
}

// rows are all rows, in the table's order.
func rows() []row {
	var all []row
	for _, b := range []broker{jetStream, streaming} {
		for _, size := range []eventSize{small, large} {
			all = append(all, publishRows(b, size)...)
			all = append(all, consumeRows(b, size)...)
		}
		all = append(all, slowKeyRow(b), memoryRow(b))
	}
	return append(append(all, observeRows()...),
		row{"recorder/150B", measureRecorder},
		row{"recover/jetstream", measureRecoverJetStream},
		row{"recover/streaming", measureRecoverStreaming},
		row{"recover/cluster", measureRecoverCluster},
		row{"start/jetstream", measureStartJetStream},
		row{"start/streaming", measureStartStreaming},
		row{"linked", measureLinked},
	)
}

func choose(all []row, pattern string) ([]row, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	var chosen []row
	for _, r := range all {
		if re.MatchString(r.name) {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	msg := fmt.Sprintf("no row matches %q; there are", pattern)
	for _, r := range all {
		msg += "\n  " + r.name
	}
	return nil, errors.New(msg)
}
