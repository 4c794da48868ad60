package natswrap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// Backend is the broker behind a [Client].
type Backend string

const (
	// JetStream is NATS's persistence today.
	JetStream Backend = "jetstream"
	// Stan is NATS Streaming. It reached its end of life in 2023.
	Stan Backend = "stan"
)

// Envelope is what the messages of a [Client] are put in.
type Envelope string

const (
	// Plain is none: the payload is the event's and nothing else, as the Node
	// package has it. JetStream carries the id and the headers beside it; NATS
	// Streaming does not.
	Plain Envelope = "plain"
	// CloudEvents is CloudEvents 1.0: the JSON format on NATS Streaming, which
	// carries id, time and headers there, and the NATS binding's binary mode on
	// JetStream. A Client reads both, whatever its own setting, but the Node
	// package reads plain ones alone.
	CloudEvents Envelope = "cloudevents"
)

// Config says which broker to use and how. [FromEnv] reads it from the
// environment; every field can be set in code as well. URLs and ClientID are
// required.
//
// A Config redacts itself: printed with any verb, as JSON and as a slog value
// its URLs have no credentials. (Package fmt cannot see that of a Config in
// another struct's unexported field: print the Config itself.)
type Config struct {
	// URLs are the servers: nats://host:4222, tls, ws and wss likewise, with
	// user:password@ or token@ before the host; http means nats. All are of
	// one cluster.
	URLs []string
	// ClientID names this instance of the service: in Kubernetes the pod's
	// name. NATS Streaming allows one connection per id, and of letters,
	// digits, '-' and '_' only; every other character is replaced by '_',
	// which a pod's name does not have, so that different pods stay
	// different. JetStream shows it as the connection's name.
	ClientID string
	// ClusterID is NATS Streaming's cluster id.
	ClusterID string
	// Backend chooses the broker. Empty: [Stan] where there is a ClusterID,
	// else [JetStream].
	Backend Backend

	// Stream is JetStream's stream. Default "TICKETING". It is created where
	// it is absent, with Subjects; missing subjects are added to it, and none
	// is ever removed.
	Stream string
	// Subjects are what the stream stores. Default the catalogue,
	// [ticketing.Subjects]. A service with subjects of its own lists them
	// here.
	Subjects []ticketing.Subject
	// Replicas, MaxAge and MaxBytes are the stream's, where it is created.
	// Zero: one replica, no limit. A stream at its limit drops its oldest
	// events, also those that a group has not handled yet: leave room for the
	// longest outage of a listener.
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64
	// VerifyOnly creates and changes no stream, and only checks it: for
	// accounts without that right.
	VerifyOnly bool
	// ConnectOnly does not even look for the stream when it connects: for a
	// tool that takes what is there. What is then published to a subject that
	// no stream stores fails with [ticketing.ErrNoStream].
	ConnectOnly bool

	// CredsFile has a user JWT with its seed, NKeyFile an nkey seed. They
	// exclude each other.
	CredsFile, NKeyFile string
	// TLSCA, TLSCert and TLSKey are PEM files. Any of them forces TLS.
	TLSCA, TLSCert, TLSKey string

	// Envelope is what messages are put in. Empty: [Plain].
	Envelope Envelope
	// Source names the service in the envelopes, as a URI reference: tickets,
	// or https://example.com/tickets. Default the ClientID; [FromEnv] leaves
	// out the suffix that it adds. Set it where the ClientID is a pod's name.
	Source string

	// AckTimeout bounds how long a publish waits for the broker's
	// acknowledgement. Default 5 s.
	AckTimeout time.Duration
	// MaxPending is the most publishes that wait for their acknowledgement at
	// a time; the next ones wait for a place. Default: the backend's.
	MaxPending int
	// WaitForConnection makes [Connect] wait for a broker that is not there
	// yet, also behind NATS servers that are, and a publish for one that is
	// away, each within its ctx. Otherwise they fail at once, the publish with
	// [ticketing.ErrNotConnected].
	WaitForConnection bool
	// ShutdownTimeout bounds what [Run] does after its context ended. Default
	// 25 s, since Kubernetes kills after 30.
	ShutdownTimeout time.Duration
	// Logger hears of the connection. Default [slog.Default].
	Logger *slog.Logger
}

// DefaultShutdownTimeout is [Config].ShutdownTimeout's default.
const DefaultShutdownTimeout = 25 * time.Second

// Validate reports everything that is wrong with c, one field a line and
// without its value, or nil. It checks that the files can be read.
func (c Config) Validate() error {
	problems := c.problems()
	if len(problems) == 0 {
		return nil
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = fmt.Errorf("%s: %w", p.field, p.err)
	}
	return fmt.Errorf("natswrap: the Config has to be changed:\n%w", errors.Join(errs...))
}

// problem is what is wrong with one field.
type problem struct {
	field string
	err   error
}

var (
	errRequired   = errors.New("is required")
	errNegative   = errors.New("cannot be negative")
	errBackend    = errors.New(`is neither "stan" nor "jetstream"`)
	errClusterID  = errors.New("is required by NATS Streaming")
	errNotSubject = errors.New("cannot stand in a NATS subject: it has white space or a wildcard")
	errStream     = errors.New("is not a stream name: letters, digits, '-' and '_', at most 200")
	errReplicas   = errors.New("is not from 1 to 5")
	errEnvelope   = errors.New(`is neither "plain" nor "cloudevents"`)
	errTwoSecrets = errors.New("excludes a credentials file")
	errNoKey      = errors.New("is required by the TLS certificate")
	errNoCert     = errors.New("is required by the TLS key")
)

// problems checks c in the order of its fields.
func (c Config) problems() []problem {
	var found []problem
	check := func(field string, failed bool, err error) {
		if failed {
			found = append(found, problem{field, err})
		}
	}
	if len(c.URLs) == 0 {
		check("URLs", true, errRequired)
	} else if _, err := natsconn.ParseURLs(strings.Join(c.URLs, ",")); err != nil {
		check("URLs", true, err)
	}
	check("ClientID", c.ClientID == "", errRequired)
	check("Backend", c.Backend != "" && c.Backend != JetStream && c.Backend != Stan, errBackend)
	check("ClusterID", c.backend() == Stan && c.ClusterID == "", errClusterID)
	check("ClusterID", strings.ContainsAny(c.ClusterID, " \t\r\n*>"), errNotSubject)
	check("Stream", !validStream(c.Stream), errStream)
	for _, s := range c.Subjects {
		err := s.Validate()
		check("Subjects", err != nil, err)
	}
	check("Replicas", c.Replicas < 0 || c.Replicas > 5, errReplicas)
	check("MaxAge", c.MaxAge < 0, errNegative)
	check("MaxBytes", c.MaxBytes < 0, errNegative)
	check("NKeyFile", c.CredsFile != "" && c.NKeyFile != "", errTwoSecrets)
	check("TLSCert", c.TLSCert == "" && c.TLSKey != "", errNoCert)
	check("TLSKey", c.TLSKey == "" && c.TLSCert != "", errNoKey)
	for _, f := range []struct{ field, path string }{
		{"CredsFile", c.CredsFile}, {"NKeyFile", c.NKeyFile},
		{"TLSCA", c.TLSCA}, {"TLSCert", c.TLSCert}, {"TLSKey", c.TLSKey},
	} {
		err := readable(f.path)
		check(f.field, err != nil, err)
	}
	check("Envelope", c.Envelope != "" && c.Envelope != Plain && c.Envelope != CloudEvents, errEnvelope)
	if c.Source != "" {
		err := cloudevent.CheckSource(c.Source)
		check("Source", err != nil, err)
	}
	check("AckTimeout", c.AckTimeout < 0, errNegative)
	check("MaxPending", c.MaxPending < 0, errNegative)
	check("ShutdownTimeout", c.ShutdownTimeout < 0, errNegative)
	return found
}

// readable reports why a file cannot be read, without its name: that came from
// the environment, and may be a secret put into the wrong variable.
func readable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		_, err = f.Read(make([]byte, 1))
	}
	var pathErr *os.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("names a file that is empty")
	case errors.As(err, &pathErr):
		err = pathErr.Err
	}
	return fmt.Errorf("names a file that cannot be read: %w", err)
}

// validStream reports whether s is empty or a name that jswrap takes: the file
// system allows 255 bytes, and the name of the dead letters' stream is longer.
func validStream(s string) bool {
	return s == mapID(s) && len(s) <= 200
}

// backend is the broker that c asks for.
func (c Config) backend() Backend {
	switch {
	case c.Backend != "":
		return c.Backend
	case c.ClusterID != "":
		return Stan
	default:
		return JetStream
	}
}

// subjects are what the stream stores.
func (c Config) subjects() []ticketing.Subject {
	if len(c.Subjects) > 0 {
		return c.Subjects
	}
	return ticketing.Subjects()
}

// mapID replaces the characters that NATS Streaming refuses in a client id.
func mapID(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		default:
			return '_'
		}
	}, id)
}

func (c Config) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}
