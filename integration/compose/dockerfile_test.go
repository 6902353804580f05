package compose

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// readDockerfile splits a Dockerfile into its stages. It knows what ours uses: full-line comments, continued lines,
// flags.
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
