package envoy

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// asked is a request to the outer listener, with {port} for the listener's port.
type asked struct {
	what    string
	headers map[string]string // host is the Host name
	reason  string            // of the refusal; "": it is served
}

// startAdmission runs the outer half with what it refuses before a route is looked for; what is served says so.
func startAdmission(t *testing.T, change func(c *Config)) func(t *testing.T, a asked) *http.Response {
	t.Helper()
	address := startOuterWith(t, change, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range []string{"origin", "headers", "methods", "credentials"} {
			w.Header().Set("access-control-allow-"+h, "the provider's")
		}
		w.Header().Set("access-control-expose-headers", "the provider's")
		_, _ = io.WriteString(w, "served")
	}))
	_, port, _ := strings.Cut(address, ":")
	return func(t *testing.T, a asked) *http.Response {
		t.Helper()
		headers := map[string]string{}
		for k, v := range a.headers {
			headers[k] = strings.ReplaceAll(v, "{port}", port)
		}
		host := headers["host"]
		delete(headers, "host")
		resp, body := call(t, address, host, "/v1/messages", headers)
		var got struct {
			Type  string
			Error struct{ Type, Code, Message string }
		}
		err := json.Unmarshal([]byte(body), &got)
		switch reason := resp.Header.Get("tokenward-reason"); {
		case reason != a.reason:
			t.Errorf("%s, %v: %d %q %s, want the reason %q", a.what, a.headers, resp.StatusCode, reason, body, a.reason)
		case reason == "" && (resp.StatusCode != http.StatusOK || body != "served"):
			t.Errorf("%s: %d %s, want to be served", a.what, resp.StatusCode, body)
		case reason != "" && (err != nil || resp.StatusCode != http.StatusForbidden || got.Type != "error" ||
			got.Error.Type != "permission_error" || got.Error.Code != reason || got.Error.Message == "" ||
			resp.Header.Get("content-type") != "application/json" || resp.Header.Get("x-should-retry") != "false"):
			t.Errorf("%s: %d %v %s", a.what, resp.StatusCode, resp.Header, body)
		}
		return resp
	}
}

func only(name, value string) map[string]string { return map[string]string{name: value} }

func TestALoopbackGatewayIsCalledByItsOwnNamesOnly(t *testing.T) {
	call := startAdmission(t, func(c *Config) {
		c.Routes[0].Hosts = []string{
			"*", "llm.internal", "ported.internal:8443", "*.corp.example", "llm.*", "*:8080", "*loose.example", "[fd00::1]",
			strings.Repeat("long.", 40) + "example",
		}
	})
	for _, h := range []string{
		"127.0.0.1:{port}", "127.0.0.1", "127.0.0.1:1", "127.1.2.3", "localhost", "localhost:{port}", "LocalHost:80",
		"app.localhost", "a.b.localhost:9", "[::1]", "[::1]:{port}", "llm.internal",
		"LLM.Internal", "llm.internal:9", "ported.internal:8443", "a.corp.example", "a.b.corp.example:{port}",
		"[fd00::1]:80", strings.Repeat("long.", 40) + "example",
	} {
		call(t, asked{"Host " + h, only("host", h), ""})
	}
	for _, h := range []string{
		"attacker.example", "attacker.example:{port}", "localhost.attacker.example", "127.0.0.1.attacker.example",
		"127.attacker.example", "xlocalhost", "localhostx", "notlocalhost:80", "llm.internal.attacker.example",
		"xllm.internal", "ported.internal", "corp.example", "corp.example.attacker.example", "a.corp.example.attacker.example:80",
		"llm.attacker.example", "attacker.example:8080", "evilloose.example",
		"192.168.0.1", "0.0.0.0", "0.0.0.0:{port}", "[fd00::2]", "[::]", "128.0.0.1", "1127.0.0.1",
		"localhost:80.attacker.example", "x",
	} {
		call(t, asked{"Host " + h, only("host", h), "host_refused"})
	}
}

func TestAnOpenGatewayIsCalledByEveryName(t *testing.T) {
	call := startAdmission(t, func(c *Config) { c.LoopbackOnly = false })
	for _, h := range []string{"llm.example", "192.0.2.1:80", "attacker.example"} {
		call(t, asked{"Host " + h, only("host", h), ""})
	}
	call(t, asked{"a page", only("origin", "http://attacker.example"), "origin_refused"})
	same := map[string]string{"host": "attacker.example", "origin": "http://attacker.example"}
	call(t, asked{"a page of the same name", same, "origin_refused"})
	call(t, asked{"a page of this host", only("origin", "http://localhost:{port}"), "origin_refused"})
}

func TestWebPagesAreRefusedUnlessTheyAreNamed(t *testing.T) {
	named := []string{"https://app.example", "http://localhost:*", "vscode-webview://*", "app://obsidian.md", "file://"}
	call := startAdmission(t, func(c *Config) {
		c.Origins = named
		c.Routes[0].Hosts = []string{"*", "llm.internal", "*.corp.example"}
	})
	site := func(origin, site string) map[string]string {
		h := map[string]string{}
		if origin != "-" {
			h["origin"] = origin
		}
		if site != "" {
			h["sec-fetch-site"] = site
		}
		return h
	}
	for _, h := range []map[string]string{
		{},
		site("-", "none"), site("-", "same-origin"), site("http://127.0.0.1:{port}", "same-origin"),
		site("https://[::1]:{port}", ""), site("http://llm.internal:{port}", ""),
	} {
		resp := call(t, asked{"no foreign page", h, ""})
		noneMayRead(t, resp)
	}
	call(t, asked{"the gateway's own origin", site("http://localhost:{port}", ""), ""})
	for _, h := range []map[string]string{
		site("https://app.example", "cross-site"), site("HTTPS://App.example", ""),
		site("http://localhost:3000", "same-site"),
		site("vscode-webview://0a1b2c", "cross-site"), site("app://obsidian.md", ""), site("file://", "cross-site"),
	} {
		resp := call(t, asked{"a page that is named", h, ""})
		for name, want := range map[string]string{
			"allow-origin": h["origin"], "expose-headers": "*",
			"allow-credentials": "", "allow-methods": "", "allow-headers": "",
		} {
			if got := strings.Join(resp.Header.Values("access-control-"+name), "|"); got != want {
				t.Errorf("%v: access-control-%s is %q, want %q", h, name, got, want)
			}
		}
	}
	for _, h := range []map[string]string{
		site("http://attacker.example", "cross-site"), site("http://attacker.example", ""),
		site("http://attacker.example", "same-origin"), site("-", "cross-site"), site("-", "same-site"),
		site("-", "Same-Origin"), site("-", "anything"), site("-", "same-origin, cross-site"),
		site("null", "cross-site"), site("null", ""), site("", ""), site("http://app.example", ""),
		site("https://app.example:8443", ""), site("https://app.example.attacker.example", ""),
		site("https://xapp.example", ""), site("https://sub.app.example", ""),
		site("http://localhost", ""), site("https://localhost:3000", ""), site("http://127.0.0.1:3000", "same-site"),
		site("http://localhost.attacker.example:3000", ""), site("app://obsidian.md.evil", ""), site("file:///etc", ""),
		site("http://a.corp.example:{port}", ""), site("https://app.example, http://attacker.example", ""),
		{"host": "attacker.example:{port}", "origin": "http://attacker.example:{port}"},
	} {
		reason := "origin_refused"
		if h["host"] != "" {
			reason = "host_refused"
		}
		noneMayRead(t, call(t, asked{"a foreign page", h, reason}))
	}
}

func noneMayRead(t *testing.T, resp *http.Response) {
	t.Helper()
	for name := range resp.Header {
		if strings.HasPrefix(strings.ToLower(name), "access-control-") {
			t.Errorf("a page may read the answer: %s", name)
		}
	}
}

func TestEveryPageMayCallWhenAllAreNamed(t *testing.T) {
	call := startAdmission(t, func(c *Config) { c.Origins = []string{"*"} })
	for _, o := range []string{"http://attacker.example", "null", "app://x"} {
		resp := call(t, asked{o, map[string]string{"origin": o, "sec-fetch-site": "cross-site"}, ""})
		if got := resp.Header.Get("access-control-allow-origin"); got != o {
			t.Errorf("%s may read: %q", o, got)
		}
	}
	call(t, asked{"a name of a stranger's", only("host", "attacker.example"), "host_refused"})
}

// TestAPreflightIsAnsweredWhateverMethodsARouteLists: the route of a POST need not list OPTIONS for pages to call it.
func TestAPreflightIsAnsweredWhateverMethodsARouteLists(t *testing.T) {
	for _, methods := range [][]string{usualMethods, {"POST"}} {
		address := startOuterWith(t, func(c *Config) {
			c.Origins, c.Routes[0].Methods = []string{"https://app.example"}, methods
		}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a preflight reached the inner side") }))
		ask := func(headers map[string]string) (status int, allowed string) {
			url := "http://" + address + "/v1/messages"
			req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range headers {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			return resp.StatusCode, resp.Header.Get("access-control-allow-origin")
		}
		preflight := func(origin string) map[string]string {
			return map[string]string{"origin": origin, "access-control-request-method": "POST"}
		}
		named := "https://app.example"
		if status, allowed := ask(preflight(named)); status != http.StatusOK || allowed != named {
			t.Errorf("%v: a named page's preflight got %d %q", methods, status, allowed)
		}
		if status, allowed := ask(preflight("http://attacker.example")); status != http.StatusForbidden || allowed != "" {
			t.Errorf("%v: a foreign page's preflight got %d %q", methods, status, allowed)
		}
		if len(methods) > 1 {
			continue // its OPTIONS go to the provider
		}
		if status, _ := ask(preflight("http://" + address)); status != http.StatusNotFound {
			t.Errorf("the gateway's own page, which needs no preflight, got %d", status)
		}
		for _, h := range []map[string]string{{}, only("origin", "https://app.example")} {
			if status, _ := ask(h); status != http.StatusMethodNotAllowed {
				t.Errorf("OPTIONS with %v got %d", h, status)
			}
		}
	}
}

func TestOnlyATrustedProxyNamesTheTenant(t *testing.T) {
	for name, tt := range map[string]struct {
		proxies []string
		reason  string
	}{
		"nobody is trusted":    {nil, "tenant_denied"},
		"another is":           {[]string{"10.0.0.7/32", "127.0.0.2/32"}, "tenant_denied"},
		"the proxy is":         {[]string{"127.0.0.1/32"}, ""},
		"the proxy's network":  {[]string{"10.0.0.0/8", "127.0.0.0/24"}, ""},
		"another IPv6 network": {[]string{"2001:db8::/64"}, "tenant_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			call := startAdmission(t, func(c *Config) {
				c.TrustedProxies = tt.proxies
				c.Routes[0].TenantHeader = "X-Team"
			})
			call(t, asked{"with a tenant", map[string]string{"x-team": "red", "x-forwarded-for": "10.0.0.7"}, tt.reason})
			call(t, asked{"with an empty one", only("x-team", ""), tt.reason})
			call(t, asked{"without", nil, ""})
		})
	}
}
