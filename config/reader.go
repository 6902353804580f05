package config

import (
	"fmt"
	"maps"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader walks the YAML tree and collects problems. Every value is read by a function that knows its target.
type reader struct {
	file     string
	env      func(string) (string, bool)
	values   map[string]*yaml.Node // by path: what the file says, for the checks that come after reading
	problems Problems
}

// read takes a node at a path into its target.
type read func(n *yaml.Node, path string)

// keys maps the keys of an object to what reads them.
type keys map[string]read

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

// object reads a mapping with known keys.
func (r *reader) object(k keys) read {
	return func(n *yaml.Node, path string) {
		r.each(n, path, func(key string, at, value *yaml.Node) {
			if f, ok := k[key]; ok {
				f(value, join(path, key))
				return
			}
			r.report(at, join(path, key), "", "is no key of the configuration", meant(key, slices.Collect(maps.Keys(k)), "remove it"))
		})
	}
}

// entries reads a mapping whose keys are names.
func (r *reader) entries(one func(name string, n *yaml.Node, path string)) read {
	return func(n *yaml.Node, path string) {
		r.each(n, path, func(key string, at, value *yaml.Node) {
			if !namePattern.MatchString(key) {
				r.report(at, join(path, key), "", "is no name", "use letters, digits, - and _")
				return
			}
			one(key, value, join(path, key))
		})
	}
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
	ok := true
	value := variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		part := variable.FindStringSubmatch(m)
		if v, set := r.env(part[1]); set && (v != "" || part[2] == "") {
			return v // :- stands in for an empty variable too, as in a shell
		}
		if part[2] == "" {
			ok = false
			r.report(n, path, "", "the environment variable "+part[1]+" is not set", "set it, or give a default as ${"+part[1]+":-value}")
		}
		return part[3]
	})
	return value, ok
}

func (r *reader) text(dst *string) read {
	return func(n *yaml.Node, path string) {
		if v, ok := r.scalar(n, path, "a text"); ok {
			*dst = v
		}
	}
}

func (r *reader) oneOf(dst *string, allowed ...string) read {
	return func(n *yaml.Node, path string) {
		v, ok := r.scalar(n, path, "one of "+strings.Join(allowed, ", "))
		if !ok {
			return
		}
		for _, a := range allowed {
			if v == a {
				*dst = v
				return
			}
		}
		r.report(n, path, v, "must be one of "+strings.Join(allowed, ", "), "")
	}
}

func (r *reader) boolean(dst *bool) read {
	return func(n *yaml.Node, path string) {
		switch v, ok := r.scalar(n, path, "true or false"); {
		case !ok:
		case v == "true" || v == "false":
			*dst = v == "true"
		default:
			r.report(n, path, v, "must be true or false", "")
		}
	}
}

func (r *reader) integer(dst *int, lo, hi int) read {
	return func(n *yaml.Node, path string) {
		rule := fmt.Sprintf("must be a whole number from %d to %d", lo, hi)
		v, ok := r.scalar(n, path, rule[8:])
		if !ok {
			return
		}
		i, err := strconv.Atoi(v)
		if err != nil || i < lo || i > hi {
			r.report(n, path, v, rule, "")
			return
		}
		*dst = i
	}
}

func (r *reader) duration(dst *time.Duration, lo time.Duration) read {
	return func(n *yaml.Node, path string) {
		v, ok := r.scalar(n, path, "a duration like 30s or 5m")
		if !ok {
			return
		}
		d, err := time.ParseDuration(v)
		switch {
		case err != nil:
			r.report(n, path, v, "must be a duration like 30s or 5m", "")
		case d < lo:
			r.report(n, path, v, "must be at least "+lo.String(), "")
		default:
			*dst = d
		}
	}
}

var units = []struct {
	suffix string
	size   float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

func (r *reader) size(dst *uint32) read {
	return func(n *yaml.Node, path string) {
		const rule = "must be a size like 512KiB or 32MiB, less than 4GiB"
		v, ok := r.scalar(n, path, rule[8:])
		if !ok {
			return
		}
		if size, ok := parseSize(v); ok && size < math.MaxUint32 {
			*dst = uint32(size)
			return
		}
		r.report(n, path, v, rule, "")
	}
}

// leastHeap is what Envoy needs with a few hundred clients.
const leastHeap = 128 << 20

func (r *reader) heap(dst *uint64) read {
	return func(n *yaml.Node, path string) {
		const rule = "must be a size like 512MiB or 4GiB, at least 128MiB"
		v, ok := r.scalar(n, path, rule[8:])
		if !ok {
			return
		}
		if size, ok := parseSize(v); ok && size >= leastHeap && size < math.MaxInt64 {
			*dst = uint64(size)
			return
		}
		r.report(n, path, v, rule, "")
	}
}

// parseSize returns bytes.
func parseSize(v string) (float64, bool) {
	for _, u := range units {
		if num, found := strings.CutSuffix(v, u.suffix); found {
			f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
			return f * u.size, err == nil && f >= 0
		}
	}
	return 0, false
}

func (r *reader) texts(dst *[]string) read {
	return r.list(dst, func(s string) (string, string, string) { return s, "", "" })
}

// list reads texts, each into the form that one gives it unless it breaks a rule.
func (r *reader) list(dst *[]string, one func(s string) (value, rule, remedy string)) read {
	return func(n *yaml.Node, path string) {
		n = resolve(n)
		if n.Kind != yaml.SequenceNode {
			r.report(n, path, "", "must be a list", "write it as [one, two]")
			return
		}
		*dst = nil
		for i, e := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			r.values[at] = e
			v, ok := r.scalar(e, at, "a text")
			if !ok {
				continue
			}
			value, rule, remedy := one(v)
			if rule != "" {
				r.report(e, at, v, rule, remedy)
			}
			*dst = append(*dst, value)
		}
	}
}

func (r *reader) textMap(dst *map[string]string) read {
	return func(n *yaml.Node, path string) {
		*dst = map[string]string{}
		r.each(n, path, func(key string, _, value *yaml.Node) {
			if v, ok := r.scalar(value, join(path, key), "a text"); ok {
				(*dst)[key] = v
			}
		})
	}
}

// later refuses what belongs to a later version, unless it is left at its default.
func (r *reader) later(instead string, harmless ...string) read {
	return func(n *yaml.Node, path string) {
		n = resolve(n)
		for _, h := range harmless {
			if n.Kind == yaml.ScalarNode && n.Value == h {
				return
			}
		}
		r.report(n, path, "", "not built yet", instead)
	}
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
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
