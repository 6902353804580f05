package config

import (
	"fmt"
	"net"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/tokenward/tokenward/destination"
)

// reader walks the YAML tree and collects problems. Every value is read by a function that knows its target.
type reader struct {
	file     string
	env      func(string) (string, bool)
	values   map[string]*yaml.Node // by path: what the file says, for the checks that come after reading
	literal  bool                  // values are not to be searched for variables
	problems Problems
}

func (r *reader) report(n *yaml.Node, path, value, rule, remedy string) {
	r.problems = append(r.problems, Problem{r.file, n.Line, path, asWritten(n, value), rule, remedy})
}

// asWritten is what a message shows of a value: never what an environment variable holds, which may be a secret.
func asWritten(n *yaml.Node, value string) string {
	if n = resolve(n); value != "" && variable.MatchString(n.Value) {
		return n.Value
	}
	return value
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

func (r *reader) each(n *yaml.Node, path string, f func(key string, at, value *yaml.Node)) {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.report(n, path, "", "must be a mapping of keys to values", "")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if first, ok := seen[key]; ok {
			r.report(n.Content[i], join(path, key), "", fmt.Sprintf("is given twice, first in line %d", first), "keep one")
			continue
		}
		seen[key] = n.Content[i].Line
		r.values[join(path, key)] = n.Content[i+1]
		f(key, n.Content[i], n.Content[i+1])
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// scalar returns the value of a scalar with ${NAME} and ${NAME:-default} replaced.
func (r *reader) scalar(n *yaml.Node, path, want string) (string, bool) {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.report(n, path, "", "must be "+want, "")
		return "", false
	}
	if r.literal {
		return n.Value, true
	}
	ok := true
	value := variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		part := variable.FindStringSubmatch(m)
		if v, set := r.env(part[1]); set && (v != "" || part[2] == "") {
			return v // :- stands in for an empty variable too, as in a shell
		}
		if part[2] == "" {
			ok = false
			r.report(n, path, "", "the environment variable "+part[1]+" is not set",
				"set it, or give a default as ${"+part[1]+":-value}")
		}
		return part[3]
	})
	return value, ok
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// loopback reports whether a HOST:PORT can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && destination.Loopback(host)
}
