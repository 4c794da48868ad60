package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/natstest"
	"github.com/ducnguyen96/ticketing-common/outbox"
	"github.com/ducnguyen96/ticketing-common/outbox/internal/faulttest"
	"github.com/ducnguyen96/ticketing-common/outbox/postgres"
)

// run runs a relay to a recorder until the test ends, or stop is called.
func run(t *testing.T, s *postgres.Store, opts *outbox.RelayOptions) (rec *natstest.Recorder, stop func()) {
	t.Helper()
	rec = new(natstest.Recorder)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := outbox.NewRelay(s, rec, opts).Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return rec, stop
}

// add commits events e<from> and so on, in order, of one key.
func add(t *testing.T, s *postgres.Store, from, n int) {
	t.Helper()
	if err := tryAdd(t, s, from, n); err != nil {
		t.Fatal(err)
	}
}

func tryAdd(t *testing.T, s *postgres.Store, from, n int) error {
	var messages []*ticketing.Message
	for i := from; i < from+n; i++ {
		messages = append(messages, faulttest.Message(fmt.Sprint("e", i), "k"))
	}
	return faulttest.Add(t.Context(), s, messages...)
}

// wantAll waits for the events e0 to e<n-1> and checks their order.
func wantAll(t *testing.T, rec *natstest.Recorder, n int) {
	t.Helper()
	first := func() (ids []string) {
		seen := make(map[string]bool)
		for _, m := range rec.Messages() {
			if !seen[m.ID] {
				seen[m.ID] = true
				ids = append(ids, m.ID)
			}
		}
		return ids
	}
	faulttest.Eventually(t, fmt.Sprint(n, " events are published"), func() bool { return len(first()) >= n })
	for i, id := range first() {
		if id != fmt.Sprint("e", i) {
			t.Fatalf("event %d is %s", i, id)
		}
	}
}

func TestRelayProcessesThatCrash(t *testing.T) {
	faulttest.RunCrashes(t, func(t *testing.T) faulttest.Harness {
		_, url := pgtest.Schema(t, pgtest.URL(t))
		s := open(t, url, nil)
		return faulttest.Harness{Role: "relay", Name: url, Store: s}
	})
}

// Without the backoff after an error in onFetched, Run ends.
func TestTheConnectionsAreTerminated(t *testing.T) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	url = pgtest.With(url, "application_name", "terminated")
	s := open(t, url, nil)
	rec, _ := run(t, s, &outbox.RelayOptions{Lease: 300 * time.Millisecond})
	for i := range 10 {
		add(t, open(t, pgtest.With(url, "application_name", "writer"), nil), i*20, 20)
		pgtest.Exec(t, pgtest.URL(t), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terminated'`)
	}
	wantAll(t, rec, 200)
}

// With a bound of pg_snapshot_xmin in the pending query nothing is published.
func TestALongTransactionInAnotherDatabaseHoldsNothingUp(t *testing.T) {
	server := pgtest.URL(t)
	name := "other_" + strings.ToLower(fmt.Sprintf("%x", time.Now().UnixNano()))
	pgtest.Exec(t, server, `CREATE DATABASE `+name)
	t.Cleanup(func() { pgtest.Exec(t, server, `DROP DATABASE `+name) })
	config, err := pgx.ParseConfig(server)
	if err != nil {
		t.Fatal(err)
	}
	config.Database = name
	other, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	if _, err := other.Exec(t.Context(), `BEGIN; CREATE TABLE t (i int); SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	_, url := pgtest.Schema(t, server)
	s := open(t, url, nil)
	rec, _ := run(t, s, nil)
	add(t, s, 0, 100)
	wantAll(t, rec, 100)
}

// Without the backoff after an error in onFetched, Run ends.
func TestTheDatabaseRestarts(t *testing.T) {
	server := pgtest.New(t)
	s := open(t, server.URL(), nil)
	rec, _ := run(t, s, &outbox.RelayOptions{Lease: time.Second})
	for i := range 3 {
		faulttest.Eventually(t, "the service gets a connection that works", func() bool { return tryAdd(t, s, i*50, 50) == nil })
		server.Stop()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	wantAll(t, rec, 150)
}

// Without the backoff after an error in the relay's acquire, Run ends.
func TestTheDatabaseTurnsReadOnly(t *testing.T) {
	server := pgtest.New(t)
	s := open(t, server.URL(), nil)
	add(t, s, 0, 50)
	readOnly := func(on string) {
		pgtest.Exec(t, pgtest.With(server.URL(), "default_transaction_read_only", "off"), `ALTER SYSTEM SET default_transaction_read_only = `+on)
		pgtest.Exec(t, server.URL(), `SELECT pg_reload_conf()`)
		db := openDB(t, server.URL())
		db.SetMaxIdleConns(-1) // each connection is a new one
		faulttest.Eventually(t, "the setting works", func() bool {
			var is string
			err := db.QueryRow(`SHOW default_transaction_read_only`).Scan(&is)
			return err == nil && is == on
		})
	}
	readOnly("on")
	if err := faulttest.Add(t.Context(), s, faulttest.Message("no", "k")); !errors.Is(err, ticketing.ErrNotSent) {
		t.Errorf("an event in a database that is read-only: %v, want not sent", err)
	}
	rec, _ := run(t, s, &outbox.RelayOptions{Lease: 300 * time.Millisecond})
	readOnly("off")
	wantAll(t, rec, 50)
	add(t, s, 50, 50)
	wantAll(t, rec, 100)
}

// Without the backoff after an error in onFetched, Run ends.
func TestTheDatabaseRunsOutOfConnections(t *testing.T) {
	server := pgtest.New(t, "max_connections=8", "superuser_reserved_connections=0")
	s := open(t, server.URL(), nil)
	add(t, s, 0, 50)
	rec, _ := run(t, s, &outbox.RelayOptions{Lease: 300 * time.Millisecond})
	wantAll(t, rec, 50)
	// Others take what they can get, and what the relay lets go of.
	var hogs []*pgx.Conn
	for full := 0; full < 3; {
		conn, err := pgx.Connect(t.Context(), server.URL())
		if err != nil {
			full++
			continue
		}
		hogs = append(hogs, conn)
	}
	if _, err := hogs[0].Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND query NOT LIKE '%pg_terminate%' AND query <> ''`); err != nil {
		t.Fatal(err)
	}
	for full := 0; full < 3; {
		conn, err := pgx.Connect(t.Context(), server.URL())
		if err != nil {
			full++
			continue
		}
		hogs = append(hogs, conn)
	}
	for _, conn := range hogs {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// The pool still has connections that were ended, and tells when it uses
	// them; the same ids make the same rows.
	for tries := 0; ; tries++ {
		err := tryAdd(t, s, 50, 50)
		if err == nil {
			break
		}
		if tries == 10 {
			t.Fatal(err)
		}
	}
	wantAll(t, rec, 100)
}

// With numbers from pg_current_xact_id, instead of the table's own sequence, new
// events go before old ones.
func TestADumpIsRestoredIntoANewCluster(t *testing.T) {
	var programs [2]string
	for i, name := range []string{"pg_dump", "psql"} {
		path, err := pgtest.Binary(name)
		if err != nil {
			t.Skip(name + " is missing")
		}
		programs[i] = path
	}
	old := pgtest.New(t)
	s := open(t, old.URL(), nil)
	// The old cluster is far ahead in what a cluster counts.
	add(t, s, 0, 20)
	rec, stop := run(t, s, nil)
	wantAll(t, rec, 20)
	stop()
	for i := range 100 {
		add(t, s, 20+i, 1)
	}
	dump, err := exec.Command(programs[0], old.URL()).Output()
	if err != nil {
		t.Fatal(err)
	}
	fresh := pgtest.New(t)
	restore := exec.Command(programs[1], "-q", "-v", "ON_ERROR_STOP=1", fresh.URL())
	restore.Stdin = bytes.NewReader(dump)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s = open(t, fresh.URL(), nil)
	add(t, s, 120, 10)
	again, _ := run(t, s, nil)
	faulttest.Eventually(t, "all are published", func() bool { return len(again.Messages()) == 110 })
	for i, m := range again.Messages() {
		if m.ID != fmt.Sprint("e", 20+i) {
			t.Fatalf("event %d is %s", i, m.ID)
		}
	}
}

// The clock of the database is an hour ahead of the application's. With that one
// in acquire, the lease of one that died lasts an hour.
func TestTheDatabasesClockIsAnHourOff(t *testing.T) {
	schema, url := pgtest.Schema(t, pgtest.URL(t))
	pgtest.Exec(t, url, `CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
		AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$`)
	s := open(t, pgtest.With(pgtest.URL(t), "search_path", schema+",pg_catalog"), nil)
	if _, ok, err := s.Acquire(t.Context(), "one that died", 300*time.Millisecond); err != nil || !ok {
		t.Fatal(ok, err)
	}
	rec, stop := run(t, s, &outbox.RelayOptions{Lease: 300 * time.Millisecond})
	add(t, s, 0, 10)
	wantAll(t, rec, 10)
	other, _ := run(t, s, nil) // stands by
	add(t, s, 10, 10)
	wantAll(t, rec, 20)
	if st, err := s.Stats(t.Context()); err != nil || st.Lease <= 0 || st.Lease > time.Second {
		t.Errorf("the lease lasts %v, %v", st.Lease, err)
	}
	stop()
	add(t, s, 20, 1)
	faulttest.Eventually(t, "the other takes over", func() bool { return len(other.Messages()) == 1 })
}

// Without LockKeys in the sender's insert the second does not wait.
func TestKeysAreLockedUntilTheTransactionEnds(t *testing.T) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	s := open(t, url, &postgres.Options{LockKeys: true})
	db := openDB(t, url)
	first, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := faulttest.Send(t.Context(), s.Tx(first), faulttest.Message("first", "k")); err != nil {
		t.Fatal(err)
	}
	defer first.Rollback() //nolint:errcheck // it may be committed
	second := make(chan error, 1)
	go func() {
		second <- faulttest.Add(t.Context(), s, faulttest.Message("second", "k"))
	}()
	if err := faulttest.Add(t.Context(), s, faulttest.Message("other", "l")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-second:
		t.Fatalf("a second transaction of the key was let in: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

func TestTheSchemaIsIdempotent(t *testing.T) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	pgtest.Exec(t, url, open(t, url, nil).Schema())
}

func TestNamesAreChecked(t *testing.T) {
	db := openDB(t, "postgres://127.0.0.1:1/none")
	for _, opts := range []*postgres.Options{{Table: `a"b`}, {Schema: "a.b"}} {
		if _, err := postgres.New(db, opts); err == nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
	if _, err := postgres.New(nil, nil); err == nil {
		t.Error("no database was accepted")
	}
}

// A key may be in a table that no index of it takes: it was written by hand, or
// before keys were bounded.
func TestAKeyThatIsTooLongForItsIndexHoldsUpNoOther(t *testing.T) {
	_, url := pgtest.Schema(t, pgtest.URL(t))
	s := open(t, url, nil)
	pgtest.Exec(t, url, `INSERT INTO outbox (id, key, subject, time, data)
		SELECT 'bad', string_agg(md5(i::text), ''), 'ticket:created', now(), '{}' FROM generate_series(1, 300) i`)
	add(t, s, 0, 100)
	to := ticketing.SendFunc(func(ctx context.Context, m *ticketing.Message) error {
		if m.ID == "bad" {
			return ticketing.NewPublishError(ticketing.OutcomeRejected, m, ticketing.ErrInvalidEvent)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := outbox.NewRelay(s, to, nil).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	faulttest.Eventually(t, "the others are published, and gone", func() bool {
		st, err := s.Stats(t.Context())
		return err == nil && st.Published == 100 && st.Pending == 1
	})
}
