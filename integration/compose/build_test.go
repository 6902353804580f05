package compose

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// builder builds the stages of the Dockerfile that the images copy from.
type builder struct {
	context string
	work    string
	stages  map[string]*stage
	built   map[string]string // roots by stage
}

// build runs the steps of a stage as Docker would, on this machine's tools in place of golang's image.
func (b *builder) build(name string) (string, error) {
	if root := b.built[name]; root != "" {
		return root, nil
	}
	root := filepath.Join(b.work, "stage-"+name)
	c, err := b.prepare(name, root)
	if err != nil {
		return "", err
	}
	if err := c.play(b.stages[name].steps); err != nil {
		return "", fmt.Errorf("stage %s: %w", name, err)
	}
	b.built[name] = root
	return root, nil
}

// construction is a stage in the making.
type construction struct {
	*builder
	root, dir string
	env       []string
}

// prepare makes the root of a stage that starts from golang's image, after the steps of the stages it builds on.
func (b *builder) prepare(name, root string) (*construction, error) {
	s := b.stages[name]
	if s == nil {
		return nil, fmt.Errorf("the Dockerfile has no stage %q", name)
	}
	if b.stages[s.from] != nil {
		c, err := b.prepare(s.from, root)
		if err != nil {
			return nil, err
		}
		return c, c.play(b.stages[s.from].steps)
	}
	if !strings.HasPrefix(s.from, "golang:1.26-") {
		return nil, fmt.Errorf("stage %s starts from %s: the toolchain here is 1.26", name, s.from)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(debian(root), system(root)); err != nil {
		return nil, err
	}
	env := []string{
		"PATH=/goroot/bin:" + usualPath, "HOME=/root", "GOPATH=/go", "GOTOOLCHAIN=local",
		"GOPROXY=off", "GOFLAGS=-mod=readonly", // the network is another; the modules are in the cache by now
	}
	return &construction{b, root, "/", env}, bind(strings.TrimSpace(string(goroot)), filepath.Join(root, "goroot"), true)
}

func (c *construction) play(steps []step) error {
	for _, s := range steps {
		var err error
		switch s.word {
		case "WORKDIR":
			c.dir = s.rest
			err = os.MkdirAll(filepath.Join(c.root, c.dir), 0o755)
		case "ENV", "ARG":
			c.env = append(c.env, s.rest)
		case "COPY":
			if s.rest != ". ." || len(s.flags) > 0 {
				return fmt.Errorf("COPY %s: this test knows . . alone", s.rest)
			}
			err = c.copyContext()
		case "RUN":
			err = c.run(s)
		default:
			err = fmt.Errorf("%s: this test cannot imitate it", s.word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyContext shows the stage what docker build would send: all but .dockerignore's names at the top.
func (c *construction) copyContext() error {
	ignored, err := os.ReadFile(filepath.Join(c.context, ".dockerignore"))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(c.context)
	for _, e := range entries {
		if !slices.Contains(strings.Fields(string(ignored)), e.Name()) {
			if err := bind(filepath.Join(c.context, e.Name()), filepath.Join(c.root, c.dir, e.Name()), true); err != nil {
				return err
			}
		}
	}
	return err
}

var caches = map[string]string{"/go/pkg/mod": "GOMODCACHE", "/root/.cache/go-build": "GOCACHE"}

func (c *construction) run(s step) error {
	for _, value := range s.flags {
		_, target, _ := strings.Cut(value, "target=")
		if caches[target] == "" {
			return fmt.Errorf("RUN --mount=%s: this test knows the caches of Go alone", value)
		}
		folder, err := exec.Command("go", "env", caches[target]).Output()
		if err != nil {
			return err
		}
		to := filepath.Join(c.root, target)
		if _, err := os.Stat(to); err == nil {
			continue // of an earlier step
		}
		if err := bind(strings.TrimSpace(string(folder)), to, target != "/root/.cache/go-build"); err != nil {
			return err
		}
	}
	cmd := inRoot(c.root, c.dir, "0:0", c.env, "/bin/sh", "-c", s.rest)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("RUN %s: %w: %s", s.rest, err, out)
	}
	return nil
}
