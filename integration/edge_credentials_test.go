package integration

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

// clientSecret is in every credential that these clients send.
const clientSecret = "CLIENT-SECRET"

// credentialHeaders are what clients of providers and of gateways send as credentials, or to choose who pays.
var credentialHeaders = []string{
	"authorization", "proxy-authorization", "x-authorization", "x-serverless-authorization", "cf-aig-authorization",
	"x-ms-authorization-auxiliary",
	"x-goog-iam-authorization-token", "x-api-key", "api-key", "apikey", "x-goog-api-key", "xi-api-key",
	"x-portkey-api-key", "x-rapidapi-key",
	"ocp-apim-subscription-key", "subscription-key", "x-functions-key", "aeg-sas-key", "aeg-sas-token",
	"x-amz-security-token", "x-auth-token",
	"x-access-token", "x-auth-key", "helicone-auth", "x-github-token", "cf-access-client-secret",
	"x-goog-iap-jwt-assertion", "cookie", "cookie2",
	"x_api_key", "api_key", "x-api_key", "x_goog_api_key", "ocp_apim_subscription_key", "X-Api-Key", "API-KEY",
	"openai-organization", "openai-project", "x-goog-user-project", "ChatGPT-Account-ID",
	"x_tokenward_cluster", "x_forwarded_for", // no credentials, but as little the provider's business
}

// harmlessHeaders look like the others, or are what providers' clients need.
var harmlessHeaders = []string{
	"anthropic-version", "idempotency-key", "openai-beta", "session_id", "conversation_id", "x-session-id",
	"x-api-key-name", "x-keyboard", "x-author",
	"x-stainless-lang", "http-referer", "x-title", "x-csrf-token", "sec-fetch-mode", "x-apikeys", "mcp-session-id",
}

func TestNoCredentialOfAClientReachesTheProvider(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "http1", true: "http2"}[h2], func(t *testing.T) {
			g := startWith(t, func(o *Options) { o.HTTP2 = h2 }, one)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages?key="+clientSecret+"&a=1",
				strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range credentialHeaders {
				req.Header[h] = []string{clientSecret} // as it is spelled
			}
			req.Header["api-key"] = []string{clientSecret, clientSecret}
			for _, h := range harmlessHeaders {
				req.Header[h] = []string{"kept"}
			}
			req.Header.Set("x-test-id", t.Name())
			a, err := Do(http.DefaultClient, req)
			if err != nil {
				t.Fatal(err)
			}
			served(t, a, "")
			seen := g.attempted(t, t.Name())[0]
			for _, name := range slices.Sorted(maps.Keys(seen.Headers)) {
				if strings.Contains(strings.Join(seen.Headers[name], ","), clientSecret) {
					t.Errorf("the provider saw %s: %v", name, seen.Headers[name])
				}
			}
			for _, h := range harmlessHeaders {
				if len(seen.Headers[http.CanonicalHeaderKey(h)]) != 1 {
					t.Errorf("the provider missed %s", h)
				}
			}
			expect(t, "the path", seen.URI, "/v1/messages?a=1")
		})
	}
}

func TestTheQueryReachesTheProviderByteForByteButForCredentials(t *testing.T) {
	g := startWith(t, nil, one)
	for sent, want := range map[string]string{
		"/v1/x":                                "/v1/x",
		"/v1/x?":                               "/v1/x?",
		"/v1/x?key=S":                          "/v1/x",
		"/v1/x?key":                            "/v1/x",
		"/v1/x?b=%2F%2f+%20&key=S&a=1&b=2&&c=": "/v1/x?b=%2F%2f+%20&a=1&b=2&&c=",
		"/v1/x?a=1&key=S":                      "/v1/x?a=1",
		"/v1/x?key=S&key=T&a=%6Bey":            "/v1/x?a=%6Bey",
		"/v1/x?%6Bey=S&a=1":                    "/v1/x?a=1",
		"/v1/x?a=1;key=S;b=2":                  "/v1/x?a=1;b=2",
		"/v1/x?KEY=S&Api_Key=S&api-key=S&apikey=S&ACCESS_TOKEN=S&Subscription-Key=S&$key=S&a=$": "/v1/x?a=$",
		"/v1/x?keys=1&monkey=2&page_token=3&max_tokens=4&apikeys=5&key2=6&ke%79%73=7":           "/v1/x?keys=1&monkey=2&page_token=3&max_tokens=4&apikeys=5&key2=6&ke%79%73=7",
		"/v1/x?a=b?key=S": "/v1/x?a=b?key=S", // a value
	} {
		test := t.Name() + sent
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + g.Opts.Gateway + sent // as it is
		req.Header.Set("x-test-id", test)
		a, err := Do(http.DefaultClient, req)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status", a.Status, 200)
		for _, s := range g.attempted(t, test) {
			expect(t, sent, s.URI, want)
		}
	}
}

func TestEveryAttemptOfARetriedRequestIsClean(t *testing.T) {
	g := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages?a=1&key="+clientSecret,
		strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-test-id", t.Name())
	req.Header.Set("x-sim", "status=401; times=2")
	req.Header.Set("x-goog-api-key", clientSecret)
	a, err := Do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	served(t, a, "")
	seen := g.attempted(t, t.Name())
	expect(t, "attempts", len(seen), 3)
	for _, s := range seen {
		expect(t, "the path", s.URI, "/v1/messages?a=1")
		expect(t, "x-goog-api-key", len(s.Headers["X-Goog-Api-Key"]), 0)
	}
}

// TestWhatTheConfigurationSetsWinsOverTheClient: headers of a provider's entry are set last, whatever their name.
func TestWhatTheConfigurationSetsWinsOverTheClient(t *testing.T) {
	g := startWith(t, func(o *Options) {
		o.Headers = `{ api-key: "OURS", openai-organization: "OURS", x-vendor: "OURS" }`
	}, one)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-test-id", t.Name())
	req.Header.Set("anthropic-beta", "clients-own")
	for _, h := range []string{"api-key", "openai-organization", "x-vendor", "x-goog-api-key"} {
		req.Header.Set(h, clientSecret)
	}
	a, err := Do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	served(t, a, "")
	seen := g.attempted(t, t.Name())[0]
	for name, want := range map[string]string{
		"Api-Key": "OURS", "Openai-Organization": "OURS", "X-Vendor": "OURS", "X-Goog-Api-Key": "", "Anthropic-Beta": "clients-own,oauth-2025-04-20",
	} {
		expect(t, name, strings.Join(seen.Headers[name], ","), want)
	}
}

func TestAKeyAmongWebSocketProtocolsIsRemoved(t *testing.T) {
	g := startWith(t, sockets, one)
	for offered, want := range map[string]string{
		"realtime, openai-insecure-api-key." + clientSecret + ", openai-beta.realtime-v1": "realtime, openai-beta.realtime-v1",
		"token, " + clientSecret: "",
		"chat":                   "chat",
	} {
		test := t.Name() + offered
		cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(g.URL, "http")+"/ws?token="+clientSecret+"&model=x", g.URL)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Header.Set("x-test-id", test)
		cfg.Protocol = strings.Split(offered, ", ")
		c, err := websocket.DialConfig(cfg)
		if err == nil {
			_ = c.Close()
		}
		seen := g.attempted(t, test)
		expect(t, "attempts with "+offered, len(seen), 1)
		expect(t, offered, strings.Join(seen[0].Headers["Sec-Websocket-Protocol"], ","), want)
		expect(t, "the path", seen[0].URI, "/ws?model=x")
	}
}

// h2c speaks HTTP/2 in the clear.
func h2c() *http.Transport {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

func TestTrailersOfAClientReachNoProvider(t *testing.T) {
	g := startWith(t, func(o *Options) { o.HTTP2 = true }, one)
	body, write := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-test-id", t.Name())
	req.Trailer = http.Header{"X-Api-Key": nil, "X-Tokenward-Cluster": nil}
	go func() {
		_, _ = io.WriteString(write, "{}")
		req.Trailer.Set("X-Api-Key", clientSecret)
		req.Trailer.Set("X-Tokenward-Cluster", "backup")
		_ = write.Close()
	}()
	a, err := Do(&http.Client{Transport: h2c()}, req)
	if err != nil {
		t.Fatal(err)
	}
	served(t, a, "")
	seen := g.attempted(t, t.Name())[0]
	for name, values := range seen.Trailers { // the names were announced
		expect(t, "the trailer "+name, strings.Join(values, ","), "")
	}
}
