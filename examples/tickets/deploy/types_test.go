package deploy

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// The parts of Kubernetes' types that the manifests use. They are decoded
// strictly: a field that is not here is a mistake, or has to be added.

// text is a string of YAML. Kubernetes refuses a number where it wants one.
type text string

func (s *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return fmt.Errorf("line %d: %s is not a string; quote it", n.Line, n.Value)
	}
	*s = text(n.Value)
	return nil
}

type meta struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   named
}

type named struct {
	Name   string
	Labels map[string]text
}

type labelSelector struct {
	MatchLabels map[string]text `yaml:"matchLabels"`
}

type configMap struct {
	meta `yaml:",inline"`
	Data map[string]text
}

type service struct {
	meta `yaml:",inline"`
	Spec struct {
		ClusterIP                text `yaml:"clusterIP"`
		PublishNotReadyAddresses bool `yaml:"publishNotReadyAddresses"`
		Selector                 map[string]text
		Ports                    []struct {
			Name       string
			Port       int
			TargetPort text `yaml:"targetPort"`
		}
	}
}

type claim struct {
	meta `yaml:",inline"`
	Spec claimSpec
}

type claimSpec struct {
	AccessModes []string `yaml:"accessModes"`
	Resources   struct{ Requests map[string]text }
}

type budget struct {
	meta `yaml:",inline"`
	Spec struct {
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       labelSelector
	}
}

// workload is a Deployment or a StatefulSet.
type workload struct {
	meta `yaml:",inline"`
	Spec struct {
		Replicas            int
		Strategy            struct{ Type string }
		ServiceName         string `yaml:"serviceName"`
		PodManagementPolicy string `yaml:"podManagementPolicy"`
		Selector            labelSelector
		Template            struct {
			Metadata named
			Spec     podSpec
		}
		VolumeClaimTemplates []struct {
			Metadata named
			Spec     claimSpec
		} `yaml:"volumeClaimTemplates"`
	}
}

func (w workload) pod() podSpec { return w.Spec.Template.Spec }

func (w workload) labels() map[string]text { return w.Spec.Template.Metadata.Labels }

type podSpec struct {
	TerminationGracePeriodSeconds int             `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               securityContext `yaml:"securityContext"`
	TopologySpreadConstraints     []struct {
		MaxSkew           int           `yaml:"maxSkew"`
		TopologyKey       string        `yaml:"topologyKey"`
		WhenUnsatisfiable string        `yaml:"whenUnsatisfiable"`
		LabelSelector     labelSelector `yaml:"labelSelector"`
	} `yaml:"topologySpreadConstraints"`
	Containers []container
	Volumes    []struct {
		Name                  string
		ConfigMap             *named    `yaml:"configMap"`
		EmptyDir              *struct{} `yaml:"emptyDir"`
		PersistentVolumeClaim *struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
	}
}

type securityContext struct {
	RunAsNonRoot             bool                  `yaml:"runAsNonRoot"`
	RunAsUser                int                   `yaml:"runAsUser"`
	RunAsGroup               int                   `yaml:"runAsGroup"`
	FSGroup                  int                   `yaml:"fsGroup"`
	AllowPrivilegeEscalation bool                  `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool                  `yaml:"readOnlyRootFilesystem"`
	SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
	Capabilities             struct{ Drop []string }
}

type container struct {
	Name            string
	Image           string
	ImagePullPolicy string `yaml:"imagePullPolicy"`
	Command, Args   []text
	EnvFrom         []struct {
		ConfigMapRef named `yaml:"configMapRef"`
	} `yaml:"envFrom"`
	Env   []variable
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	StartupProbe   *probe `yaml:"startupProbe"`
	LivenessProbe  *probe `yaml:"livenessProbe"`
	ReadinessProbe *probe `yaml:"readinessProbe"`
	Lifecycle      struct {
		PreStop struct {
			Sleep struct{ Seconds int }
			Exec  struct{ Command []text }
		} `yaml:"preStop"`
	}
	Resources       struct{ Requests, Limits map[string]text }
	SecurityContext securityContext `yaml:"securityContext"`
	VolumeMounts    []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type variable struct {
	Name      string
	Value     text
	ValueFrom struct {
		FieldRef struct {
			FieldPath string `yaml:"fieldPath"`
		} `yaml:"fieldRef"`
		SecretKeyRef struct {
			Name, Key string
		} `yaml:"secretKeyRef"`
	} `yaml:"valueFrom"`
}

type probe struct {
	HTTPGet struct {
		Path string
		Port text
	} `yaml:"httpGet"`
	PeriodSeconds    int `yaml:"periodSeconds"`
	TimeoutSeconds   int `yaml:"timeoutSeconds"`
	FailureThreshold int `yaml:"failureThreshold"`
}

// port is the number of a container's port, or zero.
func (c container) port(name string) int {
	for _, p := range c.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

func (c container) probes() []*probe {
	var found []*probe
	for _, p := range []*probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p != nil {
			found = append(found, p)
		}
	}
	return found
}
