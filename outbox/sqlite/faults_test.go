package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/natstest/process"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

func TestRelayProcessesThatCrash(t *testing.T) {
	faulttest.RunCrashes(t, func(t *testing.T) faulttest.Harness {
		path := filepath.Join(t.TempDir(), "test.db")
		s := open(t, openDB(t, path))
		return faulttest.Harness{Role: "relay", Name: path, Store: s}
	})
}

// Without ErrUpgrade in the sender's send it is told only that the database is
// locked.
func TestATransactionThatReadFirstIsToldWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := openDB(t, path)
	s := open(t, db)
	for name, write := range map[string]func() (end func()){
		"another has written": func() func() {
			if err := faulttest.Add(t.Context(), s, faulttest.Message("other", "k")); err != nil {
				t.Fatal(err)
			}
			return func() {}
		},
		"another is writing": func() func() {
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			if err := faulttest.Send(t.Context(), s.Tx(tx), faulttest.Message("others", "k")); err != nil {
				t.Fatal(err)
			}
			return func() { _ = tx.Rollback() }
		},
	} {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM outbox`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		end := write()
		begun := time.Now()
		err = faulttest.Send(t.Context(), s.Tx(tx), faulttest.Message("mine", "k"))
		if !errors.Is(err, sqlite.ErrUpgrade) || !errors.Is(err, ticketing.ErrNotSent) || !errors.Is(err, ticketing.ErrTransaction) {
			t.Errorf("%s: %v, want ErrUpgrade, not sent, because of the transaction", name, err)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		end()
		_ = tx.Rollback()
	}
}

// asking counts how often a relay has asked for the lease.
type asking struct {
	outbox.Store
	asked atomic.Int32
}

func (a *asking) Acquire(ctx context.Context, holder string, d time.Duration) (outbox.Lease, bool, error) {
	a.asked.Add(1)
	return a.Store.Acquire(ctx, holder, d)
}

// Without the backoff after an error in the relay's acquire, Run ends.
func TestTheDatabaseTurnsReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := openDB(t, path)
	db.SetMaxOpenConns(1) // the setting is the connection's
	s := open(t, db)
	readOnly := func(on string) {
		if _, err := db.Exec(`PRAGMA query_only = ` + on); err != nil {
			t.Fatal(err)
		}
	}
	if err := faulttest.Add(t.Context(), s, faulttest.Message("a", "k")); err != nil {
		t.Fatal(err)
	}
	readOnly("ON")
	if err := faulttest.Add(t.Context(), s, faulttest.Message("no", "k")); err == nil {
		t.Error("an event was written into a database that is read-only")
	}
	var rec natstest.Recorder
	store := &asking{Store: s}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := outbox.NewRelay(store, &rec, nil).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	faulttest.Eventually(t, "the relay tries on", func() bool { return store.asked.Load() > 1 })
	readOnly("OFF")
	faulttest.Eventually(t, "the event is published", func() bool { return len(rec.Messages()) == 1 })
}

// busyless has no busy timeout: what waits, waits in the store.
const busyless = "?_pragma=journal_mode(WAL)"

func TestInTxTakesTheWriteLockAtItsBeginning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	open(t, openDB(t, path))
	db, err := sql.Open("sqlite", path+busyless)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := sqlite.New(db, &sqlite.Options{BusyTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	other, err := sqlite.New(db, &sqlite.Options{BusyTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	inside, release := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		err := outbox.InTx(t.Context(), s, func(tx *sql.Tx) error {
			var n int
			if err := tx.QueryRow(`SELECT count(*) FROM outbox`).Scan(&n); err != nil { // reads first
				return err
			}
			close(inside)
			<-release
			ended.Store(true)
			return faulttest.Send(t.Context(), s.Tx(tx), faulttest.Message("a", "k"))
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	// As another process would: its turns are not those of s.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	err = outbox.InTx(ctx, other, func(*sql.Tx) error { return errors.New("it was let in") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second writer: %v, want that it waits until its ctx ends", err)
	}
	cancel()
	wg.Go(func() {
		err := outbox.InTx(t.Context(), other, func(tx *sql.Tx) error {
			if !ended.Load() {
				t.Error("a second writer was let in")
			}
			return faulttest.Send(t.Context(), other.Tx(tx), faulttest.Message("b", "k"))
		})
		if err != nil {
			t.Error(err)
		}
	})
	close(release)
	wg.Wait()
	st, err := s.Stats(t.Context())
	if err != nil || st.Pending != 2 {
		t.Errorf("%+v, %v, want both events", st, err)
	}
}

func TestInTxWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	s := open(t, openDB(t, filepath.Join(t.TempDir(), "test.db")))
	err := outbox.InTx(t.Context(), s, func(*sql.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		return outbox.InTx(ctx, s, func(*sql.Tx) error { return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the ctx's error", err)
	}
}

// writer is a process that writes events, each in a transaction of its own.
func writer(ctx context.Context) error {
	db, err := sql.Open("sqlite", os.Getenv("STORE")+busyless)
	if err != nil {
		return err
	}
	s, err := sqlite.New(db, nil)
	if err != nil {
		return err
	}
	process.Ready(ctx, "")
	for i := range perWriter {
		err := faulttest.Add(ctx, s, faulttest.Message(fmt.Sprintf("%s-%03d", os.Getenv("NAME"), i), os.Getenv("NAME")))
		if err != nil {
			return err
		}
	}
	return nil
}

const perWriter = 100

// Without the tries of inTx a writer meets another one and gives up.
func TestSeveralProcessesWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, openDB(t, path))
	var rec natstest.Recorder
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := outbox.NewRelay(s, &rec, nil).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var writers []*process.Process
	for i := range 3 {
		writers = append(writers, process.Run(t, "writer", process.Env("STORE="+path, fmt.Sprint("NAME=w", i))))
	}
	for _, w := range writers {
		if err := w.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(60 * time.Second); len(rec.Messages()) < 3*perWriter; {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d events were published, want %d", len(rec.Messages()), 3*perWriter)
		}
	}
	last := make(map[string]string)
	for _, m := range rec.Messages() {
		if m.ID <= last[m.Key] {
			t.Errorf("%s was published after %s", m.ID, last[m.Key])
		}
		last[m.Key] = m.ID
	}
}

func TestALongReadHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := openDB(t, path)
	s := open(t, db)
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback() //nolint:errcheck // it has only read
	var n int
	if err := reader.QueryRow(`SELECT count(*) FROM outbox`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := faulttest.Add(t.Context(), s, faulttest.Message(fmt.Sprint(i), "k")); err != nil {
			t.Fatal(err)
		}
	}
	var rec natstest.Recorder
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err = outbox.NewRelay(s, ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		err := faulttest.Send(ctx, &rec, m)
		if len(rec.Messages()) == 100 {
			cancel()
		}
		return err
	}), nil).Run(ctx)
	if err != nil || len(rec.Messages()) != 100 {
		t.Errorf("%d events were published, %v", len(rec.Messages()), err)
	}
}

func TestATableThatIsMissingOrOfAnotherVersionSaysWhatToDo(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	s := store(t, db)
	if err := outbox.InTx(t.Context(), s, func(*sql.Tx) error { return nil }); !errors.Is(err, outbox.ErrNotMigrated) {
		t.Errorf("InTx: %v, want ErrNotMigrated", err)
	}
	if err := faulttest.Send(t.Context(), s.Tx(db), faulttest.Message("a", "k")); !errors.Is(err, outbox.ErrNotMigrated) {
		t.Errorf("an event: %v, want ErrNotMigrated", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE outbox_relay SET version = 2`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Acquire(t.Context(), "a", time.Second); !errors.Is(err, outbox.ErrNotMigrated) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("another version: %v", err)
	}
}

func TestNamesAreCheckedAndQuoted(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	if _, err := sqlite.New(db, &sqlite.Options{Table: `a"b`}); err == nil {
		t.Error("a name with a quote was accepted")
	}
	if _, err := sqlite.New(nil, nil); err == nil {
		t.Error("no database was accepted")
	}
	s, err := sqlite.New(db, &sqlite.Options{Table: "select"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stats(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := db.Exec(s.Schema()); err != nil {
		t.Errorf("the schema is not idempotent: %v", err)
	}
}
