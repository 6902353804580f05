package config

import (
	"slices"
	"strings"
	"testing"
)

func TestWhatTwoFilesDifferInIsNamed(t *testing.T) {
	const base = smallest + "providers: { idp: { driver: oauth2, token_url: https://a.example/t, headers: { x-k: one }, proxy: 'http://u:p@h:1' } }\n"
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"nothing":         {"idp", "idp", nil},
		"a value":         {"a.example", "b.example", []string{"providers.idp.token_url"}},
		"a hidden value":  {"one", "two", []string{"providers.idp.headers"}},
		"a hidden user":   {"u:p", "u:q", []string{"providers.idp.proxy"}},
		"a name":          {"idp:", "other:", []string{"providers.idp", "providers.other"}},
		"a list":          {"[anthropic]", "[anthropic, anthropic]", []string{"routes.messages.upstreams"}},
		"a section added": {"routes", "log: { level: debug }\nroutes", []string{"log.level"}},
	} {
		got := Changed(mustLoadAt(t, base), mustLoadAt(t, strings.Replace(base, c.from, c.to, 1)))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// mustLoadAt makes the folders of all files the same: paths are absolute.
func mustLoadAt(t *testing.T, text string) *Config {
	t.Helper()
	k, err := parse("tokenward.yaml", []byte(text), testKnown, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.result()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
