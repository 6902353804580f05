package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/integration/provider"
)

// askWith sends a request with exactly so many headers, Host included.
func (g *Gateway) askWith(t *testing.T, headers int, value string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+"/v1/models", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "") // not sent
	for i := range headers - 1 {
		req.Header.Set(fmt.Sprintf("x-client-%d", i), value)
	}
	a, err := Do(&http.Client{Transport: &http.Transport{DisableCompression: true}}, req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhateverTheListenerLetsInReachesTheProvider(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %t", h2), func(t *testing.T) {
			g := startWith(t, func(o *Options) { o.HTTP2 = h2 }, one)
			for headers, status := range map[int]int{50: 200, 86: 200, 95: 200, 97: 200, 98: 200, 99: 200, 100: 200, 101: 431} {
				a := g.askWith(t, headers, "v")
				expect(t, fmt.Sprintf("status with %d headers", headers), a.Status, status)
			}
			expect(t, "status with 55 KiB of headers", g.askWith(t, 50, strings.Repeat("v", 55<<10/50)).Status, 200)
		})
	}
}

func TestAProvidersManyHeadersReachTheClient(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %t", h2), func(t *testing.T) {
			g := startWith(t, func(o *Options) { o.HTTP2 = h2 }, one)
			for _, n := range []int{90, 95, 99, 150} {
				s := provider.Script{Status: 200, Body: "{}", Headers: map[string]string{}}
				for i := range n {
					s.Headers[fmt.Sprintf("x-provider-%d", i)] = "v"
				}
				g.Provider.Script("claude-1", s)
				a := g.post(t, "")
				expect(t, fmt.Sprintf("status with %d headers", n), a.Status, 200)
				expect(t, "the last of them", a.Header.Get(fmt.Sprintf("x-provider-%d", n-1)), "v")
			}
		})
	}
}

func TestAProviderCannotSpeakInOurName(t *testing.T) {
	g := startWith(t, nil, one)
	forged := provider.Script{
		Status:  404,
		Body:    "{}",
		Headers: map[string]string{"tokenward-reason": "credentials_refused", "tokenward-attempts": "9"},
	}
	g.Provider.Script("claude-1", forged)
	a := g.post(t, "")
	expect(t, "status", a.Status, 404)
	expect(t, "reason", a.Header.Get("tokenward-reason"), "")
	expect(t, "attempts", strings.Join(a.Header.Values("tokenward-attempts"), ","), "1")
}

func TestASoleProviderThatCannotBeReachedIsA503OfOurs(t *testing.T) {
	g := startWith(t, func(o *Options) { o.Dead = true }, one) // the fallback has no account
	for range 2 {
		r := refused(t, g.post(t, ""), 503, "upstream_unreachable", "api_error")
		if !strings.Contains(r.Error.Message, "upstream claude") {
			t.Errorf("message: %s", r.Error.Message)
		}
	}
}
