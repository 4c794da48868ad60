package deploy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
)

// natsOptions has the server itself read its configuration.
func natsOptions(t *testing.T, b bundle) *natsd.Options {
	t.Helper()
	conf, ok := b.configs["nats-config"].Data["nats.conf"]
	if !ok {
		t.Fatal("there is no nats.conf")
	}
	for _, v := range b.container(t, "nats").Env {
		if v.ValueFrom.FieldRef.FieldPath == "metadata.name" {
			t.Setenv(v.Name, "nats-0")
		}
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := natsd.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func TestTheServersOfTheClusterFindEachOther(t *testing.T) {
	b := loadBroker(t, "jetstream")
	opts, set, c := natsOptions(t, b), b.workloads["nats"], b.container(t, "nats")
	if opts.ServerName != "nats-0" {
		t.Errorf("the server's name is %q; it has to be the pod's", opts.ServerName)
	}
	var routes []string
	for _, r := range opts.Routes {
		routes = append(routes, r.Host)
	}
	var pods []string
	for i := range set.Spec.Replicas {
		pods = append(pods, fmt.Sprintf("%s-%d.%s:%d", set.Metadata.Name, i, set.Spec.ServiceName, opts.Cluster.Port))
	}
	if !slices.Equal(routes, pods) {
		t.Errorf("routes to %v, want %v", routes, pods)
	}
	for name, port := range map[string]int{"client": opts.Port, "cluster": opts.Cluster.Port, "monitoring": opts.HTTPPort} {
		if c.port(name) != port || port == 0 {
			t.Errorf("port %s: the server has %d, the container %d", name, port, c.port(name))
		}
	}
	if set.Spec.PodManagementPolicy != "Parallel" || !b.services[set.Spec.ServiceName].Spec.PublishNotReadyAddresses {
		t.Error("servers that wait for each other cannot be started in turn, or found only when they are ready")
	}
	if n := brokerConfig(t, b).Replicas; n != set.Spec.Replicas {
		t.Errorf("streams with %d replicas on %d servers", n, set.Spec.Replicas)
	}
}

func TestJetStreamFitsIntoItsVolumeAndMemory(t *testing.T) {
	b := loadBroker(t, "jetstream")
	opts, set, c := natsOptions(t, b), b.workloads["nats"], b.container(t, "nats")
	if !opts.JetStream {
		t.Fatal("JetStream is off")
	}
	mounted := ""
	for _, m := range c.VolumeMounts {
		if strings.HasPrefix(opts.StoreDir, m.MountPath+"/") {
			mounted = m.Name
		}
	}
	if len(set.Spec.VolumeClaimTemplates) != 1 || set.Spec.VolumeClaimTemplates[0].Metadata.Name != mounted {
		t.Fatalf("%s is on the volume %q, which does not stay", opts.StoreDir, mounted)
	}
	if size := quantity(t, set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests["storage"]); opts.JetStreamMaxStore <= 0 || opts.JetStreamMaxStore > size/10*9 {
		t.Errorf("a store of %d bytes on a volume of %d", opts.JetStreamMaxStore, size)
	}
	limit := quantity(t, c.Resources.Limits["memory"])
	if opts.JetStreamMaxMemory <= 0 || opts.JetStreamMaxMemory > limit/2 {
		t.Errorf("a memory store of %d bytes in %d", opts.JetStreamMaxMemory, limit)
	}
	for _, v := range c.Env {
		if v.Name == "GOMEMLIMIT" {
			if soft := quantity(t, text(strings.TrimSuffix(string(v.Value), "B"))); soft >= limit {
				t.Errorf("GOMEMLIMIT %s is not below the limit of %d bytes", v.Value, limit)
			}
		}
	}
}

// quantity is a number of bytes as Kubernetes writes it.
func quantity(t *testing.T, s text) int64 {
	t.Helper()
	for suffix, unit := range map[string]int64{"Mi": 1 << 20, "Gi": 1 << 30} {
		if number, ok := strings.CutSuffix(string(s), suffix); ok {
			var n int64
			if _, err := fmt.Sscan(number, &n); err == nil {
				return n * unit
			}
		}
	}
	t.Fatalf("%q is no number of Mi or Gi", s)
	return 0
}

func TestTheServersOfTheClusterLeaveInOrderAndOneAtATime(t *testing.T) {
	b := loadBroker(t, "jetstream")
	opts, c := natsOptions(t, b), b.container(t, "nats")
	grace := time.Duration(b.workloads["nats"].pod().TerminationGracePeriodSeconds) * time.Second
	if grace < opts.LameDuckDuration+opts.LameDuckGracePeriod+10*time.Second {
		t.Errorf("a grace period of %v for %v and %v", grace, opts.LameDuckGracePeriod, opts.LameDuckDuration)
	}
	if leave := c.Lifecycle.PreStop.Exec.Command; len(leave) == 0 || leave[len(leave)-1] != text("ldm="+opts.PidFile) {
		t.Errorf("preStop is %v, and the pid file %s", leave, opts.PidFile)
	}
	if p := c.StartupProbe.HTTPGet.Path; p != "/healthz" {
		t.Errorf("the startup probe asks %s: the next server would leave before this one has caught up", p)
	}
	writable := false
	for _, m := range c.VolumeMounts {
		writable = writable || m.MountPath == filepath.Dir(opts.PidFile)
	}
	if !writable {
		t.Errorf("the pid file %s is on no volume", opts.PidFile)
	}
}

func TestNATSStreamingIsTheTutorials(t *testing.T) {
	b := loadBroker(t, "streaming")
	c := b.container(t, "nats-depl")
	args := make([]string, len(c.Args))
	for i, a := range c.Args {
		args[i] = string(a)
	}
	fs := flag.NewFlagSet("nats-streaming-server", flag.ContinueOnError)
	help := func() { t.Error("the arguments ask for help") }
	streaming, nats, err := stand.ConfigureOptions(fs, args, help, help, help)
	if err != nil {
		t.Fatal(err)
	}
	if fs.NArg() > 0 {
		t.Errorf("the arguments %v are not read", fs.Args())
	}
	if cfg := brokerConfig(t, b); streaming.ID != cfg.ClusterID {
		t.Errorf("the server's cluster id is %q, the services' %q", streaming.ID, cfg.ClusterID)
	}
	if c.port("client") != nats.Port || c.port("monitoring") != nats.HTTPPort {
		t.Errorf("the server has the ports %d and %d, the container %+v", nats.Port, nats.HTTPPort, c.Ports)
	}
	if streaming.ClientHBInterval != 5*time.Second || streaming.ClientHBTimeout != 5*time.Second || streaming.ClientHBFailCount != 2 || !streaming.Debug {
		t.Errorf("heartbeats %v, %v, %d; debug %t", streaming.ClientHBInterval, streaming.ClientHBTimeout, streaming.ClientHBFailCount, streaming.Debug)
	}
}
