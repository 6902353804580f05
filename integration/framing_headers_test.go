package integration

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// internalHeaders are what the gateway says to itself, and what Envoy obeys.
var internalHeaders = map[string]string{
	"x-tokenward-cluster": "backup", "x-tokenward-id": "forged", "x-tokenward-route": "forged",
	"x-tokenward-tenant": "forged", "x-tokenward-client": "192.0.2.6", "x-tokenward-san": "forged",
	"x-tokenward-retry": "1", "x-tokenward-after": "1",
	"x-tokenward-absent": "4", "x-tokenward-status": "401", "x-tokenward-peek": "partial", "x-tokenward-whatever": "1",
	"x-envoy-retry-on": "5xx,retriable-status-codes,gateway-error", "x-envoy-max-retries": "5",
	"x-envoy-retriable-status-codes": "500", "x-envoy-retriable-header-names": "content-type",
	"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-upstream-rq-per-try-timeout-ms": "1",
	"x-envoy-expected-rq-timeout-ms": "1", "x-envoy-hedge-on-per-try-timeout": "true",
	"x-envoy-attempt-count": "9", "x-envoy-internal": "true", "x-envoy-external-address": "192.0.2.6",
	"x-envoy-original-path": "/v1/smuggled", "x-envoy-original-host": "attacker.example",
	"x-envoy-original-dst-host": "192.0.2.6:80", "x-envoy-decorator-operation": "forged", "x-envoy-force-trace": "true",
	"x-envoy-ip-tags": "forged", "x-envoy-downstream-service-cluster": "forged", "x-envoy-whatever": "1",
	"x-forwarded-for": "192.0.2.6", "x-forwarded-proto": "https", "x-forwarded-host": "attacker.example",
	"x-forwarded-port": "1", "x-forwarded-prefix": "/v1", "x-forwarded-client-cert": "Hash=1;URI=spiffe://forged",
	"x-forwarded-whatever": "1", "x-request-id": "forged",
}

// TestWhatTheGatewaySaysToItselfIsTakenFromNoClient: in no spelling does it reach the provider, choose an upstream, or
// have an attempt repeated or cut short.
func TestWhatTheGatewaySaysToItselfIsTakenFromNoClient(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := startWire(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusInternalServerError) // which none of ours repeats
			_, _ = io.WriteString(rw, "{}")
		})
		g := startWith(t, func(o *Options) { o.First, o.Prefix = w.url, "/v1/" }, one)
		for name, spell := range map[string]func(string) string{
			"small letters": strings.ToLower, "capitals": strings.ToUpper, "usual": http.CanonicalHeaderKey,
			"underscores": func(s string) string { return strings.ReplaceAll(s, "-", "_") },
			"half":        func(s string) string { return strings.Replace(s, "-", "_", 1) },
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/x", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("User-Agent", "")
			for header, value := range internalHeaders {
				req.Header[spell(header)] = []string{value}
			}
			a, err := Do(client(t, h2), req)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, "status with "+name, a.Status, 500)
			if id := a.Header.Get("X-Request-Id"); id == "" || id == "forged" {
				t.Errorf("%s: the answer's x-request-id is %q", name, id)
			}
			seen := w.of("")
			w.forget()
			if len(seen) != 1 {
				t.Fatalf("%s: %d requests reached the provider", name, len(seen))
			}
			got := strings.Join(slices.Sorted(maps.Keys(seen[0].header)), " ")
			expect(t, "the provider's headers with "+name, got, "Accept-Encoding Anthropic-Beta Authorization Content-Length")
		}
		if strings.Contains(g.Log.String(), "forged") {
			t.Error("a log shows what a client invented")
		}
	}
}
