// Banking tells the story of a deposit that is booked while the broker is
// away, in three ways beside each other: the event not awaited, awaited, and
// written into an outbox. A transaction service takes deposits, an accounts
// service keeps the balances, and the broker between them is killed and
// started again:
//
//	go run ./examples/banking
//	go run ./examples/banking -backend=stan
//	go run ./examples/banking -db postgres://user@host/database
//
// The status is 0 when the third way kept every deposit, and credited it once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

func main() {
	// What is to be killed is a process of its own: this program again.
	process.Dispatch(process.Roles{
		string(natswrap.JetStream): natsserver.Role(),
		string(natswrap.Stan):      stanserver.Role(stanserver.FileStore()),
		accountsRole:               runAccounts,
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// timeout bounds the whole program, which takes some seconds.
const timeout = 2 * time.Minute

// run is the program. It returns its status: 0 when every deposit of the third
// way was kept and credited once, 1 when not, 2 when the flags are wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("banking", flag.ContinueOnError)
	flags.SetOutput(stderr)
	backend := flags.String("backend", string(natswrap.JetStream), "the `broker`: jetstream or stan")
	db := flags.String("db", "", "the `URL` of a PostgreSQL database, where schemas are made and dropped; default SQLite, in temporary files")
	verbose := flags.Bool("v", false, "print the services' logs")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if *backend != string(natswrap.JetStream) && *backend != string(natswrap.Stan) {
		fmt.Fprintf(stderr, "banking: unknown backend %q: it is jetstream or stan\n", *backend)
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kept, err := banking(ctx, options{natswrap.Backend(*backend), *db, *verbose, stdout, stderr})
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "banking:", err)
		return 1
	case !kept:
		return 1
	}
	return 0
}

type options struct {
	backend        natswrap.Backend
	db             string // a URL of PostgreSQL, or empty
	verbose        bool
	stdout, stderr io.Writer
}

// banking tells the story in each way, prints the table, and reports whether
// the last way kept every deposit.
func banking(ctx context.Context, o options) (kept bool, err error) {
	dir, err := os.MkdirTemp("", "banking")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dbs, err := openDatabases(ctx, o.db, dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, dbs.close()) }()
	fmt.Fprintf(o.stdout, "broker: %s, a process of its own; databases: %s\n", o.backend, dbs.kind())

	var outcomes []outcome
	for i, w := range ways {
		fmt.Fprintf(o.stdout, "\n%s: %s\n", w.name, w.how)
		name := fmt.Sprintf("way%d", i+1)
		s := stage{options: o, way: w, name: name, dir: filepath.Join(dir, name), dbs: dbs}
		out, err := s.tell(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", w.name, err)
		}
		outcomes = append(outcomes, out)
	}
	fmt.Fprintln(o.stdout)
	if err := printTable(o.stdout, outcomes); err != nil {
		return false, err
	}
	return outcomes[len(outcomes)-1].kept(), nil
}

// logger is what the services log to.
func logger(verbose bool, to io.Writer) *slog.Logger {
	if !verbose {
		return slog.New(slog.DiscardHandler) // the output is the example
	}
	return slog.New(slog.NewTextHandler(to, nil))
}
