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
	"github.com/ducnguyen96/ticketing-common/outbox/internal/crashtest"
	"github.com/ducnguyen96/ticketing-common/outbox/sqlite"
)

func message(id, key string) *ticketing.Message {
	return &ticketing.Message{ID: id, Key: key, Subject: ticketing.SubjectTicketCreated, Time: time.Now(), Data: []byte("{}")}
}

func send(ctx context.Context, s ticketing.Sender, m *ticketing.Message) (err error) {
	s.Send(ctx, m, func(e error) { err = e })
	return err
}

func TestRelayProcessesThatCrash(t *testing.T) {
	crashtest.Run(t, func(t *testing.T) crashtest.Harness {
		path := filepath.Join(t.TempDir(), "test.db")
		s := open(t, openDB(t, path))
		return crashtest.Harness{
			Role: "relay", Name: path, Store: s,
			Add: func(ctx context.Context, messages []*ticketing.Message) error {
				return outbox.InTx(ctx, s, func(tx *sql.Tx) error {
					for _, m := range messages {
						if err := send(ctx, s.Tx(tx), m); err != nil {
							return err
						}
					}
					return nil
				})
			},
		}
	})
}

func TestATransactionThatReadFirstIsToldWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := openDB(t, path)
	s := open(t, db)
	for name, write := range map[string]func() (end func()){
		"another has written": func() func() {
			if err := outbox.InTx(t.Context(), s, func(tx *sql.Tx) error { return send(t.Context(), s.Tx(tx), message("other", "k")) }); err != nil {
				t.Fatal(err)
			}
			return func() {}
		},
		"another is writing": func() func() {
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			if err := send(t.Context(), s.Tx(tx), message("others", "k")); err != nil {
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
		err = send(t.Context(), s.Tx(tx), message("mine", "k"))
		if !errors.Is(err, sqlite.ErrUpgrade) || !errors.Is(err, ticketing.ErrNotSent) {
			t.Errorf("%s: %v, want ErrUpgrade, not sent", name, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		end()
		_ = tx.Rollback()
	}
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
			return send(t.Context(), s.Tx(tx), message("a", "k"))
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
			return send(t.Context(), other.Tx(tx), message("b", "k"))
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
		err := outbox.InTx(ctx, s, func(tx *sql.Tx) error {
			return send(ctx, s.Tx(tx), message(fmt.Sprintf("%s-%03d", os.Getenv("NAME"), i), os.Getenv("NAME")))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const perWriter = 100

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
	for limit := time.After(30 * time.Second); len(rec.Messages()) < 3*perWriter; {
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
		if err := outbox.InTx(t.Context(), s, func(tx *sql.Tx) error { return send(t.Context(), s.Tx(tx), message(fmt.Sprint(i), "k")) }); err != nil {
			t.Fatal(err)
		}
	}
	var rec natstest.Recorder
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = outbox.NewRelay(s, ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		err := send(ctx, &rec, m)
		if len(rec.Messages()) == 100 {
			cancel()
		}
		return err
	}), nil).Run(ctx)
	if err != nil || len(rec.Messages()) != 100 {
		t.Errorf("%d events were published, %v", len(rec.Messages()), err)
	}
}

func TestRunSaysThatTheTablesAreMissing(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	s, err := sqlite.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := outbox.NewRelay(s, new(natstest.Recorder), nil).Run(t.Context()); !errors.Is(err, outbox.ErrNotMigrated) {
		t.Errorf("Run: %v, want ErrNotMigrated", err)
	}
	err = outbox.InTx(t.Context(), s, func(*sql.Tx) error { return nil })
	if !errors.Is(err, outbox.ErrNotMigrated) {
		t.Errorf("InTx: %v, want ErrNotMigrated", err)
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

func TestNamesAreChecked(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "test.db"))
	for _, name := range []string{`a"b`, "a b", "Outbox", "1a", "a-b", strings.Repeat("a", 41), "é"} {
		if _, err := sqlite.New(db, &sqlite.Options{Table: name}); err == nil {
			t.Errorf("table %q was accepted", name)
		}
	}
	if _, err := sqlite.New(nil, nil); err == nil {
		t.Error("no database was accepted")
	}
	s, err := sqlite.New(db, &sqlite.Options{Table: "select"}) // quoted
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
