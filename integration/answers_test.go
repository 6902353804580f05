package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// refusal is our own answer in the provider's error shape.
type refusal struct {
	Type  string
	Error struct{ Type, Message string }
	Own   struct {
		Reason         string
		ProviderStatus int `json:"provider_status"`
	} `json:"tokenward"`
}

// refused checks that the client got an answer of ours with the reason in header and body.
func refused(t *testing.T, a Answer, status int, reason, kind string) refusal {
	t.Helper()
	var r refusal
	if err := json.Unmarshal([]byte(a.Body), &r); err != nil {
		t.Fatalf("%v: %d %s", err, a.Status, a.Body)
	}
	expect(t, "status", a.Status, status)
	expect(t, "content type", a.Header.Get("Content-Type"), "application/json")
	expect(t, "reason in the header", a.Header.Get("tokenward-reason"), reason)
	expect(t, "reason in the body", r.Own.Reason, reason)
	expect(t, "type", r.Type, "error")
	expect(t, "type of the error", r.Error.Type, kind)
	if r.Error.Message == "" {
		t.Error("the refusal has no message")
	}
	return r
}

// verbatim checks that the client got what the provider said, after one attempt.
func verbatim(t *testing.T, a Answer, s provider.Script) {
	t.Helper()
	expect(t, "status", a.Status, s.Status)
	expect(t, "body", a.Body, s.Body)
	for k, v := range s.Headers {
		expect(t, k, a.Header.Get(k), v)
	}
	expect(t, "reason of ours", a.Header.Get("tokenward-reason"), "")
	expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
}

// scriptAll scripts the accounts alike: whichever is picked, the answer is the same.
func (g *Gateway) scriptAll(s provider.Script, names ...string) {
	for _, n := range names {
		g.Provider.Script(n, s)
	}
}

func TestTheLastRefusedTokenBecomesA503WithTheProvidersMessageInside(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		g.scriptAll(
			provider.Script{
				Status: 401,
				Body:   `{"type":"error","error":{"type":"authentication_error","message":"the sky fell"}}`,
			},
			"claude-1",
			"claude-2",
			"backup-1",
		)
		r := refused(t, g.post(t, sim), 503, "credentials_refused", "api_error")
		expect(t, "the provider's status", r.Own.ProviderStatus, 401)
		if !strings.Contains(r.Error.Message, "the sky fell") {
			t.Errorf("the provider's words are missing: %s", r.Error.Message)
		}
		tokens := map[string]bool{}
		for _, s := range g.attempted(t, t.Name()) {
			tokens[s.Authorizations[0]] = true
		}
		if attempts := len(g.Provider.Seen(t.Name())); attempts > 4 || len(tokens) != attempts {
			t.Errorf("%d attempts with %d tokens", attempts, len(tokens))
		}
	})
}

func TestARefusalTooLargeToBePeekedIsA503WithoutTheProvidersMessage(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1",
		provider.Script{Status: 401, Body: `{"error":{"message":"` + strings.Repeat("x", 70<<10) + `"}}`})
	r := refused(t, g.post(t, ""), 503, "credentials_refused", "api_error")
	expect(t, "the provider's status", r.Own.ProviderStatus, 401)
	if strings.Contains(r.Error.Message, "xxx") || !strings.Contains(r.Error.Message, "401") {
		t.Errorf("message: %.200s", r.Error.Message)
	}
	expect(t, "the next request, to the same Envoy", g.post(t, "").Status, 503)
}

func TestEverythingDeadIsA503WithTheReasonAndNothingLeaves(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		for n := range three {
			g.Provider.Kill(n)
		}
		refused(t, g.post(t, sim), 503, "credentials_refused", "api_error")
		for n := range three {
			expect(t, "state of "+n, g.state(t, n), "needs_reauth")
		}
		before, calls := len(g.Provider.Seen("")), g.Provider.TokenCalls()
		a := g.post(t, sim)
		refused(t, a, 503, "no_healthy_account", "api_error")
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "")
		expect(t, "further requests at the provider", len(g.Provider.Seen("")), before)
		expect(t, "further token endpoint calls", g.Provider.TokenCalls(), calls)
	})
}

func TestARouteWithoutAccountsSaysSo(t *testing.T) {
	g := startWith(t, nil, nil)
	r := refused(t, g.post(t, ""), 503, "no_healthy_account", "api_error")
	if !strings.Contains(r.Error.Message, "accounts add") {
		t.Errorf("message: %s", r.Error.Message)
	}
}

func TestEverythingCoolingIsA429WithRetryAfter(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		limited := provider.Script{
			Status:  429,
			Headers: map[string]string{"Retry-After": "30", "x-vendor": "kept", "anthropic-ratelimit-requests-limit": "50"},
			Body:    "{\"type\":\"error\", \"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}\n",
		}
		g.scriptAll(limited, "claude-1", "claude-2", "backup-1")
		for range 3 { // each passed on, each benches one account
			verbatim(t, g.post(t, sim), limited)
		}
		seen := map[string]bool{}
		for _, s := range g.attempted(t, t.Name()) {
			seen[s.Account] = true
		}
		expect(t, "accounts that were asked", len(seen), 3)
		a := g.post(t, sim)
		refused(t, a, 429, "all_cooling", "rate_limit_error")
		if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 || n > 30 {
			t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
		}
		expect(t, "requests at the provider", len(g.Provider.Seen(t.Name())), 3)
	})
}

func TestARateLimitPassesAndItsAccountIsAvoidedUntilTheReset(t *testing.T) {
	const pause = 2 * time.Second
	for name, headers := range map[string]func(reset time.Time) map[string]string{
		"retry-after": func(time.Time) map[string]string {
			return map[string]string{"Retry-After": fmt.Sprint(int(pause.Seconds()))}
		},
		"unified reset": func(reset time.Time) map[string]string {
			return map[string]string{"anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-reset": fmt.Sprint(reset.Unix())}
		},
		"requests reset": func(reset time.Time) map[string]string {
			return map[string]string{"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": reset.UTC().Format(time.RFC3339)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, nil)
			reset := time.Now().Add(pause).Truncate(time.Second).Add(time.Second)
			if name == "retry-after" {
				reset = time.Now().Add(pause)
			}
			limited := provider.Script{
				Status:  429,
				Headers: headers(reset),
				Body:    `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`,
			}
			g.scriptAll(limited, "claude-1", "claude-2")
			verbatim(t, g.post(t, "events=3"), limited)
			benched := g.attempted(t, t.Name())[0].Account
			g.scriptAll(provider.Script{}, "claude-1", "claude-2")
			expect(t, "state", g.state(t, benched), "cooling")
			eventually(t, pause+8*time.Second, benched+" is picked again", func() bool {
				a := g.post(t, "events=3")
				served(t, a, "events=3")
				if a.Account == benched {
					return true
				}
				if a.Account == "backup-1" {
					t.Error("the other account of the pool was passed over")
				}
				return false
			})
			if early := time.Until(reset); early > 0 {
				t.Errorf("it was picked %s before its reset", early)
			}
			expect(t, "state", g.state(t, benched), "active")
		})
	}
}

func TestOnRateLimitFailoverTakesTheNextAccountInTheSameRequest(t *testing.T) {
	each(
		t,
		func(o *Options) { o.Route = "    on_rate_limit: failover" },
		three,
		func(t *testing.T, g *Gateway, sim string) {
			a := g.post(t, "status=429; times=1; "+sim)
			served(t, a, sim)
			expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
			seen := g.attempted(t, t.Name())
			if len(seen) != 2 || seen[0].Account == seen[1].Account || seen[1].Account == "backup-1" {
				t.Errorf("not the pool's two accounts in turn: %v", seen)
			}
			g.scriptAll(provider.Script{Status: 429, Headers: map[string]string{"Retry-After": "30"}, Body: "{}"}, "claude-1",
				"claude-2", "backup-1")
			a = g.post(t, sim)
			if a.Status != 429 { // nobody is left: the provider's own answer, or ours when the accounts cool already
				t.Errorf("status: %d", a.Status)
			}
		},
	)
}

func TestOnAuthFailurePassGivesTheProvidersAnswer(t *testing.T) {
	each(t, func(o *Options) { o.Route = "    on_auth_failure: pass" }, three, func(t *testing.T, g *Gateway, sim string) {
		no := provider.Script{
			Status:  401,
			Headers: map[string]string{"x-vendor": "kept", "Www-Authenticate": "Bearer"},
			Body:    "{\"type\":\"error\", \"error\":{\"type\":\"authentication_error\",\"message\":\"no\"}}\n",
		}
		g.scriptAll(no, "claude-1", "claude-2", "backup-1")
		a := g.post(t, sim)
		expect(t, "status", a.Status, no.Status)
		expect(t, "body", a.Body, no.Body)
		for k, v := range no.Headers {
			expect(t, k, a.Header.Get(k), v)
		}
		if n := len(g.attempted(t, t.Name())); n < 2 {
			t.Errorf("passed after %d attempts, without a recovery", n)
		}
	})
}

func TestFaultsOfTheRequestPassVerbatimAndBenchNobody(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		for name, s := range map[string]provider.Script{
			"400":        {Status: 400, Body: `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: field required"}}`},
			"403":        {Status: 403, Body: `{"type":"error","error":{"type":"permission_error","message":"your key may not use this model"}}`},
			"403 HTML":   {Status: 403, Headers: map[string]string{"Content-Type": "text/html"}, Body: "<html><body>blocked</body></html>"},
			"404":        {Status: 404, Body: `{"type":"error","error":{"type":"not_found_error","message":"model: x"}}`},
			"413":        {Status: 413, Body: `{"type":"error","error":{"type":"request_too_large","message":"too large"}}`},
			"500":        {Status: 500, Body: `{"type":"error","error":{"type":"api_error","message":"internal"}}`},
			"500 empty":  {Status: 500},
			"503":        {Status: 503, Headers: map[string]string{"Content-Type": "text/plain"}, Body: "upstream connect error or disconnect/reset before headers"},
			"529":        {Status: 529, Body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`},
			"400 large":  {Status: 400, Body: strings.Repeat("0123456789abcdef", 20<<10)},
			"400 spaced": {Status: 400, Body: "{ \"type\" : \"error\" }\r\n\r\n"},
		} {
			t.Run(name, func(t *testing.T) {
				headers := map[string]string{
					"Request-Id":                             "req_" + name,
					"x-vendor":                               "kept",
					"anthropic-ratelimit-requests-remaining": "7",
					"X-Should-Retry":                         "false",
				}
				maps.Copy(headers, s.Headers)
				s.Headers = headers
				g.scriptAll(s, "claude-1", "claude-2")
				verbatim(t, g.post(t, sim), s)
				expect(t, "requests at the provider", len(g.attempted(t, t.Name())), 1)
				for n := range three {
					expect(t, "state of "+n, g.state(t, n), "active")
				}
			})
		}
		g.scriptAll(provider.Script{}, "claude-1", "claude-2")
		served(t, g.post(t, sim), sim)
		expect(t, "token endpoint calls", g.Provider.TokenCalls(), 0)
	})
}

func TestAProviderThatSendsOurHeadersChangesNothing(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		hostile := provider.Script{
			Status: 500,
			Body:   "{}",
			Headers: map[string]string{
				"X-Tokenward-Retry":   "1",
				"X-Tokenward-After":   "60",
				"X-Tokenward-Status":  "401",
				"X-Envoy-Ratelimited": "true",
			},
		}
		g.scriptAll(hostile, "claude-1", "claude-2")
		a := g.post(t, sim)
		expect(t, "status", a.Status, 500)
		expect(t, "body", a.Body, "{}")
		expect(t, "requests at the provider", len(g.attempted(t, t.Name())), 1)
		for name := range a.Header {
			if strings.HasPrefix(http.CanonicalHeaderKey(name), "X-Tokenward-") {
				t.Errorf("the client sees %s", name)
			}
		}
	})
}
