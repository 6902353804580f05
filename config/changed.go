package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Changed returns the paths of what two configurations differ in, in order.
func Changed(a, b *Config) []string {
	var out []string
	differ(&out, "", a.whole().show(true), b.whole().show(true))
	slices.Sort(out)
	return slices.Compact(out)
}

func differ(out *[]string, path string, a, b any) {
	x, isMapping := a.(mapping)
	y, both := b.(mapping)
	if !isMapping || !both {
		if leaf(a) != leaf(b) {
			*out = append(*out, path)
		}
		return
	}
	for _, m := range slices.Concat(x, y) {
		differ(out, join(path, m.name), x.get(m.name), y.get(m.name))
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
