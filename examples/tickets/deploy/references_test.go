package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What one manifest names another has to have: in either bundle.
func TestManifestsFitTogether(t *testing.T) {
	for _, broker := range brokers {
		t.Run(broker, func(t *testing.T) {
			b := loadBroker(t, broker)
			for name, w := range b.workloads {
				t.Run(name, func(t *testing.T) { b.checkWorkload(t, w) })
			}
			for name, s := range b.services {
				w := b.selected(t, "Service "+name, s.Spec.Selector)
				for _, p := range s.Spec.Ports {
					if w.port(string(p.TargetPort)) == 0 {
						t.Errorf("Service %s: %s has no port %s", name, w.Metadata.Name, p.TargetPort)
					}
				}
			}
			for name, d := range b.budgets {
				if w := b.selected(t, "PodDisruptionBudget "+name, d.Spec.Selector.MatchLabels); d.Spec.MaxUnavailable >= w.Spec.Replicas/2+1 {
					t.Errorf("PodDisruptionBudget %s: %d of %d may be away", name, d.Spec.MaxUnavailable, w.Spec.Replicas)
				}
			}
		})
	}
}

// selected returns the one workload whose pods a selector selects.
func (b bundle) selected(t *testing.T, who string, selector map[string]text) (found workload) {
	t.Helper()
	var names []string
	for name, w := range b.workloads {
		if len(selector) > 0 && subset(selector, w.labels()) {
			found, names = w, append(names, name)
		}
	}
	if len(names) != 1 {
		t.Errorf("%s selects %v, want one workload", who, names)
	}
	return found
}

func subset(a, b map[string]text) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func (w workload) port(name string) int {
	for _, c := range w.pod().Containers {
		if p := c.port(name); p != 0 {
			return p
		}
	}
	return 0
}

func (b bundle) checkWorkload(t *testing.T, w workload) {
	if len(w.Spec.Selector.MatchLabels) == 0 || !subset(w.Spec.Selector.MatchLabels, w.labels()) {
		t.Errorf("it selects %v, and its pods have %v", w.Spec.Selector.MatchLabels, w.labels())
	}
	for _, c := range w.pod().TopologySpreadConstraints {
		if !subset(c.LabelSelector.MatchLabels, w.labels()) {
			t.Errorf("it spreads %v, and its pods have %v", c.LabelSelector.MatchLabels, w.labels())
		}
	}
	if w.Kind == "StatefulSet" && b.services[w.Spec.ServiceName].Spec.ClusterIP != "None" {
		t.Errorf("%q is no headless Service", w.Spec.ServiceName)
	}

	volumes := make(map[string]bool)
	for _, v := range w.pod().Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && b.configs[v.ConfigMap.Name].Data == nil {
			t.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
		}
		if c := v.PersistentVolumeClaim; c != nil && b.claims[c.ClaimName].Spec.Resources.Requests["storage"] == "" {
			t.Errorf("there is no claim %s with a size", c.ClaimName)
		}
	}
	for _, v := range w.Spec.VolumeClaimTemplates {
		volumes[v.Metadata.Name] = true
		if v.Spec.Resources.Requests["storage"] == "" {
			t.Errorf("the claim %s has no size", v.Metadata.Name)
		}
	}
	for _, c := range w.pod().Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: there is no volume %s", c.Name, m.Name)
			}
		}
		for _, p := range c.probes() {
			if c.port(string(p.HTTPGet.Port)) == 0 {
				t.Errorf("%s: a probe asks the port %s, which it does not have", c.Name, p.HTTPGet.Port)
			}
		}
		if c.Resources.Requests["cpu"] == "" || c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
			t.Errorf("%s: resources %+v", c.Name, c.Resources)
		}
	}
}

var (
	secretName = regexp.MustCompile(`(?i)key|secret|passw|token|creds|nkey|seed`)
	urlUser    = regexp.MustCompile(`://[^/\s]*@`)
)

func TestNoSecretStandsInAManifest(t *testing.T) {
	for _, broker := range brokers {
		b := loadBroker(t, broker) // which refuses the kind Secret
		for _, w := range b.workloads {
			for _, c := range w.pod().Containers {
				for _, v := range c.Env {
					if secretName.MatchString(v.Name) && v.Value != "" {
						t.Errorf("%s: the value of %s stands there; take it from a Secret", w.Metadata.Name, v.Name)
					}
				}
			}
		}
		for _, c := range b.configs {
			for name := range c.Data {
				if secretName.MatchString(name) {
					t.Errorf("ConfigMap %s has %s; take it from a Secret", c.Metadata.Name, name)
				}
			}
		}
	}
	files, err := filepath.Glob("*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "tickets.yaml") {
		for _, doc := range documents(t, file) {
			if found := urlUser.FindString(doc); found != "" {
				t.Errorf("%s: a URL with credentials: %s", file, found)
			}
		}
	}
}

// A port that it says nothing of stays open.
func TestTheReadmeSaysWhoMayReachEachPortOfTheServers(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, advice, _ := strings.Cut(string(readme), "- The NATS servers ask for no password")
	advice, _, ok := strings.Cut(advice, "\n\n")
	if !ok {
		t.Fatal("there is no advice on passwords")
	}
	for _, p := range loadBroker(t, "jetstream").container(t, "nats").Ports {
		if !strings.Contains(advice, fmt.Sprint(p.ContainerPort)) {
			t.Errorf("it does not say who may reach the port %s, %d:%s", p.Name, p.ContainerPort, advice)
		}
	}
}

// The images are of the versions that the tests of this module run with.
func TestImagesAreOfTheVersionsThatAreTested(t *testing.T) {
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := func(pattern string) string {
		found := regexp.MustCompile(`(?m)^` + pattern).FindSubmatch(mod)
		if found == nil {
			t.Fatalf("go.mod has no %s", pattern)
		}
		return string(found[1])
	}
	streaming := loadBroker(t, "streaming").container(t, "nats-depl").Image
	if want := "nats-streaming:" + version(`\tgithub.com/nats-io/nats-streaming-server v(\S+)`); streaming != want {
		t.Errorf("image %s, want %s", streaming, want)
	}
	nats := loadBroker(t, "jetstream").container(t, "nats").Image
	if want := fmt.Sprintf("nats:%s-alpine", version(`\tgithub.com/nats-io/nats-server/v2 v(\S+)`)); nats != want {
		t.Errorf("image %s, want %s", nats, want)
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if want := "FROM golang:" + version(`go (\d+\.\d+)`) + " "; !strings.Contains(string(dockerfile), want) {
		t.Errorf("the Dockerfile does not build with %q", want)
	}
}
