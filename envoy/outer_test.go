package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/integration/port"
)

// startOuter runs a real Envoy whose hop leads to the given handler instead of the inner listener, so that the outer
// half is seen alone: what it tells the inner half, and when it retries.
func startOuter(
	t *testing.T, routes []Route, inner http.Handler, change ...func(*bootstrapv3.Bootstrap),
) (address string) {
	t.Helper()
	return startOuterWith(t, func(c *Config) {
		c.Routes, c.LoopbackOnly, c.TrustedProxies = routes, false, []string{"127.0.0.1/32"}
	}, inner, change...)
}

// startOuterWith does so with the smallest sample, changed, as is what was built from it.
func startOuterWith(
	t *testing.T, change func(c *Config), inner http.Handler, built ...func(*bootstrapv3.Bootstrap),
) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(inner)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)

	c := samples()["small"]
	c.Listen, c.Admin, c.AdminSocket = port.Address(), port.Address(), filepath.Join(t.TempDir(), "a.sock")
	change(&c)
	for i := range c.Routes {
		if c.Routes[i].Methods == nil {
			c.Routes[i].Methods = usualMethods
		}
	}
	boot, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	leadHopTo(t, boot, server.URL)
	for _, f := range built {
		f(boot)
	}
	text, err := YAML(boot)
	if err != nil {
		t.Fatal(err)
	}
	child := NewChild(
		ChildConfig{Path: realEnvoy(t), Bootstrap: text, RunFolder: t.TempDir(), Admin: c.AdminSocket, Output: io.Discard},
		zap.NewNop(),
	)
	if err := child.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := child.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c.Listen
}

func leadHopTo(t *testing.T, boot *bootstrapv3.Bootstrap, target string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := splitAddress(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	clusters := boot.GetStaticResources().GetClusters()
	// Only the hop: the others would resolve names.
	for _, c := range clusters {
		if c.GetName() == ListenerAttempt {
			c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().Address = socket(host, port)
			boot.StaticResources.Clusters = append(clusters[:0:0], c, clusters[1], clusters[len(clusters)-1])
			return
		}
	}
	t.Fatal("no hop cluster")
}

func call(t *testing.T, address, host, path string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestTheOuterListenerTellsTheInnerOneWhoCallsAndWhere checks the facts of a request, as an attempt sees them.
func TestTheOuterListenerTellsTheInnerOneWhoCallsAndWhere(t *testing.T) {
	address := startOuter(t, []Route{
		{Name: "all", Prefix: "/v1/", Hosts: []string{"*"}, Attempts: 2},
		{Name: "batches", Prefix: "/v1/batches", Hosts: []string{"*"}, Attempts: 2, Tenant: "50% team %REQ(x-secret)%"},
		{Name: "team", Prefix: "/", Hosts: []string{"team.example"}, Attempts: 2, TenantHeader: "x-team"},
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"x-tokenward-route", "x-tokenward-tenant", "x-tokenward-client", "x-team", "authorization", "x-api-key", "cookie", "proxy-authorization"} {
			if v := r.Header.Values(h); len(v) > 0 {
				_, _ = fmt.Fprintf(w, "%s=%s;", h, strings.Join(v, ","))
			}
		}
	}))
	secrets := map[string]string{
		"authorization":       "Bearer c",
		"x-api-key":           "c",
		"cookie":              "c=d",
		"proxy-authorization": "c",
		"x-secret":            "s",
		"x-tokenward-tenant":  "forged",
		"x-tokenward-route":   "forged",
		"x-tokenward-client":  "6.6.6.6",
		"x-forwarded-for":     "6.6.6.6",
	}
	for _, tt := range []struct {
		name, host, path, team, want string
	}{
		{"a route without a tenant", "", "/v1/messages", "", "x-tokenward-route=all;x-tokenward-client=127.0.0.1;"},
		{"the longer prefix wins, its tenant is literal", "", "/v1/batches/7", "", "x-tokenward-route=batches;x-tokenward-tenant=50% team %REQ(x-secret)%;x-tokenward-client=127.0.0.1;"},
		{"a tenant from a header, which goes no further", "team.example", "/v1/messages", "red", "x-tokenward-route=team;x-tokenward-tenant=red;x-tokenward-client=127.0.0.1;"},
		{"a host with a port", "team.example:8443", "/any", "", "x-tokenward-route=team;x-tokenward-client=127.0.0.1;"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.team != "" {
				secrets["x-team"] = tt.team
				defer delete(secrets, "x-team")
			}
			if resp, body := call(t, address, tt.host, tt.path, secrets); resp.StatusCode != http.StatusOK || body != tt.want {
				t.Errorf("the inner side was told %d %q, want %q", resp.StatusCode, body, tt.want)
			}
		})
	}
}

func TestAnUnknownRouteIsA404ThatSaysSo(t *testing.T) {
	address := startOuter(t, []Route{
		{Name: "all", Prefix: "/v1/", Hosts: []string{"llm.example"}, Attempts: 2},
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-provider", "yes") // a provider's own 404 stays what it is
		w.WriteHeader(http.StatusNotFound)
	}))
	for name, where := range map[string]struct{ host, path string }{"path": {"llm.example", "/admin"}, "host": {"other.example", "/v1/"}} {
		resp, body := call(t, address, where.host, where.path, nil)
		var got struct {
			Type  string
			Error struct{ Type, Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("unknown %s: %v: %d %q", name, err, resp.StatusCode, body)
		}
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("tokenward-reason") != "unknown_route" ||
			resp.Header.Get("content-type") != "application/json" ||
			got.Type != "error" || got.Error.Type != "not_found_error" || got.Error.Code != "unknown_route" ||
			got.Error.Message == "" {
			t.Errorf("unknown %s: %d %v %s", name, resp.StatusCode, resp.Header, body)
		}
	}
	if resp, body := call(t, address, "llm.example", "/v1/x",
		nil); resp.Header.Get("tokenward-reason") != "" || resp.Header.Get("x-provider") != "yes" ||
		body != "" {
		t.Errorf("a provider's 404 became %v %q", resp.Header, body)
	}
}

func TestTheOuterListenerRetriesOnTheMarkerAloneAndHidesIt(t *testing.T) {
	var attempts atomic.Int32
	address := startOuter(
		t,
		[]Route{{Name: "all", Prefix: "/", Hosts: []string{"*"}, Attempts: 2}},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := int(attempts.Add(1))
			if got := r.Header.Get("x-envoy-attempt-count"); got != fmt.Sprint(n) {
				t.Errorf("attempt %d is announced as %s", n, got)
			}
			if body, _ := io.ReadAll(r.Body); string(body) != "body" {
				t.Errorf("attempt %d has the body %q", n, body)
			}
			w.Header().Set("x-tokenward-account", "ours")
			w.Header().Set("tokenward-reason", "for the client")
			w.Header().Set("retry-after", "7")
			switch r.URL.Path {
			case "/marked", "/orphan":
				if r.URL.Path == "/orphan" {
					w.Header().Set("x-tokenward-status", "401")
				} else {
					w.Header().Set("x-tokenward-retry", "1")
				}
				if n > 2 {
					w.Header().Del("x-tokenward-status")
					w.Header().Del("x-tokenward-retry")
					return
				}
			case "/always":
				w.Header().Set("x-tokenward-retry", "1")
			}
			w.WriteHeader(http.StatusUnauthorized)
		}),
	)
	for _, tt := range []struct {
		path             string
		attempts, status int
	}{
		{"/plain401", 1, http.StatusUnauthorized},
		{"/marked", 3, http.StatusOK},
		{"/orphan", 3, http.StatusOK},                                // the service died while it held a 401
		{"/always", 1 + 1 + restartReserve, http.StatusUnauthorized}, // one retry of the route's, and the reserve
	} {
		attempts.Store(0)
		resp, _ := call(t, address, "", tt.path, nil)
		if got := int(attempts.Load()); got != tt.attempts || resp.StatusCode != tt.status {
			t.Errorf("%s: %d after %d attempts, want %d after %d", tt.path, resp.StatusCode, got, tt.status, tt.attempts)
		}
		for name := range resp.Header {
			if n := strings.ToLower(name); strings.HasPrefix(n, "x-tokenward-") || strings.HasPrefix(n, "x-envoy-") {
				t.Errorf("%s: the client sees %s", tt.path, n)
			}
		}
		if resp.Header.Get("tokenward-reason") == "" || resp.Header.Get("retry-after") != "7" {
			t.Errorf("%s: the client misses a header meant for it: %v", tt.path, resp.Header)
		}
	}
}
