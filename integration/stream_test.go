package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheFirstEventDoesNotWaitForTheSecond(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		if sim == "" {
			return
		}
		for name, fault := range map[string]string{"at once": "", "after a recovery": "status=401; times=1; "} {
			ctx, leave := context.WithTimeout(t.Context(), 10*time.Second)
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/v1/messages", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("x-sim", fault+"events=2; pause=1m") // the second event comes long after the client has lost patience
			req.Header.Set("x-test-id", t.Name()+name)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			line, err := bufio.NewReader(resp.Body).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "event:") {
				t.Errorf("%s: %q, %v", name, line, err)
			}
			leave()
			_ = resp.Body.Close()
		}
	})
}

func TestACutAfterTheFirstEventIsNotRetried(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		if sim == "" {
			return
		}
		a, err := g.Post(t.Context(), t.Name(), "events=3; pause=50ms; cut=1", strings.NewReader("{}"))
		if err == nil {
			t.Error("the client did not notice the cut")
		}
		expect(t, "events", strings.Count(a.Body, "data:"), 1)
		expect(t, "requests at the provider", len(g.Provider.Seen(t.Name())), 1)
	})
}

func TestEarlyHintsBeforeTheRefusalAreNoObstacle(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		for fault, attempts := range map[string]int{"": 1, "status=401; ": 2} { // before the answer, and before the refusal
			test := fmt.Sprint(t.Name(), attempts)
			a, err := g.Post(t.Context(), test, fault+"hints; "+sim, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			served(t, a, sim)
			expect(t, "requests at the provider", len(g.attempted(t, test)), attempts)
		}
	})
}

func TestHostileCopiesOfInternalHeadersChangeNothing(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"x-tokenward-cluster": "backup", "x-tokenward-route": "admin", "x-tokenward-tenant": "evil", "x-tokenward-id": "1", "x-tokenward-client": "evil",
			"X-Tokenward-Retry": "1", "x-tokenward-status": "401", "x-tokenward-after": "60", "x-tokenward-san": "spiffe://evil", "x-tokenward-new": "1",
			"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "9", "x-envoy-retriable-status-codes": "500", "x-envoy-retriable-header-names": "x-vendor",
			"x-envoy-attempt-count": "9", "x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-original-path": "/evil", "x-envoy-decorator-operation": "evil",
			"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https", "x-forwarded-host": "evil", "x-forwarded-port": "1", "x-forwarded-client-cert": "By=evil",
		} {
			req.Header.Set(k, v)
		}
		req.Header.Set("x-test-id", t.Name())
		req.Header.Set("x-sim", "status=500; times=1")
		a, err := Do(http.DefaultClient, req) // a fault that x-envoy-retry-on would have retried
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status", a.Status, 500)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
		req.Header.Set("x-sim", "delay=100ms; "+sim) // longer than x-envoy-upstream-rq-timeout-ms
		req.Body = io.NopCloser(strings.NewReader("{}"))
		a, err = Do(http.DefaultClient, req)
		if err != nil {
			t.Fatal(err)
		}
		served(t, a, sim)
		seen := g.attempted(t, t.Name())
		expect(t, "requests at the provider", len(seen), 2)
		for _, s := range seen {
			expect(t, "path", s.Path, "/v1/messages")
			if !strings.HasPrefix(s.Account, "claude-") {
				t.Errorf("the client chose the cluster: %s", s.Account)
			}
			for name, values := range s.Headers {
				if n := strings.ToLower(name); strings.HasPrefix(n, "x-envoy-") || strings.HasPrefix(n, "x-forwarded-") ||
					strings.HasPrefix(n, "x-tokenward-") {
					t.Errorf("the provider sees %s: %v", n, values)
				}
			}
		}
	})
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	g := start(t, nil)
	other := *g
	other.Opts.Folder = t.TempDir()
	out, err := other.runWith(strings.ReplaceAll(string(g.yaml(t)), g.Opts.Admin, l.Addr().String()))
	if err == nil || !strings.Contains(out, l.Addr().String()) {
		t.Errorf("got %v: %s", err, out)
	}
}
