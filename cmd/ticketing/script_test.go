package main

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ducnguyen96/ticketing-common/internal/pgtest"
	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
)

func TestDeadLettersAreListedShownReplayedAndDiscarded(t *testing.T) { onBoth(t, "dead") }

func TestDoctorFindsWhatIsWrongOnJetStream(t *testing.T) { onJetStream(t, "doctor_jetstream") }

func TestDoctorLooksAtNATSStreaming(t *testing.T) { onStan(t, "doctor_streaming") }

func TestWhatIsPublishedIsHeardAndTakenFromNobody(t *testing.T) { onBoth(t, "live") }

func TestEveryEnvelopeNamesTheSameSource(t *testing.T) { onBoth(t, "envelope") }

func TestAnOutboxIsLookedAfter(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		runScripts(t, []string{"outbox"}, func(env *testscript.Env) error {
			env.Setenv("SCHEME", "sqlite:")
			env.Setenv("DB", "tickets.db")
			return os.WriteFile(filepath.Join(env.WorkDir, "tickets.db"), nil, 0o600)
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := pgtest.New(t)
		askPassword(t, server)
		for _, script := range []string{"outbox", "outbox_schema", "outbox_postgres"} {
			schema, address := pgtest.Schema(t, server.URL())
			at, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			runScripts(t, []string{script}, func(env *testscript.Env) error {
				env.Setenv("DB", address)
				env.Setenv("SCHEMA", schema)
				env.Setenv("HOST", at.Hostname())
				env.Setenv("PORT", at.Port())
				return nil
			})
		}
	})
}

// askPassword makes the role guest, which may connect with a password and has
// no other right. The server reads whom it asks for one when it starts.
func askPassword(t *testing.T, s *pgtest.Server) {
	pgtest.Exec(t, s.URL(), `CREATE ROLE guest LOGIN PASSWORD 'right'`)
	pgtest.Exec(t, s.URL(), `DO $$ BEGIN EXECUTE format(
		'COPY (VALUES (''host all guest all scram-sha-256''), (''host all all all trust'')) TO %L',
		current_setting('hba_file')); END $$`)
	s.Stop()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestMistakesAreASentenceAndAnExitStatus(t *testing.T) {
	runScripts(t, []string{"arguments"}, func(*testscript.Env) error { return nil })
}

func TestRefusedCredentialsAreASentenceAndAnExitStatus(t *testing.T) {
	s := natsserver.Run(t, natsserver.Configure(func(o *natsd.Options) { o.Username, o.Password = "root", "right" }))
	runScripts(t, []string{"denied"}, func(env *testscript.Env) error {
		env.Setenv("NATS_URL", "nats://root:s3cret@"+s.URL()[len("nats://"):])
		return nil
	})
}

func TestAMissingPermissionIsASentenceAndAnExitStatus(t *testing.T) {
	s := natsserver.Run(t, natsserver.Configure(func(o *natsd.Options) {
		o.Users = []*natsd.User{
			{Username: "service", Password: "right"},
			{Username: "guest", Password: "s3cret", Permissions: &natsd.Permissions{
				Publish: &natsd.SubjectPermission{Deny: []string{"$JS.API.STREAM.MSG.>", "ticket:created"}},
			}},
		}
	}))
	host := s.URL()[len("nats://"):]
	twoDeadLetters(t, "nats://service:right@"+host)
	runScripts(t, []string{"permission"}, func(env *testscript.Env) error {
		env.Setenv("NATS_URL", "nats://guest:s3cret@"+host)
		return nil
	})
}
