package provider_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// patience bounds waits that only a failing test reaches.
const patience = 10 * time.Second

func start(t *testing.T) *provider.Provider {
	t.Helper()
	p, err := provider.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// speaking makes a client of one protocol that never repeats a request by itself on a connection of another test.
func speaking(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// bothProtocols runs a test over HTTP/1.1 and over HTTP/2 by prior knowledge.
func bothProtocols(t *testing.T, test func(t *testing.T, c *http.Client)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, speaking(t, false)) })
	t.Run("HTTP/2.0", func(t *testing.T) { test(t, speaking(t, true)) })
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// answer is a response that was read to its end; err is what ended it early.
type answer struct {
	status int
	proto  string
	header http.Header
	body   string
	err    error
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("the answer %q is not JSON: %v", a.body, err)
	}
	return m
}

// send builds and sends a request; headers come in pairs.
func send(t *testing.T, c *http.Client, method, target string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, proto: resp.Proto, header: resp.Header, body: string(b), err: err}
}

// ask sends a request to the LLM API with an access token.
func ask(t *testing.T, c *http.Client, p *provider.Provider, access, test, sim string) answer {
	t.Helper()
	return send(t, c, http.MethodPost, p.URL()+"/v1/messages", strings.NewReader("{}"),
		"Authorization", "Bearer "+access, "x-test-id", test, "x-sim", sim)
}

// refresh redeems a refresh token as an OAuth client would.
func refresh(t *testing.T, c *http.Client, p *provider.Provider, token string) answer {
	t.Helper()
	return grant(t, c, p, "refresh_token", provider.ClientID, token)
}

func grant(t *testing.T, c *http.Client, p *provider.Provider, kind, client, token string) answer {
	t.Helper()
	form := url.Values{"grant_type": {kind}, "client_id": {client}, "refresh_token": {token}}
	return send(t, c, http.MethodPost, p.URL()+"/v1/oauth/token", strings.NewReader(form.Encode()),
		"Content-Type", "application/x-www-form-urlencoded")
}
