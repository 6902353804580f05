package integration

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestNoPathLeavesItsRoute: what reaches the provider is in the route's prefix however the provider reads it.
func TestNoPathLeavesItsRoute(t *testing.T) {
	m, url := startMirror(t)
	g := startWith(t, func(o *Options) {
		o.First, o.Prefix = url, "/v1/"
		o.Route = "  batches:\n    match: { prefix: /v1/messages/batches }\n    upstreams: [claude]\n    methods: [GET]"
	}, one)
	for path, want := range map[string]string{
		"/v1/..%2fadmin":            "400",
		"/v1/..%2Fadmin":            "400",
		"/v1/%2e%2e%2fadmin":        "400",
		"/v1/%5c..%5cadmin":         "400",
		"/v1/%5C..%5Cadmin":         "400",
		"/v1/a%2fb":                 "400",
		"/v1/messages%2fbatches":    "400",
		"/v1/..;/admin":             "404", // Envoy takes it for a segment of dots itself
		"/v1/..;x=1/admin":          "404",
		"/v1/..%3b/admin":           "400",
		"/v1/.;/x":                  "POST /v1/x",
		"/v1/%2e%2e;/admin":         "400",
		"/v1/x/..;":                 "POST /v1/",
		"/v1/..%252fadmin":          "400",
		"/v1/%252e%252e/admin":      "400",
		"/v1/%252e%252E%25252fx":    "400",
		"/v1/x%252f..%255cadmin":    "400",
		"/v1/..%253b/admin":         "400",
		"/v1/a%252fb%2520":          "POST /v1/a%252fb%2520",
		"/v1/../admin":              "404",
		"/v1/%2e%2e/admin":          "404",
		"/v1/.%2E/admin":            "404",
		"/v1/..\\admin":             "404",
		"/v1\\..\\admin":            "404",
		"/v1//x":                    "POST /v1/x",
		"//v1///x":                  "POST /v1/x",
		"/v1/./x":                   "POST /v1/x",
		"/v1//messages/batches":     "405", // the route's that it means
		"/v1//messages//batches/7":  "405",
		"/v1/x;y=1/z":               "POST /v1/x;y=1/z",
		"/v1/.hidden/..x/...":       "POST /v1/.hidden/..x/...",
		"/v1/a%20b%25":              "POST /v1/a%20b%25",
		"/v1/x?next=/a/..%2fb//c/.": "POST /v1/x?next=/a/..%2fb//c/.", // a query is no path
		"/v1/x?a=/..;/":             "POST /v1/x?a=/..;/",
	} {
		a := g.raw(t, http.MethodPost, "POST "+path+" HTTP/1.1\r\nHost: "+g.Opts.Gateway+"\r\ncontent-length: 2\r\n\r\n{}")
		seen := strings.Join(m.took(), ", ")
		if !strings.Contains(want, "/") && strconv.Itoa(a.Status) != want {
			t.Errorf("%s: %d, and the provider saw %q; want %s", path, a.Status, seen, want)
			continue
		}
		switch want {
		case "400":
			ownAnswer(t, a, 400, "bad_request")
		case "404":
			ownAnswer(t, a, 404, "unknown_route")
		case "405":
			ownAnswer(t, a, 405, "method_not_allowed")
		default:
			expect(t, path, seen, want)
			continue
		}
		expect(t, path+" at the provider", seen, "")
	}
}

// TestARouteMayKeepEscapedSlashes: some APIs have them in ids. Only that route, and only where they lead nowhere else.
func TestARouteMayKeepEscapedSlashes(t *testing.T) {
	m, url := startMirror(t)
	g := startWith(t, func(o *Options) {
		o.First, o.Prefix = url, "/v1/"
		o.Route = "  models:\n    match: { prefix: /v1/models/ }\n    upstreams: [claude]\n    escaped_slashes: keep"
	}, one)
	for path, want := range map[string]string{
		"/v1/models/org%2Fmodel":         "GET /v1/models/org%2Fmodel",
		"/v1/models/org%2fmodel/v2?a=%2": "GET /v1/models/org%2fmodel/v2?a=%2",
		"/v1/models/a%2F.b":              "GET /v1/models/a%2F.b",
		"/v1/models/..%2fadmin":          "",
		"/v1/models/x%2f..%2f..%2fadmin": "",
		"/v1/models/x%2f..":              "",
		"/v1/models/x%2f%2e%2E/y":        "",
		"/v1/models/x%2f..?y":            "",
		"/v1/models/%2fadmin":            "",
		"/v1/models/x%2f%2Fadmin":        "",
		"/v1/models/x%5cadmin":           "",
		"/v1/messages/a%2fb":             "", // the other route's
		"/v1/models%2fx":                 "",
	} {
		a := g.raw(t, http.MethodGet, "GET "+path+" HTTP/1.1\r\nHost: "+g.Opts.Gateway+"\r\n\r\n")
		expect(t, path+" at the provider", strings.Join(m.took(), ", "), want)
		if want == "" {
			ownAnswer(t, a, 400, "bad_request")
		}
	}
}
