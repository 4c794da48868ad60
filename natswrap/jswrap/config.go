package jswrap

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
)

// Defaults of a [Config].
const (
	DefaultStream     = "TICKETING"
	DefaultAckTimeout = 5 * time.Second
	DefaultMaxPending = 4096
)

// Config says where to connect, and what the stream is. URLs are required, the
// zero value of everything else has a default.
type Config struct {
	// URLs are the servers: nats, tls, ws or wss; http means nats.
	URLs []string
	// Name is shown by the server's monitoring.
	Name string
	// CredsFile and NKeyFile are credentials, TLSCA, TLSCert and TLSKey PEM
	// files. Any of the latter forces TLS.
	CredsFile, NKeyFile    string
	TLSCA, TLSCert, TLSKey string

	// Stream is the stream's name. Default [DefaultStream]. Dead letters go
	// to the stream <Stream>_DEAD, or to whichever stores dead.> already.
	Stream string
	// Subjects are what the stream stores. Default: the catalogue,
	// [ticketing.Subjects]. Those that the stream lacks are added; none is
	// ever removed.
	Subjects []ticketing.Subject
	// Replicas, MaxAge and MaxBytes are for a stream that has to be created;
	// an existing one keeps what it has, and the differences are logged. Zero
	// leaves them to the server: one replica, no limit. Dead letters have no
	// MaxAge.
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64
	// VerifyOnly creates and changes nothing at the server, streams and
	// consumers, and reports what is missing: for accounts without that right.
	VerifyOnly bool
	// ConnectOnly does not even look for the stream when it connects.
	ConnectOnly bool

	// AckTimeout bounds a publish once it was admitted, with all that is done
	// to get it stored: see [Client.Send]. Default [DefaultAckTimeout].
	AckTimeout time.Duration
	// MaxPending is how many publishes may wait for their acknowledgement;
	// the next blocks. Default [DefaultMaxPending].
	MaxPending int
	// WaitForConnection makes Send wait, within its ctx, for a connection that
	// is lost to be back, instead of failing at once with
	// [ticketing.ErrNotConnected]. Those who wait block; nothing is buffered
	// beyond MaxPending.
	WaitForConnection bool
	// CloudEvents puts every message into a CloudEvents 1.0 envelope, as the
	// NATS binding's binary mode has it: attributes are headers that begin with
	// ce-, and the payload stays as it is. A Client reads messages of both
	// kinds, whatever its own setting. The envelope counts towards the server's
	// max_payload.
	CloudEvents bool
	// Source is the source in the envelopes: a URI reference that names the
	// service. Default Name.
	Source string
	// Logger hears of what happens to the connection, the stream and the
	// consumers. Default [slog.Default].
	Logger *slog.Logger
}

// withDefaults returns c with its zero fields filled in, or every reason why
// it cannot be used.
func (c Config) withDefaults() (Config, error) {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if c.Stream == "" {
		c.Stream = DefaultStream
	}
	if len(c.Subjects) == 0 {
		c.Subjects = ticketing.Subjects()
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = DefaultAckTimeout
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.Source == "" {
		c.Source = c.Name
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}

	if len(c.URLs) == 0 {
		add("Config.URLs is empty")
	}
	if rule := streamNameRule(c.Stream); rule != "" {
		add("Config.Stream %q: %s", c.Stream, rule)
	}
	c.Subjects = slices.Compact(slices.Sorted(slices.Values(c.Subjects)))
	for _, s := range c.Subjects {
		if err := s.Validate(); err != nil {
			add("Config.Subjects: %w", err)
		} else if strings.HasPrefix(string(s), ticketing.DeadLetterPrefix+".") {
			add("Config.Subjects: %q is for dead letters, which have a stream of their own", s)
		}
	}
	if c.CloudEvents {
		if c.Source == "" {
			add("Config.Source and Config.Name are empty; a CloudEvent has to name its source")
		} else if err := cloudevent.CheckSource(c.Source); err != nil {
			add("Config.Source %q %w", c.Source, err)
		}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Replicas", int64(c.Replicas)},
		{"MaxAge", int64(c.MaxAge)},
		{"MaxBytes", c.MaxBytes},
		{"AckTimeout", int64(c.AckTimeout)},
		{"MaxPending", int64(c.MaxPending)},
	} {
		if f.value < 0 {
			add("Config.%s cannot be negative", f.name)
		}
	}
	return c, errors.Join(problems...)
}

// maxStreamName leaves room for the dead letters' stream below the server's
// 255 bytes.
const maxStreamName = 200

// streamNameRule names the rule that a stream's name breaks, or is empty. The
// server allows more than letters, digits, '_' and '-', and advises against it.
func streamNameRule(name string) string {
	if len(name) > maxStreamName {
		return fmt.Sprintf("it has %d bytes, at most %d are allowed", len(name), maxStreamName)
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
		default:
			return fmt.Sprintf("%q is not a letter, digit, '_' or '-'", r)
		}
	}
	return ""
}
