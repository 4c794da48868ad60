package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// doctorTimeout bounds an inspection.
const doctorTimeout = 30 * time.Second

func (a *app) doctor() *cobra.Command {
	var subjects []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the configuration and the broker",
		Long: `Say what is wrong with the configuration and the broker, without changing
anything: whether the connection can be made, on NATS Streaming whether the
client id is free, and on JetStream whether the stream stores the subjects, dead
letters have a place, and the groups' consumers are as listeners need them. A
consumer with a max_deliver of the broker's parks events in silence. The exit
status is 1 where something has to be changed.`,
		Example: `  ticketing doctor
  ticketing doctor --subject ticket:created --subject deposit:received`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			for _, s := range subjects {
				checked, err := subject(s)
				if err != nil {
					return err
				}
				cfg.Subjects = append(cfg.Subjects, checked)
			}
			return a.inspect(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringSliceVarP(&subjects, "subject", "s", nil, "a subject that the service uses (default: the catalogue's)")
	_ = cmd.RegisterFlagCompletionFunc("subject", completeSubjects)
	return cmd
}

// finding is one line of doctor in JSON.
type finding struct {
	Level  string `json:"level"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
}

func (a *app) inspect(ctx context.Context, cfg natswrap.Config) error {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	found := natswrap.Inspect(ctx, cfg)
	if os.Getenv("NATS_CLIENT_ID") == "" {
		found = append(found, natswrap.Finding{
			Check: "client id", Level: slog.LevelWarn, Detail: "NATS_CLIENT_ID is not set; this program does without, and no service does",
		})
	}
	var failed error
	t := newTable(discardIf(a.json, a.out), "", "CHECK", "FINDING")
	for _, f := range found {
		level := "ok"
		switch {
		case f.Level >= slog.LevelError:
			level, failed = "FAIL", errFindings
		case f.Level >= slog.LevelWarn:
			level = "warn"
		}
		if a.json {
			if err := a.printJSON(finding{level, f.Check, f.Detail}); err != nil {
				return err
			}
			continue
		}
		t.row(level, f.Check, oneLine(f.Detail))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return failed
}

// completeSubjects completes the catalogue's subjects.
func completeSubjects(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, s := range ticketing.Subjects() {
		all = append(all, string(s))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}
