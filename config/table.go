package config

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// section is the table of a mapping in the file: one row for each of its keys. What reads, prints, completes and
// documents the configuration goes by these tables alone.
type section []row

// row is one key. Its value is bound to the field that it is read into.
type row struct {
	name    string
	value   value
	preset  string // the default, as a file would have it; "": none
	meaning string
	derived string // the default in words, where it follows from other keys
	rule    string // in words, besides that of the value's type
	env     string // the variable whose content takes the place of the preset
}

// key makes a row; the methods after it add what few rows have.
func key(name string, v value, preset, meaning string) row {
	return row{name: name, value: v, preset: preset, meaning: meaning}
}

func (k row) must(rule string) row { k.rule = rule; return k }
func (k row) or(words string) row  { k.derived = words; return k }
func (k row) from(env string) row  { k.env = env; return k }

// value is a type of values, bound to one field.
type value struct {
	kind string // for people
	rule string // what is right of it, for people; "": whatever is of its kind
	read func(r *reader, n *yaml.Node, path string)
	// show returns what Print shows, nil for nothing. With secrets it is for comparison only.
	show  func(secrets bool) any
	paths func(fix func(path *string)) // calls fix with the paths in it; nil: there are none
	rows  section                      // of a mapping, or of each entry
	names bool                         // the keys are the file's own, and rows are those of each entry
}

// as names the kind of a text.
func (v value) as(kind string) value { v.kind = kind; return v }

// when shows the value only if a condition holds.
func (v value) when(holds func() bool) value {
	show := v.show
	v.show = func(secrets bool) any {
		if holds() {
			return show(secrets)
		}
		return nil
	}
	return v
}

func (s section) names() (names []string) {
	for _, k := range s {
		names = append(names, k.name)
	}
	return names
}

// object is a mapping with known keys.
func object(s section) value {
	return value{
		kind: "mapping", rows: s,
		read: func(r *reader, n *yaml.Node, path string) {
			r.each(n, path, func(key string, at, v *yaml.Node) {
				if i := slices.Index(s.names(), key); i >= 0 {
					s[i].value.read(r, v, join(path, key))
					return
				}
				r.report(at, join(path, key), "", "is no key of the configuration", meant(key, s.names(), "remove it"))
			})
		},
		show: func(secrets bool) any {
			var out mapping
			for _, k := range s {
				out.add(k.name, k.value.show(secrets))
			}
			// As people know it: sections and keys by the alphabet.
			slices.SortFunc(out, func(a, b member) int { return strings.Compare(a.name, b.name) })
			return out
		},
		paths: func(fix func(*string)) {
			for _, k := range s {
				if k.value.paths != nil {
					k.value.paths(fix)
				}
			}
		},
	}
}

// optional is a mapping that is set by being there.
func optional[T any](dst **T, table func(*T) section) value {
	v := object(table(new(T)))
	v.read = func(r *reader, n *yaml.Node, path string) {
		*dst = new(T)
		s := table(*dst)
		r.preset(s, path)
		object(s).read(r, n, path)
	}
	v.show = func(secrets bool) any {
		if *dst == nil {
			return nil
		}
		return object(table(*dst)).show(secrets)
	}
	v.paths = func(fix func(*string)) {
		if *dst != nil {
			object(table(*dst)).paths(fix)
		}
	}
	return v
}

// entries is a mapping of names to things of one table. all yields them, put keeps one in the place of its name.
func entries[T any](table func(*T) section, all iter.Seq2[string, T], put func(name string, t T)) value {
	return value{
		kind: "mapping of names", rows: table(new(T)), names: true,
		read: func(r *reader, n *yaml.Node, path string) {
			r.each(n, path, func(name string, at, v *yaml.Node) {
				if !namePattern.MatchString(name) {
					r.report(at, join(path, name), "", "is no name", "use letters, digits, - and _")
					return
				}
				t := fresh(r, table)
				object(table(&t)).read(r, v, join(path, name))
				put(name, t)
			})
		},
		show: func(secrets bool) any {
			out := mapping{}
			for name, t := range all {
				out.add(name, object(table(&t)).show(secrets))
			}
			return out
		},
		paths: func(fix func(*string)) {
			for name, t := range all {
				object(table(&t)).paths(fix)
				put(name, t)
			}
		},
	}
}

// mapOf is entries that a map holds.
func mapOf[T any](m map[string]T, table func(*T) section) value {
	all := func(yield func(string, T) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
	return entries(table, all, func(name string, t T) { m[name] = t })
}

// fresh is an entry of which nothing is said.
func fresh[T any](r *reader, table func(*T) section) (t T) {
	r.preset(table(&t), "")
	return t
}

// preset fills in what counts for what a file does not say.
func (r *reader) preset(s section, path string) {
	quiet := &reader{file: r.file, literal: true, values: map[string]*yaml.Node{}}
	for _, k := range s {
		at := join(path, k.name)
		r.preset(k.value.rows, at)
		if k.preset != "" {
			k.value.read(quiet, written(k.preset), at)
		}
		if v, ok := r.env(k.env); ok && k.env != "" {
			k.value.read(quiet, &yaml.Node{Kind: yaml.ScalarNode, Value: v}, at)
		}
	}
	r.problems = append(r.problems, quiet.problems...)
}

// written is the node of a default: a text, or a list [one, two].
func written(preset string) *yaml.Node {
	list, isList := strings.CutPrefix(preset, "[")
	if !isList {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: preset}
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for one := range strings.SplitSeq(strings.TrimSuffix(list, "]"), ", ") {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: strings.Trim(one, `"`)})
	}
	return n
}

// mapping is what Print shows of a mapping, in order.
type mapping []member

type member struct {
	name  string
	value any
}

func (m *mapping) add(name string, value any) {
	if value != nil {
		*m = append(*m, member{name, value})
	}
}

// get returns the value of a name; nil: there is none.
func (m mapping) get(name string) any {
	for _, f := range m {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// MarshalYAML implements yaml.Marshaler.
func (m mapping) MarshalYAML() (any, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range m {
		var v yaml.Node
		if err := v.Encode(f.value); err != nil {
			return nil, err
		}
		out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.name}, &v)
	}
	return out, nil
}
