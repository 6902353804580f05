package config

import (
	"slices"
	"strings"
	"testing"
)

func TestOriginsAreComparedAsBrowsersSendThem(t *testing.T) {
	for given, want := range map[string]string{
		"https://App.Example:443": "https://app.example", "http://app.example:80": "http://app.example",
		"http://app.example:443": "http://app.example:443", "http://localhost:3000": "http://localhost:3000",
		"http://localhost:*": "http://localhost:*", `"http://[::1]:5173"`: "http://[::1]:5173", "app://.": "app://.",
		"app://obsidian.md": "app://obsidian.md", "file://": "file://", "vscode-webview://*": "vscode-webview://*",
		"capacitor://localhost": "capacitor://localhost", "chrome-extension://abcdef": "chrome-extension://abcdef",
		"moz-extension://0a-1b": "moz-extension://0a-1b", `"*"`: "*", "null": "null", `"null"`: "null",
		"https://xn--pp-uia.example": "https://xn--pp-uia.example",
	} {
		c := mustLoad(t, smallest+"clients: { origins: ["+given+"] }")
		if !slices.Equal(c.Clients.Origins, []string{want}) {
			t.Errorf("%s is read as %q, want %q", given, c.Clients.Origins, want)
		}
	}
}

func TestATenantHeaderNeedsAProxyThatIsTrusted(t *testing.T) {
	const route = "routes: { r: { match: { prefix: / }, upstreams: [anthropic], tenant_header: x-team } }\n"
	c := mustLoad(t, route+"clients: { trusted_proxies: [127.0.0.1, 10.1.2.3/8, \"fd00::1\", \"::ffff:10.9.9.9\"] }")
	want := []string{"127.0.0.1/32", "10.0.0.0/8", "fd00::1/128", "10.9.9.9/32"}
	if !slices.Equal(c.Clients.TrustedProxies, want) {
		t.Errorf("trusted are %q, want %q", c.Clients.TrustedProxies, want)
	}
	for _, who := range []string{"", "{ anonymous: always }", "{ anonymous: loopback, trusted_proxies: [] }"} {
		_, err := load(t, route+"clients: "+who+"\n", noEnvironment)
		if err == nil || !strings.Contains(err.Error(), "clients.trusted_proxies") {
			t.Errorf("%q: %v", who, err)
		}
	}
}

func TestNotesTellWhatAValidFileMayNotBeMeantToSay(t *testing.T) {
	const tail = ", upstreams: [anthropic]"
	route := func(match, more string) string { return "routes: { r: { match: " + match + tail + more + " } }\n" }
	for _, tt := range []struct {
		text  string
		notes []string // how each begins
	}{
		{route("{ prefix: / }", ""), nil},
		{route("{ prefix: /, hosts: [llm.internal, '*', '*.corp.example'] }", ""), nil},
		{route("{ prefix: / }", ", tenant: blue"), []string{"routes.r.tenant: tenants are labels for accounting, no iso"}},
		{route("{ prefix: / }", ", tenant_header: x-team") + "clients: { trusted_proxies: [10.0.0.7] }", nil},
		{route("{ prefix: /, hosts: ['llm.*', '*:80', '*x.y'] }", ""), []string{"match.hosts llm.*, *:80, *x.y: strangers"}},
		{route("{ prefix: /, hosts: ['llm.*'] }", "") + "clients: { anonymous: always }", nil},
		{smallest + "clients: { trusted_proxies: [127.0.0.1] }", []string{"clients.trusted_proxies 127.0.0.1/32: every"}},
		{smallest + "clients: { origins: ['*'] }", []string{"clients.origins *: every"}},
		{smallest + "clients: { origins: ['null'] }", []string{"clients.origins null: every"}},
	} {
		got := Notes(mustLoad(t, tt.text))
		if len(got) != len(tt.notes) {
			t.Errorf("%s: %q", tt.text, got)
			continue
		}
		for i, n := range got {
			if !strings.HasPrefix(n, tt.notes[i]) {
				t.Errorf("%s: %q, want %q", tt.text, n, tt.notes[i])
			}
		}
	}
}
