package integration

import (
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestALoopbackGatewayServesTheNamesOfItsHostAlone(t *testing.T) {
	g := startWith(t, func(o *Options) { o.Prefix = `/, hosts: ["*", llm.internal]` }, one)
	_, port, _ := net.SplitHostPort(g.Opts.Gateway)
	lines := strings.NewReplacer("PORT", port, "|", "\r\n")
	const body = "\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
	for name, tt := range map[string]struct{ request, reason string }{ // | is a line's end
		"the address":                  {"POST /v1/x HTTP/1.1|Host: 127.0.0.1:PORT", ""},
		"localhost, forwarded":         {"POST /v1/x HTTP/1.1|Host: localhost:8000", ""},
		"an application's name":        {"POST /v1/x HTTP/1.1|Host: my.app.localhost", ""},
		"IPv6":                         {"POST /v1/x HTTP/1.1|Host: [::1]:PORT", ""},
		"a name that a route names":    {"POST /v1/x HTTP/1.1|Host: LLM.internal:PORT", ""},
		"HTTP/1.0 without a name":      {"POST /v1/x HTTP/1.0", ""},
		"HTTP/1.0":                     {"POST /v1/x HTTP/1.0|Host: localhost", ""},
		"a whole URL":                  {"POST http://127.0.0.1:PORT/v1/x HTTP/1.1|Host: 127.0.0.1", ""},
		"typed into the address bar":   {"POST /v1/x HTTP/1.1|Host: localhost|Sec-Fetch-Site: none", ""},
		"the gateway's own origin":     {"POST /v1/x HTTP/1.1|Host: localhost|Origin: http://localhost:PORT", ""},
		"a stranger's name":            {"POST /v1/x HTTP/1.1|Host: attacker.example", "host_refused"},
		"the same with the port":       {"POST /v1/x HTTP/1.1|Host: attacker.example:PORT", "host_refused"},
		"the same by HTTP/1.0":         {"POST /v1/x HTTP/1.0|Host: attacker.example", "host_refused"},
		"a whole URL with it":          {"POST http://attacker.example/v1/x HTTP/1.1|Host: 127.0.0.1", "host_refused"},
		"on a path that nobody serves": {"POST /x HTTP/1.1|Host: attacker.example", "host_refused"},
		"with the address in front":    {"POST /v1/x HTTP/1.1|Host: 127.0.0.1.attacker.example", "host_refused"},
		"with a user":                  {"POST /v1/x HTTP/1.1|Host: localhost@attacker.example", "host_refused"},
		"a page":                       {"POST /v1/x HTTP/1.1|Host: localhost|Origin: http://attacker.example", "origin_refused"},
		"a page without a name":        {"POST /v1/x HTTP/1.1|Host: localhost|Origin: null", "origin_refused"},
		"a page by HTTP/1.0":           {"POST /v1/x HTTP/1.0|Origin: http://attacker.example", "origin_refused"},
		"two pages":                    {"POST /v1/x HTTP/1.1|Host: localhost|Origin: http://localhost:PORT|Origin: null", "origin_refused"},
		"another site":                 {"POST /v1/x HTTP/1.1|Host: localhost|Sec-Fetch-Site: cross-site", "origin_refused"},
		"another port of this host":    {"POST /v1/x HTTP/1.1|Host: localhost|Sec-Fetch-Site: same-site", "origin_refused"},
		"a preflight":                  {"OPTIONS /v1/x HTTP/1.1|Host: localhost|Origin: null|Access-Control-Request-Method: POST", "origin_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(g.Provider.Seen(""))
			a := g.raw(t, http.MethodPost, lines.Replace(tt.request)+body)
			expect(t, "it reached the provider", len(g.Provider.Seen("")) > before, tt.reason == "")
			if tt.reason == "" {
				expect(t, "status", a.Status, 200)
				return
			}
			ownAnswer(t, a, 403, tt.reason)
			for h := range a.Header {
				if strings.HasPrefix(h, "Access-Control-") {
					t.Errorf("the page may read the refusal: %s", h)
				}
			}
		})
	}
}

func TestTheNameIsCheckedInHTTP2Too(t *testing.T) {
	g := startWith(t, nil, one)
	c := client(t, true)
	for host, status := range map[string]int{"localhost": 200, "attacker.example": 403} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/x", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		a, err := Do(c, req)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status for "+host, a.Status, status)
	}
}

func TestATenantThatClientsCouldChooseIsRefused(t *testing.T) {
	g, err := Prepare(Options{Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"), Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Provider.Close() })
	write := func(more string) {
		if err := os.WriteFile(g.config(), append(g.yaml(t), more...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("    tenant_header: x-team\n")
	for _, command := range [][]string{{"check"}, {"serve"}, {"envoy"}, {"run", "--envoy", "unused"}} {
		out, err := g.CLI("", command...)
		for _, part := range []string{"routes.messages.tenant_header", "clients.trusted_proxies"} {
			if err == nil || !strings.Contains(out, part) {
				t.Errorf("%v: %v %s", command, err, out)
			}
		}
	}
	write("clients: { trusted_proxies: [192.0.2.7] }\n")
	g.cli(t, "check")
}

func TestCheckSaysThatAFixedTenantIsNoIsolation(t *testing.T) {
	g, err := Prepare(Options{
		Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"), Folder: t.TempDir(), Route: "    tenant: blue",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Provider.Close() })
	if out := g.cli(t, "check"); !strings.Contains(out, "tenants are labels for accounting, no isolation") {
		t.Error(out)
	}
}

func TestATenantIsTakenFromATrustedProxyAlone(t *testing.T) {
	for proxy, reason := range map[string]string{"127.0.0.2": "tenant_denied", "127.0.0.1": ""} {
		g := startWith(t, func(o *Options) {
			o.Route = "    tenant_header: x-team\nclients: { trusted_proxies: [" + proxy + "] }"
		}, nil)
		c := g.Provider.Create("red-1", time.Hour)
		if _, err := g.CLI(c.RefreshToken, "accounts", "add", "red-1", "--provider", "sim", "--type", "ANTHROPIC_OAUTH",
			"--pool", "claude", "--client-id", c.ClientID, "--refresh-token-file", "-", "--tenant", "red"); err != nil {
			t.Fatal(err)
		}
		ask := func(team string) Answer {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/x", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if team != "" {
				req.Header.Set("x-team", team)
			}
			a, err := Do(http.DefaultClient, req)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if reason == "" {
			eventually(t, 10*time.Second, "the tenant's account serves it", func() bool { return ask("red").Account == "red-1" })
		} else {
			ownAnswer(t, ask("red"), 403, reason)
		}
		refused(t, ask(""), 503, "no_healthy_account", "api_error")
	}
}
