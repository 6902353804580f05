package integration

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/integration/provider"
)

// private are headers of a provider that speak for its host, or of our account.
var private = map[string]string{
	"Set-Cookie": "session=1; Path=/", "Alt-Svc": `h3=":443"`, "Clear-Site-Data": `"cookies"`,
	"Strict-Transport-Security": "max-age=63072000; includeSubDomains", "Report-To": "{}", "Nel": "{}",
	"X-Envoy-Upstream-Service-Time": "5", "X-Envoy-Overloaded": "true", "X-Envoy-Decorator-Operation": "internal",
	"Anthropic-Organization-Id": "org-1", "Openai-Organization": "org-2", "Openai-Project": "proj-1",
	"Chatgpt-Account-Id": "acct-1", "X-Groq-Organization-Id": "org-3",
}

// public are headers that clients need.
var public = map[string]string{
	"Request-Id": "req_1", "Retry-After": "7", "X-Ratelimit-Remaining-Requests": "3", "Cache-Control": "no-store",
	"Openai-Processing-Ms": "12", "Openai-Version": "2020-10-01", "Etag": `"1"`, "X-Vendor": "kept",
}

func TestWhatAProviderSaysOfItsHostAndOurAccountStaysInside(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		g := startWith(t, func(o *Options) { o.HTTP2 = h2 }, one)
		for _, status := range []int{200, 400, 404, 500} {
			s := provider.Script{Status: status, Body: "{}", Headers: maps.Clone(private)}
			maps.Copy(s.Headers, public)
			g.Provider.Script("claude-1", s)
			for version, c := range map[string]http.RoundTripper{"HTTP/1.1": &http.Transport{}, "HTTP/2": h2c()} {
				a := g.askBy(t, c, http.MethodPost, "/v1/x", nil)
				expect(t, "status over "+version, a.Status, status)
				for name := range private {
					expect(t, name, strings.Join(a.Header.Values(name), ","), "")
				}
				for name, value := range public {
					expect(t, name, a.Header.Get(name), value)
				}
			}
		}
	}
}

func TestARouteRevealsWhatItNames(t *testing.T) {
	g := startWith(t, func(o *Options) {
		o.Route = "    reveal_headers: [set-cookie, OpenAI-Organization]\n" +
			"  other:\n    match: { prefix: /other }\n    upstreams: [claude]"
	}, one)
	g.Provider.Script("claude-1", provider.Script{Status: 200, Body: "{}", Headers: private})
	for path, revealed := range map[string][]string{"/v1/x": {"Set-Cookie", "Openai-Organization"}, "/other": nil} {
		a := g.askBy(t, &http.Transport{}, http.MethodPost, path, nil)
		for name, value := range private {
			if !slices.Contains(revealed, name) {
				value = ""
			}
			expect(t, name+" at "+path, a.Header.Get(name), value)
		}
	}
}

func TestTrailersOfAProviderStayAsSilent(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Openai-Organization, X-Tokenward-Retry, Set-Cookie, X-Checksum")
		_ = json.NewEncoder(w).Encode("body")
		for _, name := range []string{"Openai-Organization", "X-Tokenward-Retry", "Set-Cookie", "X-Checksum"} {
			w.Header().Set(name, "1")
		}
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	g := startWith(t, func(o *Options) { o.First, o.HTTP2 = server.URL, true }, one)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/v1/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h2c().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body string
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	_, _ = resp.Body.Read(make([]byte, 16))
	_, _ = resp.Body.Read(make([]byte, 1))
	for name, values := range resp.Trailer { // announced ones are there without values
		if name != "X-Checksum" && len(values) > 0 {
			t.Errorf("the trailer %s reaches the client", name)
		}
	}
	expect(t, "the provider's own trailer", resp.Trailer.Get("X-Checksum"), "1")
}

// TestHintsOfAProviderSayNoMore: informational answers go out apart from the final one.
func TestHintsOfAProviderSayNoMore(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range private {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(server.Close)
	g := startWith(t, func(o *Options) { o.First = server.URL }, one)
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		for name := range private {
			if h.Get(name) != "" {
				t.Errorf("%s is in a %d", name, code)
			}
		}
		return nil
	}}
	ctx := httptrace.WithClientTrace(t.Context(), trace)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/v1/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "status", a.Status, 200)
	expect(t, "cookie", a.Header.Get("Set-Cookie"), "")
}
