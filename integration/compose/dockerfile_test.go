package compose

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// stage is a stage of the Dockerfile: what it starts from and its further instructions.
type stage struct {
	from  string
	steps []step
}

type step struct {
	word  string            // RUN, COPY, …
	flags map[string]string // --from=build
	rest  string
}

// readDockerfile splits a Dockerfile into its stages. It knows what ours uses: full-line comments, continued lines, flags.
func readDockerfile(file string) (map[string]*stage, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(data), "")
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	stages := map[string]*stage{}
	var now *stage
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		s := step{word: word, flags: map[string]string{}, rest: strings.TrimSpace(rest)}
		for strings.HasPrefix(s.rest, "--") {
			flag, rest, _ := strings.Cut(s.rest, " ")
			key, value, _ := strings.Cut(flag[len("--"):], "=")
			if key == "mount" { // may be given more than once
				key += " " + value
			}
			s.flags[key], s.rest = value, strings.TrimSpace(rest)
		}
		switch word {
		case "":
		case "FROM":
			from, name, ok := strings.Cut(s.rest, " AS ")
			if !ok {
				return nil, fmt.Errorf("%s: %q has no name", file, line)
			}
			now = &stage{from: from}
			stages[name] = now
		default:
			now.steps = append(now.steps, s)
		}
	}
	return stages, nil
}

// image is what a container starts from.
type image struct {
	fill       func(root string) error // puts its files into an empty folder
	user, dir  string
	entrypoint []string
	command    []string
}

// builder builds the stages of the Dockerfile that the images copy from.
type builder struct {
	context string
	work    string
	stages  map[string]*stage
	built   map[string]string // roots by stage
}

// final reads a stage that ends in an image. What it starts from is taken as empty: its own files have to suffice.
func (b *builder) final(target string) (image, error) {
	s := b.stages[target]
	if s == nil || !strings.HasPrefix(s.from, "gcr.io/distroless/static-debian12:") {
		return image{}, fmt.Errorf("stage %q is none, or does not start from distroless/static", target)
	}
	i := image{dir: "/"}
	type copied struct{ from, to, owner string }
	var files []copied
	for _, st := range s.steps {
		var err error
		switch st.word {
		case "COPY":
			var src, dst, root string
			if _, err = fmt.Sscan(st.rest, &src, &dst); err == nil {
				root, err = b.build(st.flags["from"])
			}
			files = append(files, copied{filepath.Join(root, src), dst, st.flags["chown"]})
		case "USER":
			i.user = st.rest
		case "WORKDIR":
			i.dir = st.rest
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(st.rest), &i.entrypoint)
		case "CMD":
			err = json.Unmarshal([]byte(st.rest), &i.command)
		default:
			err = fmt.Errorf("this test cannot imitate it")
		}
		if err != nil {
			return image{}, fmt.Errorf("stage %s: %s %s: %w", target, st.word, st.rest, err)
		}
	}
	i.fill = func(root string) error {
		for _, f := range files {
			if err := copyAs(f.from, filepath.Join(root, f.to), f.owner); err != nil {
				return err
			}
		}
		return nil
	}
	return i, nil
}

// copyAs copies a file, or what is in a folder, with a new owner: root unless one is given.
func copyAs(from, to, owner string) error {
	if owner == "" {
		owner = "0:0"
	}
	if st, err := os.Stat(from); err != nil {
		return err
	} else if !st.IsDir() {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return shell("cp -a -- \"$1\" \"$2\" && chown \"$3\" -- \"$2\"", from, to, owner)
	}
	return shell(`mkdir -p "$2"; cp -a "$1/." "$2"; find "$1" -mindepth 1 -printf '%P\n' | while read -r f; do chown "$3" "$2/$f"; done`, from, to, owner)
}

func shell(script string, args ...string) error {
	cmd := exec.Command("/bin/sh", append([]string{"-ec", script, "sh"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", script, args, err, out)
	}
	return nil
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
	if err := debian(root); err != nil {
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
