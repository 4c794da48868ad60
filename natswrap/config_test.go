package natswrap

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	ticketing "github.com/ducnguyen96/ticketing-common"
)

// env looks variables up in a map.
func env(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// file writes a file and returns its name.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheEnvironmentFillsEveryField(t *testing.T) {
	creds, ca, cert, key := file(t, "c"), file(t, "a"), file(t, "t"), file(t, "k")
	got, err := FromLookup(env(map[string]string{
		"NATS_URL":              " http://nats-srv:4222, nats://user:password@b ",
		"NATS_CLIENT_ID":        "tickets-7d9f",
		"NATS_CLUSTER_ID":       "ticketing",
		"NATS_BACKEND":          "jetstream",
		"NATS_STREAM":           "EVENTS",
		"NATS_REPLICAS":         "3",
		"NATS_STREAM_MAX_AGE":   "168h",
		"NATS_STREAM_MAX_BYTES": "512MiB",
		"NATS_PROVISION":        "verify",
		"NATS_ENVELOPE":         "cloudevents",
		"NATS_ENVELOPE_SOURCE":  "https://example.com/tickets",
		"NATS_CREDS":            creds,
		"NATS_TLS_CA":           ca,
		"NATS_TLS_CERT":         cert,
		"NATS_TLS_KEY":          key,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		URLs:       []string{"nats://nats-srv:4222", "nats://user:password@b:4222"},
		ClientID:   "tickets-7d9f",
		ClusterID:  "ticketing",
		Backend:    JetStream,
		Stream:     "EVENTS",
		Replicas:   3,
		MaxAge:     168 * time.Hour,
		MaxBytes:   512 << 20,
		VerifyOnly: true,
		CredsFile:  creds,
		TLSCA:      ca,
		TLSCert:    cert,
		TLSKey:     key,
		Envelope:   CloudEvents,
		Source:     "https://example.com/tickets",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	nkey := file(t, "n")
	got, err = FromLookup(env(map[string]string{"NATS_URL": "a", "NATS_CLIENT_ID": "b", "NATS_NKEY": nkey}))
	if err != nil || got.NKeyFile != nkey {
		t.Errorf("NKeyFile = %q, %v; want %q", got.NKeyFile, err, nkey)
	}
}

func TestTheClusterIDChoosesTheBackendUnlessItIsNamed(t *testing.T) {
	for _, tc := range []struct {
		cluster, backend string
		want             Backend
	}{
		{"", "", JetStream},
		{"ticketing", "", Stan},
		{"ticketing", "jetstream", JetStream},
		{"ticketing", "stan", Stan},
	} {
		c, err := FromLookup(env(map[string]string{
			"NATS_URL": "a", "NATS_CLIENT_ID": "b", "NATS_CLUSTER_ID": tc.cluster, "NATS_BACKEND": tc.backend,
		}))
		if err != nil || c.backend() != tc.want {
			t.Errorf("cluster id %q, backend %q: %q, %v; want %q", tc.cluster, tc.backend, c.backend(), err, tc.want)
		}
	}
}

// lines splits an error into its lines, without the first.
func lines(err error) []string { return strings.Split(err.Error(), "\n")[1:] }

func TestEverythingMissingIsReportedAtOnce(t *testing.T) {
	_, err := FromLookup(env(nil))
	if err == nil {
		t.Fatal("an empty environment was accepted")
	}
	want := []string{"NATS_URL: is required", "NATS_CLIENT_ID: is required"}
	if got := lines(err); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEverythingMalformedIsReportedAtOnceAndWithoutItsValue(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "sesame")
	_, err := FromLookup(env(map[string]string{
		"NATS_URL":              "nats://a,nats://user:ses,ame@b",
		"NATS_CLIENT_ID":        " ",
		"NATS_BACKEND":          "sesame",
		"NATS_STREAM":           "sesame.*",
		"NATS_REPLICAS":         "sesame",
		"NATS_STREAM_MAX_AGE":   "sesame",
		"NATS_STREAM_MAX_BYTES": "sesame",
		"NATS_PROVISION":        "sesame",
		"NATS_CLIENT_ID_SUFFIX": "sesame",
		"NATS_ENVELOPE":         "sesame",
		"NATS_CREDS":            missing,
		"NATS_NKEY":             t.TempDir(),
		"NATS_TLS_CA":           file(t, ""),
		"NATS_TLS_CERT":         missing,
	}))
	if err == nil {
		t.Fatal("it was accepted")
	}
	if strings.Contains(err.Error(), "ses") {
		t.Errorf("the error has a part of a value: %v", err)
	}
	got := lines(err)
	for _, want := range []string{
		"NATS_URL: URL 2 of 3: ",
		"NATS_CLIENT_ID: is required",
		"NATS_BACKEND: is neither",
		"NATS_STREAM: is not a stream name",
		"NATS_REPLICAS: is not from 1 to 5",
		"NATS_STREAM_MAX_AGE: is not a duration",
		"NATS_STREAM_MAX_BYTES: is not a number of bytes",
		"NATS_PROVISION: is not \"verify\"",
		"NATS_CLIENT_ID_SUFFIX: is not \"auto\"",
		"NATS_ENVELOPE: is neither",
		"NATS_CREDS: names a file that cannot be read: no such file",
		"NATS_NKEY: excludes a credentials file",
		"NATS_TLS_CA: names a file that is empty",
		"NATS_TLS_CERT: names a file that cannot be read",
		"NATS_TLS_KEY: is required by the TLS certificate",
	} {
		if n := count(got, want); n != 1 {
			t.Errorf("%d lines begin with %q, want 1", n, want)
		}
	}
	if len(got) != 15 {
		t.Errorf("%d lines, want one a variable, 15:\n%v", len(got), err)
	}
}

func count(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func TestOneMalformedVariableIsRefused(t *testing.T) {
	for name, values := range map[string][]string{
		"NATS_REPLICAS":         {"0", "6", "-1", "3.0", "0x3"},
		"NATS_STREAM_MAX_AGE":   {"-1h", "168", "7d", "1 h"},
		"NATS_STREAM_MAX_BYTES": {"-1", "1e6", "1MB", "1.5GiB", "9223372036854775808", "9999999999GiB", "MiB", "1KiBMiB"},
		"NATS_STREAM":           {"a b", "a.b", "a>", "a/b", strings.Repeat("a", 201)},
		"NATS_CLUSTER_ID":       {"a b", "a.*", "a\nb", ">"},
		"NATS_BACKEND":          {"STAN", "stan"}, // stan has no cluster id here
		"NATS_ENVELOPE":         {"CloudEvents", "cloudevents,plain"},
		"NATS_ENVELOPE_SOURCE":  {"a b", "%zz", "\x7f", "ü", ":a"},
		"NATS_NKEY":             {t.TempDir()},
		"NATS_TLS_KEY":          {file(t, "key")},
	} {
		for _, v := range values {
			_, err := FromLookup(env(map[string]string{"NATS_URL": "a", "NATS_CLIENT_ID": "b", name: v}))
			if err == nil {
				t.Errorf("%s=%s was accepted", name, v)
			} else if strings.Count(err.Error(), "\n") != 1 {
				t.Errorf("%s=%s: more than one line: %v", name, v, err)
			}
		}
	}
}

func TestByteSizes(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1048576": 1 << 20, "2KiB": 2 << 10, "3 MiB": 3 << 20, "4GiB": 4 << 30} {
		if got, err := parseBytes(in); got != want || err != nil {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}

func TestTheEnvelopeAndItsSourceReachBothBackends(t *testing.T) {
	for _, tc := range []struct {
		suffix, envelope, source string
		want                     string // the source; empty is the adapter's default, the client id
		on                       bool
	}{
		{"", "", "", "", false},
		{"auto", "plain", "", "", false},
		{"", "cloudevents", "", "", true},
		{"auto", "cloudevents", "", "pod_7", true},
		{"auto", "cloudevents", "/tickets", "/tickets", true},
	} {
		c, err := FromLookup(env(map[string]string{
			"NATS_URL": "a", "NATS_CLIENT_ID": "pod.7",
			"NATS_CLIENT_ID_SUFFIX": tc.suffix, "NATS_ENVELOPE": tc.envelope, "NATS_ENVELOPE_SOURCE": tc.source,
		}))
		js, stan := c.jetStream(), c.stan()
		if err != nil || js.CloudEvents != tc.on || js.Source != tc.want || stan.CloudEvents != tc.on || stan.Source != tc.want {
			t.Errorf("%+v: JetStream %t %q, NATS Streaming %t %q, %v", tc, js.CloudEvents, js.Source, stan.CloudEvents, stan.Source, err)
		}
	}
}

func TestAnAutomaticSuffixDiffersFromInstanceToInstance(t *testing.T) {
	vars := env(map[string]string{"NATS_URL": "a", "NATS_CLIENT_ID": "tickets", "NATS_CLIENT_ID_SUFFIX": "auto"})
	a, err := FromLookup(vars)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := FromLookup(vars)
	if a.ClientID == b.ClientID || !strings.HasPrefix(a.ClientID, "tickets-") || mapID(a.ClientID) != a.ClientID {
		t.Errorf("client ids are %q and %q", a.ClientID, b.ClientID)
	}
	if _, err := FromLookup(env(map[string]string{"NATS_URL": "a", "NATS_CLIENT_ID_SUFFIX": "auto"})); err == nil {
		t.Error("a suffix alone counts as a client id")
	}
}

func TestAClientIDHasOnlyWhatNATSStreamingAllows(t *testing.T) {
	c := good()
	c.ClientID = "tickets-7d9f.prod/eu ü"
	const want = "tickets-7d9f_prod_eu__"
	if got := c.stan().ClientID; got != want {
		t.Errorf("NATS Streaming's client id is %q, want %q", got, want)
	}
	if got := c.jetStream().Name; got != want {
		t.Errorf("JetStream's name is %q, want %q", got, want)
	}
}

func TestTheEnvironmentIsTheProcesss(t *testing.T) {
	t.Setenv("NATS_URL", "nats://host:4222")
	t.Setenv("NATS_CLIENT_ID", "tickets-1")
	for _, name := range variables {
		if name != "NATS_URL" && name != "NATS_CLIENT_ID" {
			t.Setenv(name, "")
		}
	}
	t.Setenv(suffixVariable, "")
	if c, err := FromEnv(); err != nil || !reflect.DeepEqual(c, Config{URLs: []string{"nats://host:4222"}, ClientID: "tickets-1"}) {
		t.Errorf("FromEnv() = %v, %v", c, err)
	}
}

func TestValidateNamesTheFields(t *testing.T) {
	c := Config{
		URLs:     []string{"nats://user:ses%ame@b"},
		ClientID: "a", Backend: "sesame", Subjects: []ticketing.Subject{"ticket.*"},
		Replicas: 6, MaxAge: -1, MaxBytes: -1, AckTimeout: -1, MaxPending: -1, ShutdownTimeout: -1,
		TLSKey: file(t, "key"),
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, field := range []string{"URLs", "Backend", "Subjects", "Replicas", "MaxAge", "MaxBytes", "TLSCert", "AckTimeout", "MaxPending", "ShutdownTimeout"} {
		if !strings.Contains(err.Error(), "\n"+field+": ") {
			t.Errorf("%s is not named in %q", field, err)
		}
	}
	if strings.Contains(err.Error(), "ses") {
		t.Errorf("the error has a part of the password: %v", err)
	}
	if err := good().Validate(); err != nil {
		t.Errorf("a good Config is refused: %v", err)
	}
}

func TestAConfigRedactsItself(t *testing.T) {
	c := Config{
		URLs:     []string{"nats://user:sesame@a", "nats://sesame@b:1", "ftp://user:sesame@c", "nats://ses%zzame@d"},
		ClientID: "tickets-1", ClusterID: "ticketing", Stream: "S", Subjects: ticketing.Subjects()[:1],
		Replicas: 3, MaxAge: time.Hour, MaxBytes: 5, VerifyOnly: true,
		CredsFile: "/creds", NKeyFile: "/nkey", TLSCA: "/ca", TLSCert: "/cert", TLSKey: "/key",
		AckTimeout: time.Second, MaxPending: 7, ShutdownTimeout: time.Minute,
	}
	held := struct{ C *Config }{&c}
	var logged, asJSON strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("starting", "config", c)
	slog.New(slog.NewJSONHandler(&asJSON, nil)).Info("starting", "config", &c)
	marshalled, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c), "%s": fmt.Sprintf("%s", c), "%q": fmt.Sprintf("%q", c),
		"%d": fmt.Sprintf("%d", c), "%x": fmt.Sprintf("%x", c), "pointer": fmt.Sprintf("%+v", &c), "slice": fmt.Sprintf("%v", []Config{c}),
		"String": c.String(), "text log": logged.String(), "JSON log": asJSON.String(), "JSON": string(marshalled),
	} {
		if strings.Contains(text, "ses") || strings.Contains(text, "736573") {
			t.Errorf("%s has the password: %s", how, text)
		}
		for _, want := range []string{"nats://xxxxx@a:4222", "nats://xxxxx@b:1", "(malformed)", "tickets-1", "stan", "ticketing", "1h0m0s", "/creds", "/key", "1m0s"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %s: %s", how, want, text)
			}
		}
	}
}
