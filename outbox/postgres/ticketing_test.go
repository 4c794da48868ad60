package postgres_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/events"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/outbox"
)

// cmd/ticketing is tested with SQLite beside its source. Here it meets
// PostgreSQL.
func TestTheCommandLineToolLooksAfterAnOutbox(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	schema, url := pgtest.Schema(t, pgtest.URL(t))
	s := open(t, url, nil)
	err := s.InTx(t.Context(), func(tx *sql.Tx) error {
		return ticketing.NewPublisher[events.TicketCreated](s.Tx(tx), nil).Publish(t.Context(), events.TicketCreated{ID: "T-1"}, ticketing.WithID("event-1"))
	})
	if err != nil {
		t.Fatal(err)
	}
	var seq int64
	for row, err := range s.Pending(t.Context(), outbox.Query{Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		seq = row.Seq
	}
	epoch, _, err := s.Acquire(t.Context(), "relay", time.Minute)
	if err == nil {
		err = s.Settle(t.Context(), epoch, outbox.Settlement{Parked: []outbox.Parking{{Seq: seq, Reason: "too large"}}})
	}
	if err != nil {
		t.Fatal(err)
	}

	program := filepath.Join(t.TempDir(), "ticketing")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/ticketing").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, step := range []struct {
		args   string
		status int
		want   string
	}{
		{"outbox parked --json", 0, `{"id":"event-1","subject":"ticket:created","key":"T-1",`},
		{"outbox requeue event-1", 0, "requeued 1"},
		{"outbox requeue event-1", 5, "no such parked event"},
		{"outbox stats --json --schema " + schema, 0, `{"pending":1,`},
		{"outbox stats --table other", 1, "the outbox tables are missing"},
	} {
		cmd := exec.Command(program, strings.Fields(step.args)...)
		cmd.Env = append(os.Environ(), "DATABASE_URL="+url)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		status := 0
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != step.status || !strings.Contains(out.String(), step.want) {
			t.Errorf("ticketing %s: status %d\n%s\nwant status %d and %s", step.args, status, &out, step.status, step.want)
		}
	}
}
