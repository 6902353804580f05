package integration

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// ask sends a request with a path and a script of its own. Every answer of the provider to it follows the script.
func (g *Gateway) ask(t *testing.T, path, sim string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+path, strings.NewReader(`{"model":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-test-id", t.Name()+path)
	if sim != "" {
		req.Header.Set("x-sim", sim)
	}
	a, err := Do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refusedAlways has the provider refuse every attempt of the request.
const refusedAlways = "; times=1000000"

func TestBadRequestsOfOneClientDisturbNobody(t *testing.T) {
	for name, c := range map[string]struct {
		sim    string
		status int // what the bad client gets
	}{
		"401 for another kind of key":      {"status=401", 401},
		"401 missing scope in words":       {"status=401; message=You have insufficient permissions for this operation. Missing scopes: model.request.", 401},
		"401 unknown model in words":       {"status=401; message=The model gpt-9 does not exist", 401},
		"403 free trial":                   {"status=403; message=Your free trial has expired. Add credit to use more tokens.", 403},
		"403 that echoes the client":       {"status=403; message=no access to model token-revoked", 403},
		"400 that echoes the client":       {"status=400; message=Invalid value: 'organization has been disabled'", 400},
		"400 that echoes credit":           {"status=400; message=unknown role: credit balance is too low", 400},
		"401 that echoes a disabled owner": {"status=401; message=user 'account has been disabled' unknown", 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startWith(t, func(o *Options) { o.Route = "    attempts: 4" },
				map[string]string{"claude-1": "claude", "claude-2": "claude", "claude-3": "claude"})
			for range 12 {
				served(t, g.ask(t, "/v1/messages", ""), "")
			}
			for range 3 {
				a := g.ask(t, "/v1/organizations/x", c.sim+refusedAlways)
				expect(t, "status of the bad request", a.Status, c.status)
				expect(t, "reason of ours", a.Header.Get("tokenward-reason"), "")
				for range 6 {
					served(t, g.ask(t, "/v1/messages", ""), "")
				}
			}
			for _, n := range []string{"claude-1", "claude-2", "claude-3"} {
				expect(t, "state of "+n, g.state(t, n), "active")
			}
			if n := g.Provider.TokenCalls(); n > 3 {
				t.Errorf("%d refreshes of three accounts", n)
			}
		})
	}
}

func TestARequestThatEveryAccountRefusesTakesNoAccountFromTheNext(t *testing.T) {
	g := startWith(t, nil, map[string]string{"claude-1": "claude", "claude-2": "claude"})
	for range 4 { // nobody else asks, so nothing proves it guilty
		g.ask(t, "/v1/organizations/x", "status=401"+refusedAlways)
		g.ask(t, "/v1/organizations/y", "status=401"+refusedAlways)
	}
	if n := g.Provider.TokenCalls(); n > 2 {
		t.Errorf("%d refreshes of two accounts within a minute", n)
	}
	for range 5 {
		served(t, g.ask(t, "/v1/messages", ""), "")
	}
	// benched at most: two paths were refused, and it serves all the same
	for _, n := range []string{"claude-1", "claude-2"} {
		if s := g.state(t, n); s != "active" && s != "cooling" {
			t.Errorf("%s is %s", n, s)
		}
	}
}

func TestATokenRefusedOnARouteWithOneAttemptIsRefreshedWithoutAnotherRequest(t *testing.T) {
	g := startWith(t, func(o *Options) { o.Route = "    attempts: 1" },
		map[string]string{"claude-1": "claude", "claude-2": "claude"})
	g.Provider.Revoke("claude-1")
	g.Provider.Revoke("claude-2")
	expect(t, "status", g.post(t, "").Status, 503)
	eventually(t, time.Second, "the refused token is refreshed", func() bool { return g.Provider.TokenCalls() == 1 })
}

func TestAnAmbiguousAccountIsRefreshedWhenItsLivingTokenIsRefused(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1", provider.Script{TokenError: 502})
	g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"claude-1","force":true}`)
	expect(t, "state", g.state(t, "claude-1"), "ambiguous")
	g.Provider.Script("claude-1", provider.Script{})
	g.Provider.Revoke("claude-1")
	// its first pause after a failure is over in a moment
	eventually(t, 5*time.Second, "the old refresh token is presented", func() bool {
		return g.post(t, "").Status == 200
	})
	expect(t, "state", g.state(t, "claude-1"), "active")
}

func TestAResumedAccountServesAtOnceThoughItsLimitEndsInAWeek(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script(
		"claude-1",
		provider.Script{
			Status:  429,
			Headers: map[string]string{"Retry-After": "600000"},
			Body:    `{"type":"error","error":{"type":"rate_limit_error","message":"weekly"}}`,
		},
	)
	expect(t, "status", g.post(t, "").Status, 429)
	g.Provider.Script("claude-1", provider.Script{})
	refused(t, g.post(t, ""), 429, "all_cooling", "rate_limit_error")
	g.cli(t, "accounts", "resume", "claude-1")
	eventually(t, 3*time.Second, "it serves", func() bool { return g.post(t, "").Status == 200 })
	expect(t, "state", g.state(t, "claude-1"), "active")
}

func TestUnderLoadBadRequestsCostTheGoodOnesNothing(t *testing.T) {
	g := startWith(t, func(o *Options) { o.Route = "    attempts: 4" }, map[string]string{
		"claude-1": "claude",
		"claude-2": "claude",
		"claude-3": "claude",
		"claude-4": "claude",
		"claude-5": "claude",
		"claude-6": "claude",
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	end := time.Now().Add(15 * time.Second)
	wg.Go(func() {
		for time.Now().Before(end) {
			g.ask(t, "/v1/organizations/x", "status=401"+refusedAlways)
			time.Sleep(200 * time.Millisecond)
		}
	})
	for range 3 {
		wg.Go(func() {
			for time.Now().Before(end) {
				if a := g.ask(t, "/v1/messages", ""); a.Status != 200 {
					mu.Lock()
					failed++
					mu.Unlock()
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		t.Errorf("%d good requests failed", failed)
	}
	if n := g.Provider.TokenCalls(); n > 6 {
		t.Errorf("%d refreshes of six accounts within a minute", n)
	}
}

func TestAClientThatWalksOverManyPathsMovesNobodyToAnotherUpstream(t *testing.T) {
	for name, dead := range map[string]bool{"": false, "whose refresh tokens are dead": true} {
		t.Run("two accounts "+name, func(t *testing.T) {
			t.Parallel()
			g := startWith(t, func(o *Options) { o.Route = "    attempts: 4" }, three)
			if dead {
				for _, n := range []string{"claude-1", "claude-2"} {
					g.Provider.Script(n, provider.Script{TokenError: 400, TokenBody: `{"error":"invalid_grant"}`})
				}
			}
			for range 8 {
				served(t, g.ask(t, "/v1/messages", ""), "")
			}
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() { g.ask(t, "/v1/organizations/"+string(rune('a'+i)), "status=401"+refusedAlways) })
			}
			for range 40 {
				a := g.ask(t, "/v1/messages", "")
				served(t, a, "")
				if !strings.HasPrefix(a.Account, "claude-") {
					t.Fatalf("%s served", a.Account)
				}
			}
			wg.Wait()
			a := g.ask(t, "/v1/messages", "")
			served(t, a, "")
			if !strings.HasPrefix(a.Account, "claude-") {
				t.Errorf("then %s served", a.Account)
			}
		})
	}
}
