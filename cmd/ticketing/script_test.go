package main

import (
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

func TestAnOutboxIsLookedAfter(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		runScripts(t, []string{"outbox"}, func(env *testscript.Env) error {
			env.Setenv("SCHEME", "sqlite:")
			env.Setenv("DB", "tickets.db")
			return os.WriteFile(filepath.Join(env.WorkDir, "tickets.db"), nil, 0o600)
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := pgtest.New(t).URL()
		for _, script := range []string{"outbox", "outbox_schema"} {
			schema, url := pgtest.Schema(t, server)
			runScripts(t, []string{script}, func(env *testscript.Env) error {
				env.Setenv("DB", url)
				env.Setenv("SCHEMA", schema)
				return nil
			})
		}
	})
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
