package stanwrap

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/cloudevent"
	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// Config says where and as whom to connect. URLs, ClusterID and ClientID are
// required; the zero value of every other field is good.
type Config struct {
	// URLs are the NATS servers that the streaming server is reached through.
	URLs []string
	// CredsFile has a user JWT with its seed, NKeyFile a seed. They exclude
	// each other.
	CredsFile, NKeyFile string
	// TLSCA, TLSCert and TLSKey are PEM files. Any of them forces TLS.
	TLSCA, TLSCert, TLSKey string

	// ClusterID is the streaming server's cluster id (its -cid).
	ClusterID string
	// ClientID is this client's registration with the streaming server: one
	// or more of A-Z, a-z, 0-9, '_' and '-'. No two clients that run at the
	// same time may have the same.
	ClientID string

	// ClientIDWait is how long a client id that is in use is tried again: the
	// process that had it may be about to end. Default 5 s.
	ClientIDWait time.Duration
	// AckTimeout is how long a publish waits for the server's
	// acknowledgement; then its outcome is unknown. Default 5 s.
	AckTimeout time.Duration
	// MaxPending is the window of publishes: the most that wait for their
	// acknowledgement, beyond which Send blocks. Default 4096.
	MaxPending int
	// WaitForConnection makes Send wait, within its ctx, while there is no
	// connection or no session, instead of failing at once with
	// [ticketing.ErrNotConnected]. What was sent already and is still in the
	// queue waits for the AckTimeout. What the connection was given is not
	// sent again: it is of unknown outcome, or not sent where the server says
	// that it does not know the session.
	WaitForConnection bool
	// PingInterval is the time between two pings of the streaming server, in
	// whole seconds, at least one. Default 3 s.
	PingInterval time.Duration
	// PingMaxOut is how many pings may go unanswered, at least 2. The session
	// counts as lost at the next one. Default 3: with the default interval a
	// dead server is found within 12 s. stan.go's own defaults take more than
	// seven minutes.
	PingMaxOut int
	// CloudEvents puts every message into a CloudEvents 1.0 envelope, the JSON
	// format of the specification, which carries its id, time, key and headers.
	// Whoever reads a channel has to understand it: a Client does, whatever its
	// own setting. The envelope counts towards the server's max_payload.
	CloudEvents bool
	// Source is the source in the envelopes: a URI reference that names the
	// service. Default ClientID.
	Source string
	// Logger hears of a lost connection and session. Default [slog.Default].
	Logger *slog.Logger
}

// Defaults of a [Config].
const (
	DefaultClientIDWait = 5 * time.Second
	DefaultAckTimeout   = 5 * time.Second
	DefaultMaxPending   = 4096
	DefaultPingInterval = 3 * time.Second
	DefaultPingMaxOut   = 3
)

// validClientID is the server's own rule.
var validClientID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// withDefaults checks c and fills it in. All that is wrong is reported
// together.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.URLs) == 0 {
		report("Config.URLs is empty")
	}
	switch {
	case c.ClusterID == "":
		report("Config.ClusterID is empty; it is the streaming server's cluster id (its -cid)")
	case strings.ContainsAny(c.ClusterID, " \t\r\n*>"):
		report("Config.ClusterID %q cannot stand in a NATS subject: it has white space or a wildcard", c.ClusterID)
	}
	switch {
	case c.ClientID == "":
		report("Config.ClientID is empty; every running client needs one of its own")
	case !validClientID.MatchString(c.ClientID):
		report("Config.ClientID %q has a character that is not a letter, digit, '_' or '-'", c.ClientID)
	}
	if c.ClientIDWait < 0 || c.AckTimeout < 0 || c.MaxPending < 0 || c.PingInterval < 0 || c.PingMaxOut < 0 {
		report("Config: ClientIDWait, AckTimeout, MaxPending, PingInterval and PingMaxOut cannot be negative")
	}
	if c.ClientIDWait == 0 {
		c.ClientIDWait = DefaultClientIDWait
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = DefaultAckTimeout
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.PingInterval == 0 {
		c.PingInterval = DefaultPingInterval
	}
	if c.PingMaxOut == 0 {
		c.PingMaxOut = DefaultPingMaxOut
	}
	if c.PingMaxOut == 1 {
		report("Config.PingMaxOut is 1; it has to be at least 2, because a ping counts until it is answered")
	}
	if c.Source == "" {
		c.Source = c.ClientID
	} else if err := cloudevent.CheckSource(c.Source); err != nil {
		report("Config.Source %q %w", c.Source, err)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, errors.Join(errs...)
}

// wholeSeconds rounds up: the server counts in seconds, and none is refused.
func wholeSeconds(d time.Duration) time.Duration {
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}

func (c Config) natsconn() natsconn.Config {
	return natsconn.Config{
		URLs:      c.URLs,
		Name:      c.ClientID,
		CredsFile: c.CredsFile,
		NKeyFile:  c.NKeyFile,
		TLSCA:     c.TLSCA,
		TLSCert:   c.TLSCert,
		TLSKey:    c.TLSKey,
		Logger:    c.Logger,
	}
}
