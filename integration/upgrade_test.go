package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/tokenward/tokenward/integration/provider"
)

// sockets are carried by routes that ask for it.
func sockets(o *Options) { o.Route = "    websocket: true" }

// upgrade asks for a WebSocket the way a browser does.
func (g *Gateway) upgrade(t *testing.T, test, sim string) (*websocket.Conn, error) {
	t.Helper()
	cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(g.URL, "http")+"/ws", g.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Header.Set("x-sim", sim)
	cfg.Header.Set("x-test-id", test)
	cfg.Header.Set("Authorization", "Bearer the-clients-own")
	return websocket.DialConfig(cfg)
}

func TestAWebSocketUpgradeCarriesTheTokenAndARefusedOneIsRetried(t *testing.T) {
	g := start(t, sockets)
	for sim, attempts := range map[string]int{"": 1, "status=401; times=1": 2, "status=401; times=2": 3} {
		test := t.Name() + sim
		c, err := g.upgrade(t, test, sim)
		if err != nil {
			t.Fatalf("%q: %v", sim, err)
		}
		if err := websocket.Message.Send(c, "hello"); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := websocket.Message.Receive(c, &back); err != nil {
			t.Fatal(err)
		}
		expect(t, "echo", back, "hello")
		_ = c.Close()
		expect(t, "requests at the provider", len(g.attempted(t, test)), attempts)
		if seen := g.attempted(t, test); !strings.HasPrefix(seen[len(seen)-1].Account, "claude-") {
			t.Errorf("served by %s", seen[len(seen)-1].Account)
		}
	}
}

// askUpgrade sends the upgrade by hand, since the answer to a refused one matters.
func (g *Gateway) askUpgrade(t *testing.T, test string) Answer {
	t.Helper()
	c, err := net.Dial("tcp", g.Opts.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(
		c,
		"GET /ws HTTP/1.1\r\nHost: "+g.Opts.Gateway+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: "+g.URL+
			"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-test-id: "+test+"\r\n\r\n",
	)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}
}

func TestAWebSocketUpgradeWhoseRefusalStaysIsAnsweredByUs(t *testing.T) {
	g := start(t, sockets)
	g.scriptAll(provider.Script{Status: 401, Body: `{"type":"error","error":{"type":"authentication_error","message":"no sockets"}}`}, "claude-1", "claude-2", "backup-1")
	r := refused(t, g.askUpgrade(t, t.Name()), 503, "credentials_refused", "api_error")
	if !strings.Contains(r.Error.Message, "no sockets") {
		t.Errorf("the provider's words are missing: %s", r.Error.Message)
	}
	if n := len(g.attempted(t, t.Name())); n < 2 {
		t.Errorf("given up after %d attempts", n)
	}
	g.scriptAll(provider.Script{}, "claude-1", "claude-2", "backup-1")
	if err := g.Add("claude-1", "claude", time.Hour); err != nil { // the others are benched
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "Envoy, which is alive, serves with a new credential",
		func() bool { return g.post(t, "").Status == 200 })
}

func TestAWebSocketUpgradeThatTheProviderDoesNotAllowPassesVerbatim(t *testing.T) {
	g := start(t, sockets)
	no := provider.Script{
		Status:  403,
		Headers: map[string]string{"x-vendor": "kept"},
		Body:    `{"type":"error","error":{"type":"permission_error","message":"no sockets"}}`,
	}
	g.scriptAll(no, "claude-1", "claude-2")
	verbatim(t, g.askUpgrade(t, t.Name()), no)
	g.scriptAll(provider.Script{}, "claude-1", "claude-2")
	served(t, g.post(t, ""), "") // Envoy is alive
}

func TestAWebSocketUpgradeOverHTTP2IsRefusedWithoutHarm(t *testing.T) {
	g := start(t, func(o *Options) { sockets(o); o.HTTP2 = true }) // the simulated provider knows no extended CONNECT
	expect(t, "status", g.askUpgrade(t, t.Name()).Status, 502)
	served(t, g.post(t, ""), "") // Envoy is alive
}
