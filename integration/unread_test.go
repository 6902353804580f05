package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// prompt is above what a stalled body may add, and below what adding it twice would.
const prompt = 1800 * time.Millisecond

// bothWays runs a scenario over HTTP/1.1 and HTTP/2 towards the provider.
func bothWays(t *testing.T, route string, accounts map[string]string, f func(t *testing.T, g *Gateway)) {
	t.Helper()
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "http1", true: "http2"}[h2], func(t *testing.T) {
			f(t, startWith(t, func(o *Options) { o.HTTP2, o.Route = h2, route }, accounts))
		})
	}
}

func TestAnErrorThatCannotBeReadPassesUnbroken(t *testing.T) {
	const body = `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: field required"}}`
	bothWays(t, "", one, func(t *testing.T, g *Gateway) {
		for name, c := range map[string]struct {
			shape  provider.Shape
			reason string
		}{
			"100 KiB":                {provider.Shape{Pad: 100 << 10}, "too_large"},
			"100 KiB chunked":        {provider.Shape{Pad: 100 << 10, Chunked: true}, "too_large"},
			"3 MiB chunked":          {provider.Shape{Pad: 3 << 20, Chunked: true}, "too_large"},
			"a bomb":                 {provider.Shape{Pad: 20 << 20, Codings: []string{"gzip"}}, "too_large"},
			"a bomb in a bomb":       {provider.Shape{Pad: 20 << 20, Codings: []string{"gzip", "gzip"}}, "too_large"},
			"an unknown coding":      {provider.Shape{Codings: []string{"compress"}}, "encoding"},
			"slower than a second":   {provider.Shape{Pad: 100, Chunked: true, Pace: 10 * time.Millisecond}, "timeout"},
			"slow, of known length":  {provider.Shape{Pad: 100, Pace: 10 * time.Millisecond}, "timeout"},
			"read, one second later": {provider.Shape{}, ""}, // nothing is left behind by the others
		} {
			t.Run(name, func(t *testing.T) {
				c.shape.Pad -= len(body) * min(c.shape.Pad, 1)
				s := provider.Script{Status: 400, Body: body, Shape: c.shape, Headers: map[string]string{"x-vendor": "kept"}}
				g.Provider.Script("claude-1", s)
				before, cut := g.unread(t, c.reason), g.unread(t, "cut")
				a, err := g.rawAnswer(t, http.MethodPost, "gzip, compress")
				if err != nil {
					t.Fatal(err)
				}
				expect(t, "status", a.Status, 400)
				expect(t, "header", a.Header.Get("x-vendor"), "kept")
				told := a.Header.Get("tokenward-attempts") == "1"
				// Now and then (one in fifty) Envoy has more of a fast large body than it holds before it asks for it. Then it
				// passes undecided, and is counted as cut.
				undecided := c.shape.Pad > 1<<20 && c.shape.Chunked && !told
				if undecided {
					eventually(t, 2*time.Second, "it is counted as cut", func() bool { return g.unread(t, "cut") == cut+1 })
					before--
				}
				expect(t, "attempts told", told, c.reason != "timeout" && !undecided)
				expect(t, "content-encoding", a.Header.Get("Content-Encoding"), strings.Join(c.shape.Codings, ", "))
				expect(t, "length announced", a.Header.Get("Content-Length") != "", !c.shape.Chunked)
				if len(c.shape.Codings) == 0 || c.shape.Codings[0] == "compress" {
					expect(t, "bytes", len(a.Body), len(body)+c.shape.Pad)
					expect(t, "beginning", a.Body[:len(body)], body)
				}
				if c.reason != "" {
					expect(t, "unread answers", g.unread(t, c.reason), before+1)
				}
			})
		}
	})
}

func TestAnErrorThatNeverEndsIsHeldForOneSecond(t *testing.T) {
	bothWays(t, "", one, func(t *testing.T, g *Gateway) {
		for name, shape := range map[string]provider.Shape{
			"stalls":                  {Chunked: true, Stall: 10},
			"stalls, length known":    {Stall: 10},
			"byte by byte, for ever":  {Chunked: true, Endless: true, Pace: 20 * time.Millisecond},
			"for ever, at full speed": {Chunked: true, Endless: true, Pad: 1000},
		} {
			g.Provider.Script("claude-1", provider.Script{Status: 400, Body: disabled[:20], Shape: shape})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var first [10]byte
			_, err = resp.Body.Read(first[:])
			expect(t, name+": status", resp.StatusCode, 400)
			expect(t, name+": beginning", string(first[:]), disabled[:10])
			if took := time.Since(started); err != nil || took > prompt {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			_ = resp.Body.Close()
		}
	})
}

func TestAnErrorThatBreaksOffEndsTheRequestAndIsEvidence(t *testing.T) {
	bothWays(t, "", one, func(t *testing.T, g *Gateway) {
		for _, shape := range []provider.Shape{{Cut: 10}, {Cut: 10, Chunked: true}} {
			g.Provider.Script("claude-1", provider.Script{Status: 400, Body: disabled, Shape: shape})
			a, _ := g.rawAnswer(t, http.MethodPost, "")
			if a.Took > time.Second || a.Status < 400 {
				t.Errorf("%d after %s", a.Status, a.Took)
			}
		}
		eventually(t, 2*time.Second, "both are counted", func() bool { return g.unread(t, "cut") == 2 })
		g.Provider.Script("claude-1", provider.Script{Status: 401, Body: disabled, Shape: provider.Shape{Cut: 10}})
		_, _ = g.rawAnswer(t, http.MethodPost, "")
		refreshed := func() bool { return g.Provider.TokenCalls() == 1 }
		eventually(t, 2*time.Second, "the refused token is refreshed", refreshed)
	})
}

func TestAnErrorWithoutABodyWaitsForNothing(t *testing.T) {
	bothWays(t, "", one, func(t *testing.T, g *Gateway) {
		for name, s := range map[string]provider.Script{
			"length 0": {}, "chunked": {Shape: provider.Shape{Chunked: true}}, "head": {Body: disabled},
		} {
			s.Status = 400
			g.Provider.Script("claude-1", s)
			method := map[bool]string{true: http.MethodHead, false: http.MethodPost}[name == "head"]
			a, err := g.rawAnswer(t, method, "gzip")
			if err != nil || a.Status != 400 || a.Body != "" || a.Took > time.Second/2 {
				t.Errorf("%s: %d after %s: %q, %v", name, a.Status, a.Took, a.Body, err)
			}
		}
		for _, reason := range []string{"too_large", "timeout", "encoding", "cut"} {
			expect(t, "unread: "+reason, g.unread(t, reason), 0)
		}
	})
}

// A stalled body must not take away what the headers call for.
func TestTheHeadersOfAnErrorThatStallsDecide(t *testing.T) {
	stalled := func(status int) provider.Script {
		return provider.Script{Status: status, Body: disabled, Shape: provider.Shape{Chunked: true, Stall: 10}}
	}
	apart := map[string]string{"claude-1": "claude", "backup-1": "backup"}
	for name, c := range map[string]struct {
		route    string
		accounts map[string]string
		script   provider.Script
		want     int
	}{
		"a rate limit fails over":   {"    on_rate_limit: failover", apart, stalled(429), 200},
		"a rate limit passes":       {"", one, stalled(429), 429},
		"a refused token is ours":   {"", one, stalled(401), 503},
		"a refused token may pass":  {"    on_auth_failure: pass", one, stalled(401), 401},
		"another account may serve": {"", three, stalled(401), 200},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, c.route, c.accounts, func(t *testing.T, g *Gateway) {
				g.Provider.Script("claude-1", c.script)
				if took, status := g.status(t); status != c.want || took > prompt {
					t.Errorf("%d after %s", status, took)
				}
			})
		})
	}
}

// status sends a request and returns how long its headers took; the body may never end.
func (g *Gateway) status(t *testing.T) (time.Duration, int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return time.Since(started), resp.StatusCode
}

func TestAServiceKilledInAPeekLosesNoRequest(t *testing.T) {
	for name, shape := range map[string]provider.Shape{
		"of known length": {Pace: 20 * time.Millisecond}, "of unknown length": {Chunked: true, Pace: 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, apart, one)
			g.Provider.Script("claude-1", provider.Script{Status: 401, Body: disabled[:40], Shape: shape})
			got := make(chan int, 1)
			go func() {
				_, status := g.status(t)
				got <- status
			}()
			eventually(t, time.Second, "the provider answers", func() bool { return len(g.Provider.Seen("")) == 1 })
			time.Sleep(300 * time.Millisecond) // the answer's headers are at the service
			_ = g.Service().Process.Kill()
			_ = g.Service().Wait()
			g.Provider.Script("claude-1", provider.Script{})
			if err := g.StartService(); err != nil {
				t.Fatal(err)
			}
			expect(t, "status", <-got, 200)
		})
	}
}

// unread is the metric's value for a reason, -1 without it.
func (g *Gateway) unread(t *testing.T, reason string) int {
	t.Helper()
	n := -1
	for line := range strings.Lines(g.metrics(t)) {
		if strings.HasPrefix(line, `tokenward_unread_answers_total{reason="`+reason+`",route="messages",upstream="claude"}`) {
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " "):], &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return n
}
