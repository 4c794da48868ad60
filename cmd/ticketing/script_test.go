package main

import (
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ducnguyen96/ticketing-common/natstest/natsserver"
)

func TestDeadLettersAreListedShownReplayedAndDiscarded(t *testing.T) { onBoth(t, "dead") }

func TestDoctorFindsWhatIsWrongOnJetStream(t *testing.T) { onJetStream(t, "doctor_jetstream") }

func TestDoctorLooksAtNATSStreaming(t *testing.T) { onStan(t, "doctor_streaming") }

func TestWhatIsPublishedIsHeardAndTakenFromNobody(t *testing.T) { onBoth(t, "live") }

func TestAnOutboxInSQLiteIsLookedAfter(t *testing.T) {
	runScripts(t, []string{"outbox"}, func(*testscript.Env) error { return nil })
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
