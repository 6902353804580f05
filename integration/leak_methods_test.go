package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// mirror is a provider that answers every request with the request itself, as TRACE asks for.
type mirror struct {
	mu   sync.Mutex
	seen []string // method and URI of each request
}

func startMirror(t *testing.T) (m *mirror, url string) {
	t.Helper()
	m = &mirror{}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return m, server.URL
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.seen = append(m.seen, r.Method+" "+r.RequestURI)
	m.mu.Unlock()
	w.Header().Set("Content-Type", "message/http")
	if r.Method == http.MethodTrace {
		_ = r.Header.Write(w)
	}
}

// took returns what arrived since the last call.
func (m *mirror) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen
	m.seen = nil
	return seen
}

func (g *Gateway) askBy(t *testing.T, c http.RoundTripper, method, path string, headers map[string]string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = path // as it is
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	a, err := Do(&http.Client{Transport: c}, req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

const usual = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

func TestNoMethodBringsTheTokenBack(t *testing.T) {
	m, url := startMirror(t)
	g := startWith(t, func(o *Options) {
		o.First, o.Prefix = url, "/v1/"
		o.Route = "  reading:\n    match: { prefix: /v1/files }\n    upstreams: [claude]\n    methods: [GET, PROPFIND]"
	}, one)
	for version, c := range map[string]http.RoundTripper{"HTTP/1.1": &http.Transport{}, "HTTP/2": h2c()} {
		for _, method := range []string{"TRACE", "trace", "Trace", "TRACK", "track", "PROPFIND", "get", "FOO"} {
			for path, allow := range map[string]string{"/v1/x": usual, "/v1/files/1": "GET, PROPFIND", "/elsewhere": "GET, PROPFIND, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"} {
				served := method == "PROPFIND" && path == "/v1/files/1"
				a := g.askBy(t, c, method, path, nil)
				reason := a.Header.Get("tokenward-reason")
				switch what := fmt.Sprintf("%s %s over %s: %d %s %s", method, path, version, a.Status, a.Header, a.Body); {
				case served:
					expect(t, what, a.Status, 200)
				case version == "HTTP/1.1" && a.Status == 400: // Envoy's parser knows no such method
					ownAnswer(t, a, 400, "bad_request")
				case path == "/elsewhere" && a.Status == 404:
					expect(t, what, strings.EqualFold(method, "TRACE") || strings.EqualFold(method, "TRACK"), false)
				default:
					ownAnswer(t, a, 405, "method_not_allowed")
					expect(t, what, a.Header.Get("Allow"), allow)
				}
				if strings.Contains(a.Body, "Bearer") || !served && reason == "" {
					t.Errorf("%s %s over %s got %d %v %s", method, path, version, a.Status, a.Header, a.Body)
				}
				if seen := m.took(); !served && len(seen) > 0 {
					t.Errorf("the provider saw %v", seen)
				}
			}
		}
		expect(t, "TRACE is", g.askBy(t, c, "TRACE", "/v1/x", nil).Status, 405)
		for method := range strings.SplitSeq(usual, ", ") {
			expect(t, method, g.askBy(t, c, method, "/v1/x", nil).Status, 200)
		}
		expect(t, "POST to what is read", g.askBy(t, c, http.MethodPost, "/v1/files/1", nil).Status, 405)
		m.took()
	}
}

// TestAMethodCannotBeHiddenInAHeader: some servers take it for the request's own.
func TestAMethodCannotBeHiddenInAHeader(t *testing.T) {
	m, url := startMirror(t)
	g := startWith(t, func(o *Options) { o.First = url }, one)
	for _, header := range []string{"X-HTTP-Method-Override", "x-http-method", "x-method-override"} {
		for value, status := range map[string]int{"TRACE": 405, "trace": 405, "GET, TRACE": 405, "PATCH": 200, "patch": 200} {
			a := g.askBy(t, &http.Transport{}, http.MethodPost, "/v1/x", map[string]string{header: value})
			expect(t, header+": "+value, a.Status, status)
			expect(t, "requests at the provider", len(m.took()), map[int]int{405: 0, 200: 1}[status])
		}
	}
}
