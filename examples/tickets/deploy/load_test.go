package deploy

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// bundle is what is applied together.
type bundle struct {
	workloads map[string]workload
	services  map[string]service
	configs   map[string]configMap
	claims    map[string]claim
	budgets   map[string]budget
}

// load reads manifests strictly, with their API versions.
func load(t *testing.T, patterns ...string) bundle {
	t.Helper()
	b := bundle{
		workloads: make(map[string]workload),
		services:  make(map[string]service),
		configs:   make(map[string]configMap),
		claims:    make(map[string]claim),
		budgets:   make(map[string]budget),
	}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no manifests %s (%v)", pattern, err)
		}
		for _, file := range files {
			for _, doc := range documents(t, file) {
				b.add(t, file, doc)
			}
		}
	}
	return b
}

// documents splits a file. Its comments stand in the document behind them.
func documents(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(data), "\n---\n")
}

func (b *bundle) add(t *testing.T, file, doc string) {
	t.Helper()
	var m meta
	if err := yaml.Unmarshal([]byte(doc), &m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	switch kind := m.APIVersion + " " + m.Kind; kind {
	case "apps/v1 Deployment", "apps/v1 StatefulSet":
		decode(t, file, doc, b.workloads)
	case "v1 Service":
		decode(t, file, doc, b.services)
	case "v1 ConfigMap":
		decode(t, file, doc, b.configs)
	case "v1 PersistentVolumeClaim":
		decode(t, file, doc, b.claims)
	case "policy/v1 PodDisruptionBudget":
		decode(t, file, doc, b.budgets)
	default:
		t.Errorf("%s: a %q is not expected here", file, kind)
	}
}

type object interface{ name() string }

func (m meta) name() string { return m.Metadata.Name }

func decode[T object](t *testing.T, file, doc string, into map[string]T) {
	t.Helper()
	var o T
	d := yaml.NewDecoder(strings.NewReader(doc))
	d.KnownFields(true)
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s: more than one document after a line of dashes: %v", file, err)
	}
	if o.name() == "" {
		t.Errorf("%s: a manifest has no name", file)
	}
	if _, twice := into[o.name()]; twice {
		t.Errorf("%s: there are two of %T named %s", file, o, o.name())
	}
	into[o.name()] = o
}

// The two brokers. A service is applied with one of them.
var brokers = []string{"jetstream", "streaming"}

func loadBroker(t *testing.T, broker string) bundle {
	t.Helper()
	return load(t, "*.yaml", filepath.Join(broker, "*.yaml"))
}

// only returns a workload's one container.
func (b bundle) container(t *testing.T, workload string) container {
	t.Helper()
	w, ok := b.workloads[workload]
	if !ok || len(w.pod().Containers) != 1 {
		t.Fatalf("there is no workload %s with one container", workload)
	}
	return w.pod().Containers[0]
}
