package compose

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// project is docker-compose.yaml as Docker Compose understands it. A key that is missing here is an error: the engine
// of this test would not imitate it.
type project struct {
	Name     string             `json:"name"`
	Networks json.RawMessage    `json:"networks"` // one, which Compose makes by itself
	Services map[string]service `json:"services"`
	Volumes  map[string]struct {
		Name string `json:"name"`
	} `json:"volumes"`
	Locked json.RawMessage `json:"x-locked"` // anchors
	Vault  json.RawMessage `json:"x-vault"`
	Often  json.RawMessage `json:"x-often"`
}

type service struct {
	Image       string                `json:"image"`
	Build       *build                `json:"build"`
	Entrypoint  []string              `json:"entrypoint"` // null: the image's
	Command     []string              `json:"command"`
	Environment map[string]string     `json:"environment"`
	User        string                `json:"user"`
	ReadOnly    bool                  `json:"read_only"`
	CapDrop     []string              `json:"cap_drop"`
	SecurityOpt []string              `json:"security_opt"`
	NetworkMode string                `json:"network_mode"`
	Networks    json.RawMessage       `json:"networks"`
	Ports       []port                `json:"ports"`
	Volumes     []mount               `json:"volumes"`
	DependsOn   map[string]dependency `json:"depends_on"`
	Healthcheck *healthcheck          `json:"healthcheck"`
	StopGrace   duration              `json:"stop_grace_period"`
}

type build struct {
	Context    string `json:"context"`
	Dockerfile string `json:"dockerfile"`
	Target     string `json:"target"`
}

type port struct {
	Mode      string `json:"mode"`
	HostIP    string `json:"host_ip"`
	Target    int    `json:"target"`
	Published string `json:"published"`
	Protocol  string `json:"protocol"`
}

type mount struct {
	Type     string   `json:"type"` // bind or volume
	Source   string   `json:"source"`
	Target   string   `json:"target"`
	ReadOnly bool     `json:"read_only"`
	Bind     struct{} `json:"bind"`
	Volume   struct{} `json:"volume"`
}

type dependency struct {
	Condition string `json:"condition"`
	Restart   bool   `json:"restart"`
	Required  bool   `json:"required"`
}

type healthcheck struct {
	Test     []string `json:"test"`
	Interval duration `json:"interval"`
	Timeout  duration `json:"timeout"`
	Retries  int      `json:"retries"`
}

type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	parsed, err := time.ParseDuration(strings.Trim(string(b), `"`))
	*d = duration(parsed)
	return err
}

// normalized is what docker compose config --format json prints: checked against the schema, complete, consistent.
func normalized(t *testing.T, file string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "-C", "../composedev", ".", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("reading %s: %v: %s", file, err, &stderr)
	}
	return out
}

func decode(t *testing.T, data []byte) project {
	t.Helper()
	var p project
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("docker-compose.yaml: %v: teach the engine of this test what it is, or do without", err)
	}
	return p
}

func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheComposeFileIsLockedDown(t *testing.T) {
	p := decode(t, normalized(t, filepath.Join(top(t), "docker-compose.yaml")))
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)
	for name, s := range p.Services {
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %q is not pinned to a version", name, s.Image)
		}
		if s.User != "65532:65532" || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) ||
			!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: runs as %q, read_only %v, cap_drop %v, security_opt %v", name, s.User, s.ReadOnly, s.CapDrop,
				s.SecurityOpt)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q", name, p.Published, p.HostIP)
			}
		}
		for _, m := range s.Volumes {
			if m.Type == "bind" && !m.ReadOnly {
				t.Errorf("%s: may write to the checkout at %s", name, m.Source)
			}
		}
		for key, value := range s.Environment {
			if strings.Contains(key, "TOKEN") && !strings.HasPrefix(value, "not-a-secret-") {
				t.Errorf("%s: %s looks like a secret", name, key)
			}
		}
	}
}

func TestAnUnknownKeyOfTheComposeFileIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "docker-compose.yaml")
	if err := os.WriteFile(file, []byte("services: { a: { image: a:1.0.0, entripoint: [a] } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "-C", "../composedev", ".", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "entripoint") {
		t.Errorf("%v: %s", err, out)
	}
}
