package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Changed returns the paths of what two configurations differ in, in order.
func Changed(a, b *Config) []string {
	var out []string
	differ(&out, "", tree(a), tree(b))
	for _, name := range slices.Sorted(maps.Keys(a.Providers)) { // what Print hides
		p, path := a.Providers[name], "providers."+name
		q, ok := b.Providers[name]
		if ok && !maps.Equal(p.Headers, q.Headers) {
			out = append(out, path+".headers")
		}
		if ok && p.Proxy != q.Proxy {
			out = append(out, path+".proxy")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tree is what Print shows of a configuration.
func tree(c *Config) any {
	var t any
	text, err := Print(c)
	if err == nil {
		err = yaml.Unmarshal(text, &t)
	}
	if err != nil {
		return err.Error()
	}
	return t
}

func differ(out *[]string, path string, a, b any) {
	x, isMap := a.(map[string]any)
	y, both := b.(map[string]any)
	if !isMap || !both {
		if leaf(a) != leaf(b) {
			*out = append(*out, path)
		}
		return
	}
	for key := range x {
		differ(out, join(path, key), x[key], y[key])
	}
	for key := range y {
		if _, ok := x[key]; !ok {
			*out = append(*out, join(path, key))
		}
	}
}

// leaf is a value as a file would have it, so that lists can be compared too.
func leaf(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
