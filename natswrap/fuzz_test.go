package natswrap

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzFromLookup looks for a panic, for an error with a part of a value in it,
// and for a configuration that is accepted here and refused by whom it is for.
func FuzzFromLookup(f *testing.F) {
	names := []string{
		"NATS_URL", "NATS_CLIENT_ID", "NATS_CLUSTER_ID", "NATS_BACKEND", "NATS_STREAM", "NATS_REPLICAS", "NATS_STREAM_MAX_AGE",
		"NATS_STREAM_MAX_BYTES", "NATS_PROVISION", suffixVariable, "NATS_ENVELOPE", "NATS_CREDS", "NATS_TLS_CA",
		"NATS_ENVELOPE_SOURCE",
	}
	// All values are in one text, a line each; the number is where a secret is
	// put into each of them.
	add := func(at uint, values ...string) { f.Add(strings.Join(values, "\n"), at) }
	add(0)
	add(0, "nats://host", "tickets-0")
	add(14, "nats://user:password@a:4222,tls://token@b", "pod.name", "ticketing", "", "", "", "", "", "", "auto", "plain")
	add(1, "http://nats-srv:4222", "a", "", "jetstream", "EVENTS", "3", "168h", "512MiB", "verify", "", "cloudevents")
	add(3, "nats://a", "pod.7", "", "", "", "", "", "", "", "auto", "cloudevents")
	add(0, "nats://a", "a", "c", "", "", "", "", "", "", "", "cloudevents", "", "", "https://example.com/tickets?a=%20")
	add(2, "ws://h/path,wss://h", " ", "a b", "stan", "a.*", "6", "-1h", "9223372036854775807GiB", "x", "x", "x", "/dev/null", "missing")
	add(3, "nats://u:p%zz@h,://@,u:p@h", "\x00", "\xff", "STAN", strings.Repeat("s", 255), "0x3", "1e9h", "-0KiB", "", "", "", "/", "\x00")
	ended, cancel := context.WithCancel(context.Background())
	cancel()

	f.Fuzz(func(t *testing.T, text string, at uint) {
		const secret = "sesame"
		plain, marked := make(map[string]string), make(map[string]string)
		for i, v := range strings.SplitN(text, "\n", len(names)) {
			k := int(at % uint(len(v)+1))
			plain[names[i]], marked[names[i]] = v, v[:k]+secret+v[k:]
		}
		if _, err := FromLookup(env(marked)); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error has a part of a value: %v", err)
		}
		c, err := FromLookup(env(plain))
		if err != nil {
			if !reflect.DeepEqual(c, Config{}) {
				t.Errorf("it returned %v together with the error %v", c, err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("it accepted what Validate refuses: %v", err)
		}
		c.Logger = quietly().Logger
		if _, err := Connect(ended, c); !errors.Is(err, context.Canceled) {
			t.Errorf("it accepted what Connect refuses: %v", err)
		}
	})
}
