package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) (code int) {
	a := &app{in: in, out: out, errs: errs}
	cmd := a.command()
	cmd.SetArgs(withDashes(args))
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	if err != nil && !a.begun {
		err = usage(err)
	}
	return a.exit(ctx, err)
}

// withDashes takes -json, as Go's own tools have it, for --json.
func withDashes(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		switch arg {
		case "--":
			return args
		case "-json":
			args[i] = "--json"
		}
	}
	return args
}

// app is one run of the program.
type app struct {
	in        io.Reader
	out, errs io.Writer
	json      bool
	verbose   bool
	begun     bool // the arguments were right
}

func (a *app) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ticketing",
		Short: "Look after the events of services",
		Long: `Look after the events of services: dead letters, outboxes, live events, and
what is wrong with a configuration. The connection is configured by the
services' own environment variables, first of all NATS_URL.

Exit status: 0 done, 1 failed, 2 wrong arguments or configuration, 3 no server
answers, 4 credentials refused or not permitted, 5 nothing of that name,
130 interrupted.`,
		Example: `  export NATS_URL=nats://nats-srv:4222
  ticketing doctor
  ticketing dead list --group orders-srv --since 24h
  ticketing dead replay orders-srv/ticket:created/7
  ticketing listen ticket:created`,
		Version:       version(debug.ReadBuildInfo()),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.begun = true
		},
	}
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object a line, for scripts")
	cmd.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what happens to the connection")
	cmd.AddCommand(a.dead(), a.outbox(), a.listen(), a.publish(), a.doctor())
	return cmd
}

// version is the module's, with the revision where a work tree was built.
func version(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "unknown"
	}
	v := cmp.Or(info.Main.Version, "(devel)")
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += ", revision " + s.Value
		}
	}
	return v
}

// parent is a command that only has others below it.
func parent(use, short, example string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return errNoCommand
		},
	}
	cmd.AddCommand(children...)
	return cmd
}
