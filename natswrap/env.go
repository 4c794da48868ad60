package natswrap

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// variables has the environment variable of every field that has one, so that
// a problem is reported by the name that the reader can change.
var variables = map[string]string{
	"URLs":       "NATS_URL",
	"ClientID":   "NATS_CLIENT_ID",
	"ClusterID":  "NATS_CLUSTER_ID",
	"Backend":    "NATS_BACKEND",
	"Stream":     "NATS_STREAM",
	"Replicas":   "NATS_REPLICAS",
	"MaxAge":     "NATS_STREAM_MAX_AGE",
	"MaxBytes":   "NATS_STREAM_MAX_BYTES",
	"VerifyOnly": "NATS_PROVISION",
	"CredsFile":  "NATS_CREDS",
	"NKeyFile":   "NATS_NKEY",
	"TLSCA":      "NATS_TLS_CA",
	"TLSCert":    "NATS_TLS_CERT",
	"TLSKey":     "NATS_TLS_KEY",
	"Envelope":   "NATS_ENVELOPE",
	"Source":     "NATS_ENVELOPE_SOURCE",
}

// suffixVariable is the variable that no field stands for.
const suffixVariable = "NATS_CLIENT_ID_SUFFIX"

// FromEnv reads a [Config] from the environment:
//
//	NATS_URL               required; one or several URLs, comma separated
//	NATS_CLIENT_ID         required; in Kubernetes the pod's name
//	NATS_CLUSTER_ID        NATS Streaming's cluster id; if it is set, the backend is
//	                       NATS Streaming, otherwise JetStream
//	NATS_BACKEND           "stan" or "jetstream", where that rule is not wanted
//	NATS_STREAM            JetStream's stream, default TICKETING
//	NATS_REPLICAS          its replicas, 1 to 5
//	NATS_STREAM_MAX_AGE    its limits: a Go duration such as 168h, and a number of
//	NATS_STREAM_MAX_BYTES  bytes, with KiB, MiB or GiB behind it or without
//	NATS_PROVISION         "verify": create and change no stream, only check
//	NATS_CLIENT_ID_SUFFIX  "auto": add a suffix to the client id that differs
//	                       from process to process
//	NATS_ENVELOPE          "cloudevents", or "plain", which is the default
//	NATS_ENVELOPE_SOURCE   the service's name in the envelopes, a URI reference;
//	                       default the client id without that suffix
//	NATS_CREDS, NATS_NKEY, NATS_TLS_CA, NATS_TLS_CERT, NATS_TLS_KEY: files
//
// A variable that is empty counts as unset, and space around a value is
// ignored. All problems are reported together, one a line, each by the
// variable's name and never by its value. The files must be readable.
func FromEnv() (Config, error) { return FromLookup(os.LookupEnv) }

// FromLookup is [FromEnv] with another source than the environment, such as a
// map in a test.
func FromLookup(lookup func(name string) (string, bool)) (Config, error) {
	r := reader{lookup: lookup}
	var c Config
	r.read("URLs", func(v string) (err error) {
		c.URLs, err = natsconn.ParseURLs(v)
		return err
	})
	r.read("ClientID", text(&c.ClientID))
	r.read("ClusterID", text(&c.ClusterID))
	r.read("Backend", func(v string) error {
		c.Backend = Backend(v)
		return nil
	})
	r.read("Stream", text(&c.Stream))
	r.read("Replicas", func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n == 0 {
			return errReplicas
		}
		c.Replicas = n
		return nil
	})
	r.read("MaxAge", func(v string) (err error) {
		c.MaxAge, err = time.ParseDuration(v)
		if err != nil {
			return errors.New("is not a duration such as 90m or 168h") // err quotes the value
		}
		return nil
	})
	r.read("MaxBytes", func(v string) (err error) {
		c.MaxBytes, err = parseBytes(v)
		return err
	})
	r.read("VerifyOnly", func(v string) error {
		c.VerifyOnly = v == "verify"
		return only(c.VerifyOnly, `is not "verify", the only value there is`)
	})
	r.read("CredsFile", text(&c.CredsFile))
	r.read("NKeyFile", text(&c.NKeyFile))
	r.read("TLSCA", text(&c.TLSCA))
	r.read("TLSCert", text(&c.TLSCert))
	r.read("TLSKey", text(&c.TLSKey))
	service := ""
	r.read(suffixVariable, func(v string) error {
		if v == "auto" && c.ClientID != "" {
			service = mapID(c.ClientID)
			c.ClientID += "-" + strings.ToLower(rand.Text()[:8])
		}
		return only(v == "auto", `is not "auto", the only value there is`)
	})
	r.read("Envelope", func(v string) error {
		c.Envelope = Envelope(v)
		return nil
	})
	r.read("Source", text(&c.Source))
	if c.Envelope == CloudEvents && c.Source == "" {
		c.Source = service
	}
	if err := r.finish(c); err != nil {
		return Config{}, err
	}
	return c, nil
}

// reader reads variables and collects what is wrong with them.
type reader struct {
	lookup func(string) (string, bool)
	errs   []error
	failed map[string]bool
}

// read passes the value of a field's variable on, if it has one.
func (r *reader) read(field string, set func(value string) error) {
	value, _ := r.lookup(variable(field))
	if value = strings.TrimSpace(value); value == "" {
		return
	}
	if err := set(value); err != nil {
		r.add(problem{field, err})
	}
}

func (r *reader) add(p problem) {
	if r.failed[p.field] {
		return // it could not even be parsed
	}
	if r.failed == nil {
		r.failed = make(map[string]bool)
	}
	r.failed[p.field] = true
	r.errs = append(r.errs, fmt.Errorf("%s: %w", variable(p.field), p.err))
}

// finish adds what c's own rules have against it.
func (r *reader) finish(c Config) error {
	for _, p := range c.problems() {
		r.add(p)
	}
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("natswrap: the environment has to be changed:\n%w", errors.Join(r.errs...))
}

func variable(field string) string {
	if v, ok := variables[field]; ok {
		return v
	}
	return field
}

func text(field *string) func(string) error {
	return func(v string) error {
		*field = v
		return nil
	}
}

func only(ok bool, rule string) error {
	if ok {
		return nil
	}
	return errors.New(rule)
}

var errBytes = errors.New("is not a number of bytes such as 1048576, 512MiB or 10GiB")

// parseBytes parses a number of bytes.
func parseBytes(s string) (int64, error) {
	unit := int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = strings.TrimRight(number, " "), n
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, errBytes
	}
	return int64(n) * unit, nil
}
