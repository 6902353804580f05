package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// raw sends bytes to the gateway and reads one answer.
func (g *Gateway) raw(t *testing.T, method, request string) Answer {
	t.Helper()
	c, err := net.Dial("tcp", g.Opts.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, request)
	return readAnswer(t, bufio.NewReader(c), method)
}

func readAnswer(t *testing.T, r *bufio.Reader, method string) Answer {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
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

func TestHarmlessHabitsOfClientsAreServed(t *testing.T) {
	g := startWith(t, nil, one)
	const body = "content-length: 2\r\n\r\n{}"
	host := "Host: " + g.Opts.Gateway + "\r\n"
	for name, request := range map[string]string{
		"Java's upgrade to TLS":         "POST /v1/x HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n" + body,
		"the same, chunked":             "POST /v1/x HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"Java's upgrade to HTTP/2":      "POST /v1/x HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n" + body,
		"two upgrades":                  "POST /v1/x HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: h2c, TLS/1.3\r\n" + body,
		"an upgrade nobody knows":       "GET /v1/x HTTP/1.1\r\n" + host + "Connection: keep-alive, Upgrade\r\nUpgrade: web\r\n\r\n",
		"a longer word than websocket":  "GET /v1/x HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websockets\r\n\r\n",
		"an empty upgrade":              "GET /v1/x HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade:\r\n\r\n",
		"HTTP/1.0":                      "POST /v1/x HTTP/1.0\r\n" + host + body,
		"HTTP/1.0 without Host":         "POST /v1/x HTTP/1.0\r\n" + body,
		"HTTP/1.0 with a stream":        "POST /v1/x HTTP/1.0\r\nx-sim: events=3\r\n" + body,
		"HTTP/1.0 that is to stay open": "POST /v1/x HTTP/1.0\r\nConnection: keep-alive\r\n" + body,
	} {
		a := g.raw(t, http.MethodPost, request)
		if a.Status != 200 {
			t.Errorf("%s: %d %v %s", name, a.Status, a.Header, a.Body)
		}
	}
	for _, s := range g.Provider.Seen("") {
		for _, h := range []string{"Upgrade", "Http2-Settings"} {
			expect(t, h+" at the provider", len(s.Headers[h]), 0)
		}
	}
}

func TestAnHTTP10ConnectionThatAsksStaysOpen(t *testing.T) {
	g := startWith(t, nil, one)
	c, err := net.Dial("tcp", g.Opts.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	for range 3 {
		_, _ = io.WriteString(c, "POST /v1/x HTTP/1.0\r\nConnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}")
		expect(t, "status", readAnswer(t, r, http.MethodPost).Status, 200)
	}
}

// TestEveryAnswerOfEnvoysOwnSaysWhatItIs: JSON in a shape that clients of either dialect read, a reason, and a
// counter.
func TestEveryAnswerOfEnvoysOwnSaysWhatItIs(t *testing.T) {
	g := startWith(t, func(o *Options) { o.Prefix = "/v1/" }, one)
	host := "Host: " + g.Opts.Gateway + "\r\n"
	reasons := map[string]int{}
	for name, tt := range map[string]struct {
		request string
		status  int
		reason  string
	}{
		"no route":          {"GET /nope HTTP/1.1\r\n" + host + "\r\n", 404, "unknown_route"},
		"OPTIONS *":         {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 404, "unknown_route"},
		"CONNECT":           {"CONNECT a.example:443 HTTP/1.1\r\n" + host + "\r\n", 403, "host_refused"},
		"no host":           {"GET /v1/x HTTP/1.1\r\n\r\n", 400, "bad_request"},
		"a broken header":   {"GET /v1/x HTTP/1.1\r\n" + host + "a b: c\r\n\r\n", 400, "bad_request"},
		"a strange method":  {"FOO /v1/x HTTP/1.1\r\n" + host + "\r\n", 400, "bad_request"},
		"a NUL in the path": {"GET /v1/%00 HTTP/1.1\r\n" + host + "\r\n", 400, "bad_request"},
		"a fragment":        {"GET /v1/x#y HTTP/1.1\r\n" + host + "\r\n", 400, "bad_request"},
		"two lengths":       {"POST /v1/x HTTP/1.1\r\n" + host + "content-length: 1\r\ncontent-length: 2\r\n\r\n{}", 400, "bad_request"},
		"a bad chunk":       {"POST /v1/x HTTP/1.1\r\n" + host + "transfer-encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"},
		"no HTTP":           {"\x16\x03\x01\x02\x00\x01\x00", 400, "bad_request"},
		"an odd encoding":   {"POST /v1/x HTTP/1.1\r\n" + host + "transfer-encoding: gzip\r\n\r\n", 501, "bad_request"},
		"a huge header":     {"GET /v1/x HTTP/1.1\r\n" + host + "a: " + strings.Repeat("v", 70<<10) + "\r\n\r\n", 431, "too_large"},
		"many headers":      {"GET /v1/x HTTP/1.1\r\n" + host + strings.Repeat("a: v\r\n", 120) + "\r\n", 431, "too_large"},
	} {
		a := g.raw(t, http.MethodGet, tt.request)
		if !json.Valid([]byte(a.Body)) {
			t.Errorf("%s: %d %q", name, a.Status, a.Body)
			continue
		}
		ownAnswer(t, a, tt.status, tt.reason)
		reasons[tt.reason]++
	}
	eventually(t, 5*time.Second, "all are counted", func() bool {
		stats := g.envoyStats(t)
		for reason, n := range reasons {
			if !strings.Contains(stats, fmt.Sprintf("envoy_tokenward_answers{reason=%q} %d\n", reason, n)) {
				return false
			}
		}
		return true
	})
}

// ownAnswer checks an answer of Envoy's own in both dialects.
func ownAnswer(t *testing.T, a Answer, status int, reason string) {
	t.Helper()
	var r struct {
		Type  string
		Error struct{ Type, Code, Message string }
		Own   struct{ Reason string } `json:"tokenward"`
	}
	if err := json.Unmarshal([]byte(a.Body), &r); err != nil {
		t.Fatalf("%v: %d %s", err, a.Status, a.Body)
	}
	expect(t, "status", a.Status, status)
	expect(t, "content type", a.Header.Get("Content-Type"), "application/json")
	expect(t, "reason in the header", a.Header.Get("tokenward-reason"), reason)
	expect(t, "reason in the body", r.Own.Reason, reason)
	expect(t, "code", r.Error.Code, reason)
	expect(t, "type", r.Type, "error")
	if r.Error.Type == "" || r.Error.Message == "" {
		t.Errorf("incomplete: %s", a.Body)
	}
}

// envoyStats is what Envoy tells Prometheus.
func (g *Gateway) envoyStats(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + g.Opts.EnvoyAdmin + "/stats/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// breaker is a provider that takes requests and breaks their connection: before an answer, or with half of one.
func breaker(t *testing.T, answer string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, func(c net.Conn) {
		defer func() { _ = c.Close() }()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	})
	return "http://" + l.Addr().String()
}

func TestABrokenConnectionToTheProviderIsToldAsOne(t *testing.T) {
	for name, answer := range map[string]string{"nothing": "", "no HTTP": "garbage\r\n\r\n", "half a header": "HTTP/1.1 200 OK\r\ncontent-"} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, func(o *Options) { o.First = breaker(t, answer) }, one)
			a := g.post(t, "")
			if a.Status < 500 {
				t.Errorf("status %d", a.Status)
			}
			ownAnswer(t, a, a.Status, "upstream_failed")
		})
	}
}

func TestAWebSocketThatTheConnectionCannotCarryIsToldSo(t *testing.T) {
	// the simulated provider knows no extended CONNECT
	g := startWith(t, func(o *Options) { sockets(o); o.HTTP2 = true }, one)
	ownAnswer(t, g.askUpgrade(t, t.Name()), 502, "upstream_failed")
}

func TestAProvidersOwnAnswersAreNeverTouched(t *testing.T) {
	g := startWith(t, nil, one)
	for _, status := range []int{400, 403, 404, 408, 413, 426, 431, 500, 501, 502, 504} {
		s := provider.Script{
			Status:  status,
			Headers: map[string]string{"Content-Type": "text/plain", "x-vendor": "kept"},
			Body:    "upstream connect error or disconnect/reset before headers",
		}
		g.Provider.Script("claude-1", s)
		verbatim(t, g.post(t, ""), s)
	}
}

func TestLibrariesAreToldNotToRepeatWhatCannotHelp(t *testing.T) {
	for reason, accounts := range map[string]map[string]string{"credentials_refused": one, "no_healthy_account": nil} {
		g := startWith(t, nil, accounts)
		if accounts != nil {
			g.Provider.Kill("claude-1")
		}
		a := g.post(t, "")
		refused(t, a, 503, reason, "api_error")
		expect(t, "x-should-retry of "+reason, a.Header.Get("x-should-retry"), "false")
	}
	g := startWith(t, func(o *Options) { o.Prefix = "/v1/other" }, one)
	a := g.post(t, "")
	ownAnswer(t, a, 404, "unknown_route")
	expect(t, "x-should-retry of unknown_route", a.Header.Get("x-should-retry"), "false")
}
