package natswrap

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ducnguyen96/ticketing-common/internal/natsconn"
)

// attrs returns what c has, without its credentials.
func (c Config) attrs() []slog.Attr {
	urls := make([]string, len(c.URLs))
	for i, u := range c.URLs {
		urls[i] = "(malformed)"
		if parsed, err := natsconn.ParseURLs(u); err == nil {
			urls[i] = natsconn.Redact(strings.Join(parsed, ","))
		}
	}
	attrs := []slog.Attr{slog.Any("URLs", urls), slog.String("ClientID", c.ClientID), slog.String("Backend", string(c.backend()))}
	str := func(name, v string) {
		if v != "" {
			attrs = append(attrs, slog.String(name, v))
		}
	}
	num := func(name string, v int64) {
		if v != 0 {
			attrs = append(attrs, slog.Int64(name, v))
		}
	}
	dur := func(name string, v time.Duration) {
		if v != 0 {
			attrs = append(attrs, slog.String(name, v.String()))
		}
	}
	str("ClusterID", c.ClusterID)
	str("Stream", c.Stream)
	if len(c.Subjects) > 0 {
		attrs = append(attrs, slog.Any("Subjects", c.Subjects))
	}
	num("Replicas", int64(c.Replicas))
	dur("MaxAge", c.MaxAge)
	num("MaxBytes", c.MaxBytes)
	if c.VerifyOnly {
		attrs = append(attrs, slog.Bool("VerifyOnly", true))
	}
	if c.ConnectOnly {
		attrs = append(attrs, slog.Bool("ConnectOnly", true))
	}
	str("CredsFile", c.CredsFile)
	str("NKeyFile", c.NKeyFile)
	str("TLSCA", c.TLSCA)
	str("TLSCert", c.TLSCert)
	str("TLSKey", c.TLSKey)
	str("Envelope", string(c.Envelope))
	str("Source", c.Source)
	dur("AckTimeout", c.AckTimeout)
	num("MaxPending", int64(c.MaxPending))
	dur("ShutdownTimeout", c.ShutdownTimeout)
	return attrs
}

// String returns the fields that are set, without credentials.
func (c Config) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, a := range c.attrs() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s:%v", a.Key, a.Value)
	}
	b.WriteByte('}')
	return b.String()
}

// Format implements [fmt.Formatter]: every verb prints [Config.String].
func (c Config) Format(f fmt.State, _ rune) {
	if f.Flag('#') {
		fmt.Fprint(f, "natswrap.Config")
	}
	fmt.Fprint(f, c.String())
}

// LogValue implements [slog.LogValuer].
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// MarshalJSON implements [json.Marshaler], for logs and debug pages: the
// result has no credentials, and is not for reading a Config back.
func (c Config) MarshalJSON() ([]byte, error) {
	fields := make(map[string]any)
	for _, a := range c.attrs() {
		fields[a.Key] = a.Value.Any()
	}
	return json.Marshal(fields)
}
