package main

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/deadletter"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

var errFull = errors.New("no space left on device")

// full is a standard output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWhatCannotBePrintedIsAnError(t *testing.T) {
	url := natsserver.Run(t).URL()
	t.Setenv("NATS_URL", url)
	t.Setenv("NATS_CLIENT_ID", "orders-0")
	twoDeadLetters(t, url)
	db := filepath.Join(t.TempDir(), "tickets.db")
	if err := errors.Join(os.WriteFile(db, nil, 0o600), park(db)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABASE_URL", db)
	for _, command := range []string{
		"--version",
		"dead list",
		"dead show orders-srv/ticket:created/1",
		"dead show orders-srv/ticket:created/1 --raw",
		"outbox stats",
		"outbox parked",
		"outbox requeue event-1",
		"listen ticket:created --since 1h --count 1",
		`publish expiration:complete '{"orderId":"O-1"}'`,
		"doctor",
		"dead replay orders-srv/ticket:created/1",
		"dead discard orders-srv/ticket:created/2",
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), words(command), nil, full{}, &errs); code == 0 || !strings.Contains(errs.String(), errFull.Error()) {
			t.Errorf("%s: status %d, %q", command, code, &errs)
		}
	}
}

func TestATableEndsWhereItCannotBePrinted(t *testing.T) {
	const many = 10 * flushEvery
	read := 0
	err := (&app{out: full{}}).list(func(yield func(*deadletter.Letter, error) bool) {
		for ; read < many && yield(&deadletter.Letter{}, nil); read++ {
		}
	})
	if !errors.Is(err, errFull) || read == many {
		t.Errorf("error %v after %d", err, read)
	}
}

func TestWhatWasReadBeforeAnErrorIsPrinted(t *testing.T) {
	lost := errors.New("connection lost")
	for name, list := range map[string]func(a *app) error{
		"dead letters": func(a *app) error {
			return a.list(until(lost, &deadletter.Letter{Ref: deadletter.Ref{Group: "first"}}))
		},
		"parked events": func(a *app) error {
			return a.listParked(until(lost, outbox.Parked{Row: outbox.Row{Message: ticketing.Message{ID: "first"}}}))
		},
	} {
		for _, asJSON := range []bool{false, true} {
			var out, errs bytes.Buffer
			err := list(&app{out: &out, errs: &errs, json: asJSON})
			if !errors.Is(err, lost) || !strings.Contains(out.String(), "first") || errs.Len() > 0 {
				t.Errorf("%s, JSON %t: error %v, printed %q and %q", name, asJSON, err, &out, &errs)
			}
		}
	}
}

// until yields one, then an error.
func until[E any](err error, first E) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		_ = yield(first, nil) && yield(none, err)
	}
}
