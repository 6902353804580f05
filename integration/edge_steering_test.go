package integration

import (
	"net/http"
	"strings"
	"testing"
)

// steeringHeaders are how a proxy tells who asks, and for what; from a client they are a lie.
var steeringHeaders = []string{
	"forwarded", "Forwarded", "x-forwarded", "X-Original-Forwarded-For", "x-forward-for", "x_real_ip", "X-Real-IP",
	"x-real_ip", "client-ip", "x-client-ip", "true-client-ip", "fastly-client-ip", "x-cluster-client-ip",
	"x-azure-clientip", "x-azure-socketip", "cf-connecting-ip", "CF-Connecting-IPv6", "cf-pseudo-ipv4",
	"x-appengine-user-ip", "x-remote-ip", "x-remote-addr", "x-originating-ip", "x-proxyuser-ip",
	"remote-user", "x-remote-user", "x-webauth-user", "x-authenticated-user", "x-goog-authenticated-user-email",
	"x-ms-client-principal-id", "x-auth-request-user", "x-amzn-oidc-identity", "client-cert", "x-ssl-client-cert",
	"x-original-url", "x_original_url", "x-original-uri", "x-original-host", "x-rewrite-url", "x-host",
	"x-http-host-override", "x-http-destinationurl", "x-url-scheme", "x-scheme", "front-end-https",
	"x-middleware-subrequest",
}

// libraryHeaders are what SDKs of providers, and tools that use them, send beside credentials.
var libraryHeaders = []string{
	"accept", "accept-language", "content-language", "x-user-agent", "x-requested-with", "priority",
	"anthropic-version", "anthropic-client-platform", "anthropic-dangerous-direct-browser-access", "x-app",
	"x-stainless-arch", "x-stainless-async", "x-stainless-custom-poll-interval", "x-stainless-helper-method",
	"x-stainless-lang", "x-stainless-os", "x-stainless-package-version", "x-stainless-raw-response",
	"x-stainless-read-timeout", "x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version",
	"x-stainless-timeout", "openai-beta", "openai-intent", "openai-client-user-agent", "x-openai-client-user-agent",
	"x-goog-api-client", "x-goog-request-params", "x-goog-fieldmask", "x-goog-request-reason", "x-server-timeout",
	"x-vertex-ai-llm-request-type", "x-ms-client-request-id", "x-ms-client-user-agent", "x-ms-useragent",
	"x-client-request-id", "x-client-name", "x-client-version", "x-client-transaction-id", "client-request-id",
	"idempotency-key", "x-idempotency-key", "originator", "version", "session_id", "conversation_id", "x-session-id",
	"mcp-session-id", "mcp-protocol-version", "last-event-id", "editor-version", "editor-plugin-version",
	"copilot-integration-id", "x-github-api-version", "x-initiator", "x-interaction-id", "x-title", "http-referer",
	"helicone-user-id", "helicone-session-id", "x-portkey-trace-id", "x-litellm-timeout", "x-dashscope-sse",
	"x-amzn-bedrock-trace", "x-amzn-trace-id", "x-cloud-trace-context", "x-datadog-trace-id", "sentry-trace", "baggage",
}

// sent is what the provider saw of a request with these headers, each with a value of its own.
func (g *Gateway) sent(t *testing.T, names []string) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/x", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	test := t.Name() + names[0]
	req.Header.Set("x-test-id", test)
	for _, n := range names {
		req.Header[n] = []string{"of " + n} // as it is spelled
	}
	a, err := Do(client(t, false), req)
	if err != nil {
		t.Fatal(err)
	}
	served(t, a, "")
	return g.attempted(t, test)[0].Headers
}

func TestNothingThatAClientSaysOfItselfOrItsTargetSteersTheProvider(t *testing.T) {
	g := startWith(t, nil, one)
	for name, values := range g.sent(t, steeringHeaders) {
		if strings.HasPrefix(values[0], "of ") {
			t.Errorf("the provider saw %s: %s", name, values)
		}
	}
}

func TestWhatLibrariesSendReachesTheProvider(t *testing.T) {
	g := startWith(t, nil, one)
	seen := g.sent(t, libraryHeaders)
	for _, name := range libraryHeaders {
		expect(t, name, strings.Join(seen[http.CanonicalHeaderKey(name)], "|"), "of "+name)
	}
}
