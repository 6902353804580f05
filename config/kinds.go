package config

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tokenward/tokenward/destination"
)

// This file is about the kinds of values: how each is written, read and shown.

// parser takes a value from its text, or names the rule that the text breaks.
type parser[T any] func(text string) (v T, rule, remedy string)

// scalar is a value that is written as one text.
func scalar[T any](dst *T, kind, want string, parse parser[T]) value {
	return value{
		kind: kind,
		read: func(r *reader, n *yaml.Node, path string) {
			text, ok := r.scalar(n, path, want)
			if !ok {
				return
			}
			v, rule, remedy := parse(text)
			if rule != "" {
				r.report(n, path, text, rule, remedy)
				return
			}
			*dst = v
		},
		show: func(bool) any { return *dst },
	}
}

func anyText(s string) (string, string, string) { return s, "", "" }

func text(dst *string) value { return scalar(dst, "text", "a text", anyText) }

// file is a path, relative to the folder of the configuration file.
func file(dst *string) value {
	v := text(dst).as("path")
	v.paths = func(fix func(*string)) { fix(dst) }
	return v
}

// endpoint is where the service listens for Envoy.
func endpoint(dst *string) value {
	v := text(dst).as("`unix:PATH` or `tcp://HOST:PORT`")
	v.paths = func(fix func(*string)) {
		if path, ok := strings.CutPrefix(*dst, "unix:"); ok {
			fix(&path)
			*dst = "unix:" + path
		}
	}
	return v
}

// proxy is a URL whose user is a secret.
func proxy(dst *string) value {
	v := text(dst).as("URL")
	v.show = func(secrets bool) any {
		if secrets {
			return *dst
		}
		return strings.Replace(destination.WithoutSecrets(*dst), "[hidden]@", "hidden@", 1) // what is printed is a URL
	}
	return v
}

func oneOf(dst *string, allowed ...string) value {
	kind := "one of `" + strings.Join(allowed, "`, `") + "`"
	return scalar(dst, kind, "one of "+strings.Join(allowed, ", "), chosen(allowed...))
}

func chosen(allowed ...string) parser[string] {
	return func(s string) (string, string, string) {
		if slices.Contains(allowed, s) {
			return s, "", ""
		}
		return "", "must be one of " + strings.Join(allowed, ", "), ""
	}
}

// selection is oneOf, and knows the policies to come.
func selection(dst *string) value {
	known := chosen("least_loaded", "round_robin")
	const kind, want = "one of `least_loaded`, `round_robin`", "least_loaded or round_robin"
	return scalar(dst, kind, want, func(s string) (string, string, string) {
		if s == "priority" || s == "sticky" {
			return "", "not built yet", "use " + want
		}
		return known(s)
	})
}

func boolean(dst *bool) value {
	return scalar(dst, "true or false", "true or false", func(s string) (bool, string, string) {
		if s != "true" && s != "false" {
			return false, "must be true or false", ""
		}
		return s == "true", "", ""
	})
}

// integer is a whole number.
func integer(dst *int, lo, hi int, kind string) value {
	want := fmt.Sprintf("a whole number from %d to %d", lo, hi)
	v := scalar(dst, kind, want, func(s string) (int, string, string) {
		i, err := strconv.Atoi(s)
		if err != nil || i < lo || i > hi {
			return 0, "must be " + want, ""
		}
		return i, "", ""
	})
	v.rule = fmt.Sprintf("%d to %d", lo, hi)
	return v
}

// integerOrNone is a whole number that may be left empty.
func integerOrNone(dst **int, lo, hi int, kind string) value {
	var i int
	one := integer(&i, lo, hi, kind)
	v := one
	v.read = func(r *reader, n *yaml.Node, path string) {
		if s, ok := r.scalar(n, path, "a whole number"); ok && s != "" {
			one.read(r, n, path)
			*dst = &i
		}
	}
	v.show = func(bool) any {
		if *dst == nil {
			return ""
		}
		return **dst
	}
	return v
}

func span(lo time.Duration) parser[time.Duration] {
	return func(s string) (time.Duration, string, string) {
		switch d, err := time.ParseDuration(s); {
		case err != nil:
			return 0, "must be a duration like 30s or 5m", ""
		case d < lo:
			return 0, "must be at least " + lo.String(), ""
		default:
			return d, "", ""
		}
	}
}

func duration(dst *time.Duration, lo time.Duration) value {
	v := scalar(dst, "duration", "a duration like 30s or 5m", span(lo))
	v.rule = "at least " + lo.String()
	v.show = func(bool) any { return dst.String() }
	return v
}

// durationOrAuto has 0 for auto.
func durationOrAuto(dst *time.Duration, lo time.Duration) value {
	given := span(lo)
	parse := func(s string) (time.Duration, string, string) {
		if s == "auto" {
			return 0, "", ""
		}
		return given(s)
	}
	v := scalar(dst, "duration or `auto`", "auto or a duration like 5m", parse)
	v.rule = "at least " + lo.String()
	v.show = func(bool) any {
		if *dst == 0 {
			return "auto"
		}
		return dst.String()
	}
	return v
}

// size is a number of bytes, at least lo and less than limit. The rule says the same.
func size[T uint32 | uint64](dst *T, lo, limit float64, rule, example string) value {
	want := "a size like " + example + ", " + rule
	v := scalar(dst, "size", want, func(s string) (T, string, string) {
		if n, ok := parseSize(s); ok && n >= lo && n < limit {
			return T(n), "", ""
		}
		return 0, "must be " + want, ""
	})
	v.rule = rule
	return v
}

var units = []struct {
	suffix string
	size   float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

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

// leastHeap is what Envoy needs with a few hundred clients.
const leastHeap = 128 << 20

func bodySize(dst *uint32) value {
	return size(dst, 0, math.MaxUint32, "less than 4GiB", "512KiB or 32MiB")
}

func heapSize(dst *uint64) value {
	return size(dst, leastHeap, math.MaxInt64, "at least 128MiB", "512MiB or 4GiB")
}

func texts(dst *[]string, of string) value { return list(dst, of, anyText) }

// folders are paths, relative to the folder of the configuration file.
func folders(dst *[]string) value {
	v := texts(dst, "paths")
	v.paths = func(fix func(*string)) {
		for i := range *dst {
			fix(&(*dst)[i])
		}
	}
	return v
}

// list is texts, each read into the form that parse gives it.
func list(dst *[]string, of string, parse parser[string]) value {
	return value{
		kind: "list of " + of,
		read: func(r *reader, n *yaml.Node, path string) {
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
				value, rule, remedy := parse(v)
				if rule != "" {
					r.report(e, at, v, rule, remedy)
				}
				*dst = append(*dst, value)
			}
		},
		show: func(bool) any { return *dst },
	}
}

// secretTexts maps names to texts that are not shown.
func secretTexts(dst *map[string]string) value {
	return value{
		kind: "mapping of names to texts",
		read: func(r *reader, n *yaml.Node, path string) {
			*dst = map[string]string{}
			r.each(n, path, func(key string, _, value *yaml.Node) {
				if v, ok := r.scalar(value, join(path, key), "a text"); ok {
					(*dst)[key] = v
				}
			})
		},
		show: func(secrets bool) any {
			if secrets {
				return *dst
			}
			hidden := map[string]string{}
			for name := range *dst {
				hidden[name] = "[hidden]"
			}
			return hidden
		},
	}
}

// later is a key of a version to come: it may only stand at its default.
func later(instead string, harmless ...string) value {
	return value{
		kind: "not built yet: " + instead,
		read: func(r *reader, n *yaml.Node, path string) {
			n = resolve(n)
			if n.Kind != yaml.ScalarNode || !slices.Contains(harmless, n.Value) {
				r.report(n, path, "", "not built yet", instead)
			}
		},
		show: func(bool) any { return nil },
	}
}

// resolvePaths makes relative paths relative to the file's folder.
func (c *Config) resolvePaths(folder string) {
	c.whole().paths(func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	})
}
