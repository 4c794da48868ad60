package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/natstest/stanserver"
	"github.com/ducnguyen96/ticketing-common/natswrap"
)

// An interrupt is how one ends listen, except where it was to wait for more.
func TestAnInterruptedListenIsStatus130WhereItsCountIsNotReached(t *testing.T) {
	for name, start := range map[string]func(t *testing.T){
		"JetStream": func(t *testing.T) { t.Setenv("NATS_URL", natsserver.Run(t).URL()) },
		"NATS Streaming": func(t *testing.T) {
			s := stanserver.Run(t)
			t.Setenv("NATS_URL", s.URL())
			t.Setenv("NATS_CLUSTER_ID", s.ClusterID())
		},
	} {
		t.Run(name, func(t *testing.T) {
			start(t)
			publishTwo(t)
			for count, want := range map[string]int{"3": exitInterrupted, "2": 0, "0": 0} {
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				var errs bytes.Buffer
				out := &lines{after: 2, do: interrupt}
				code := run(ctx, []string{"listen", "ticket:created", "--since", "1h", "-n", count}, nil, out, &errs)
				if code != want || strings.Contains(errs.String(), "interrupted after 2 of 3 events") != (want != 0) {
					t.Errorf("status %d with the count %s, want %d: %s", code, count, want, &errs)
				}
			}
		})
	}
}

// publishTwo publishes two events as a service, which makes the stream.
func publishTwo(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg, err := new(app).config()
	if err != nil {
		t.Fatal(err)
	}
	cfg.ClientID, cfg.Logger = "tickets-0", quiet
	c, err := natswrap.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	p := ticketing.NewPublisher[events.TicketCreated](c, nil)
	for _, id := range []string{"T-1", "T-2"} {
		if err := p.Publish(ctx, events.TicketCreated{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
}

// lines is an output that does something after a number of lines.
type lines struct {
	after int
	do    func()
}

func (l *lines) Write(p []byte) (int, error) {
	if l.after -= bytes.Count(p, []byte("\n")); l.after == 0 {
		l.do()
	}
	return len(p), nil
}
