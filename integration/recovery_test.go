package integration

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// both runs a scenario for JSON and SSE, over HTTP/1.1 and HTTP/2 towards the provider.
func both(t *testing.T, change func(o *Options), f func(t *testing.T, g *Gateway, sim string)) {
	for _, h2 := range []bool{false, true} {
		g := start(t, func(o *Options) {
			o.HTTP2 = h2
			if change != nil {
				change(o)
			}
		})
		for kind, sim := range map[string]string{"json": "", "sse": "events=3"} {
			t.Run(map[bool]string{false: "http1", true: "http2"}[h2]+" "+kind, func(t *testing.T) { f(t, g, sim) })
		}
	}
}

func TestAValidTokenTakesOneAttemptAndTheProviderSeesOnlyOurs(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		a := g.post(t, sim)
		served(t, a, sim)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
		seen := g.attempted(t, t.Name())
		expect(t, "requests at the provider", len(seen), 1)
		for name, values := range seen[0].Headers {
			n := strings.ToLower(name)
			if strings.HasPrefix(n, "x-envoy-") || strings.HasPrefix(n, "x-forwarded-") ||
				strings.HasPrefix(n, "x-tokenward-") ||
				n == "x-api-key" ||
				n == "x-request-id" {
				t.Errorf("the provider sees %s", n)
			}
			if strings.Contains(strings.Join(values, ","), "the-clients-own") {
				t.Errorf("the provider sees the client's key in %s", n)
			}
		}
		for name := range a.Header {
			if n := strings.ToLower(name); strings.HasPrefix(n, "x-tokenward-") || strings.HasPrefix(n, "x-envoy-") {
				t.Errorf("the client sees %s", n)
			}
		}
	})
}

func TestARevokedTokenIsRefreshedOnceAndTheSameAccountServes(t *testing.T) {
	each(
		t,
		nil,
		map[string]string{"claude-1": "claude", "backup-1": "backup"},
		func(t *testing.T, g *Gateway, sim string) {
			g.Provider.Revoke("claude-1")
			a := g.post(t, sim)
			served(t, a, sim)
			expect(t, "account", a.Account, "claude-1")
			expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
			seen := g.attempted(t, t.Name())
			expect(t, "requests at the provider", len(seen), 2)
			expect(t, "status of the first", seen[0].Status, 401)
			expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
			expect(t, "token endpoint calls", g.Provider.TokenCalls(), 1)
		},
	)
}

func TestAnExpiredTokenIsRefreshedBeforeTheFirstAttempt(t *testing.T) {
	each(t, nil, one, func(t *testing.T, g *Gateway, sim string) {
		c := g.Provider.Create("claude-1", time.Hour)
		g.Provider.Script("claude-1", provider.Script{Before: time.Second})
		c.ExpiresAt = time.Now().Add(-time.Minute)
		if err := g.AddCredential("claude-1", "claude", c); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the new credential is adopted and being refreshed",
			func() bool { return g.Provider.TokenCalls() == 1 })
		a := g.post(t, sim) // meets an expired token
		served(t, a, sim)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
		expect(t, "requests at the provider", len(g.attempted(t, t.Name())), 1)
		expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
	})
}

func TestRefusedBeforeAndAfterTheRefreshTheOtherAccountServes(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		a := g.post(t, "status=401; times=2; "+sim)
		served(t, a, sim)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "3")
		seen := g.attempted(t, t.Name())
		if len(seen) != 3 {
			t.Fatalf("requests at the provider: %d", len(seen))
		}
		first, last := seen[0].Account, seen[2].Account
		expect(t, "account after the refresh", seen[1].Account, first)
		if seen[0].Authorizations[0] == seen[1].Authorizations[0] {
			t.Error("the refused token was sent again")
		}
		if last == first || !strings.HasPrefix(last, "claude-") {
			t.Errorf("%s served after %s, not the pool's other account", last, first)
		}
		expect(t, "redemptions of the refused account", g.Provider.Account(first).Redemptions, 1)
		expect(t, "redemptions of the other account", g.Provider.Account(last).Redemptions, 0)
		expect(t, "state of the refused account, which one request does not bench", g.state(t, first), "active")
		expect(t, "state of the other account", g.state(t, last), "active")
	})
}

var dead = provider.Script{TokenError: 400, TokenBody: `{"error":"invalid_grant"}`}

func TestARefreshThatIsRefusedForGoodQuarantinesAndANewCredentialRevives(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		g.Provider.Script("claude-1", dead) // whichever of the two is picked
		g.Provider.Script("claude-2", dead)
		a := g.post(t, "status=401; times=1; "+sim)
		served(t, a, sim)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
		seen := g.attempted(t, t.Name())
		first, other := seen[0].Account, seen[1].Account
		if first == other || !strings.HasPrefix(other, "claude-") {
			t.Errorf("%s served after %s, not the pool's other account", other, first)
		}
		expect(t, "state", g.state(t, first), "needs_reauth")
		expect(t, "state of the other", g.state(t, other), "active")
		expect(t, "next renewal", g.account(t, first)["nextRefreshAt"], nil)
		g.Provider.Script(first, provider.Script{})
		if err := g.Add(first, "claude", time.Hour); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Second, first+" is active again", func() bool { return g.state(t, first) == "active" })
		g.Provider.Kill(other) // leaves the revived one alone in its pool
		eventually(t, 5*time.Second, "it serves", func() bool { return g.post(t, sim).Account == first })
	})
}

func TestRenewalLeavesAQuarantinedAccountAlone(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Kill("claude-1")
	expect(t, "status", g.post(t, "").Status, 503)
	expect(t, "state", g.state(t, "claude-1"), "needs_reauth")
	calls := g.Provider.TokenCalls()
	alone := func() bool { return g.Provider.TokenCalls() == calls }
	staysTrueFor(t, 3*time.Second, "the token endpoint is left alone", alone) // the first back-off is shorter
	expect(t, "status", g.post(t, "").Status, 503)
	expect(t, "left alone after a request", alone(), true)
}

func TestADeadPoolFallsBackFromTheFirstAttemptOn(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		g.Provider.Kill("claude-1")
		g.Provider.Kill("claude-2")
		a := g.post(t, sim)
		served(t, a, sim)
		expect(t, "account", a.Account, "backup-1")
		seen := g.attempted(t, t.Name())
		expect(t, "requests at the provider", len(seen), 3)
		for range 3 { // and while they stay dead
			a = g.post(t, sim)
			served(t, a, sim)
			expect(t, "account", a.Account, "backup-1")
			expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
		}
		expect(t, "requests at the provider", len(g.attempted(t, t.Name())), 6)
	})
}

func TestAnAddressThatRefusesConnectionsFallsBackFromTheFirstAttemptOn(t *testing.T) {
	each(t, func(o *Options) { o.Dead = true }, three, func(t *testing.T, g *Gateway, sim string) {
		a := g.post(t, sim)
		served(t, a, sim)
		expect(t, "account", a.Account, "backup-1")
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
		a = g.post(t, sim)
		served(t, a, sim)
		expect(t, "account of the next request", a.Account, "backup-1")
		expect(t, "attempts of the next request", a.Header.Get("tokenward-attempts"), "1")
		for _, s := range g.attempted(t, t.Name()) {
			expect(t, "account at the provider", s.Account, "backup-1")
		}
		expect(t, "state of claude-1", g.state(t, "claude-1"), "active") // the network's fault is not the account's
		expect(t, "state of claude-2", g.state(t, "claude-2"), "active")
	})
}

func TestTokensThatLiveServeWhileTheTokenEndpointIsDown(t *testing.T) {
	g := startWith(t, nil, one)
	for name, c := range map[string]struct {
		script provider.Script
		class  string
	}{
		"dropped":  {provider.Script{DropBefore: true}, "unknown"},
		"refused":  {provider.Script{TokenError: 503, TokenBody: `{"error":"temporarily_unavailable"}`}, "refused_transient"},
		"HTML":     {provider.Script{TokenError: 502, TokenBody: "<html>bad gateway</html>"}, "unknown"},
		"empty":    {provider.Script{TokenError: 500}, "unknown"},
		"overload": {provider.Script{TokenError: 503, TokenBody: "<html>busy</html>"}, "refused_transient"},
		"our type": {provider.Script{TokenError: 400, TokenBody: `{"error":"unsupported_grant_type"}`}, "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			g.Provider.Script("claude-1", c.script)
			const refresh = `{"action":"refresh-single","accountId":"claude-1","force":true}`
			var status int
			var out map[string]any
			// while the last one is being saved, its result is the answer
			eventually(t, 2*time.Second, "the refresh fails", func() bool {
				status, out = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", refresh)
				return status == 502
			})
			expect(t, "class", out["class"], any(c.class))
			for _, sim := range []string{"", "events=3"} {
				a := g.post(t, sim)
				served(t, a, sim)
				expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
			}
			g.Provider.Script("claude-1", provider.Script{})
			status, out = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", refresh)
			expect(t, "status of the next refresh", status, 200)
			expect(t, "result", out["result"], any("refreshed"))
		})
	}
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

func TestARefusedTokenWhileTheTokenEndpointIsDownMovesToTheOtherAccount(t *testing.T) {
	each(t, nil, three, func(t *testing.T, g *Gateway, sim string) {
		down := provider.Script{TokenError: 503}
		g.Provider.Script("claude-1", down) // whichever of the two is picked
		g.Provider.Script("claude-2", down)
		a := g.post(t, "status=401; times=1; "+sim)
		served(t, a, sim)
		seen := g.attempted(t, t.Name())
		expect(t, "requests at the provider", len(seen), 2)
		if seen[0].Account == seen[1].Account || seen[1].Account == "backup-1" {
			t.Errorf("%s served after %s, not the pool's other account", seen[1].Account, seen[0].Account)
		}
		expect(t, "state of the other", g.state(t, seen[1].Account), "active")
		if s := g.state(t, seen[0].Account); s == "needs_reauth" || s == "active" {
			t.Errorf("the refused account is %s", s)
		}
	})
}

func TestA403ThatSaysRevokedIsARefusedToken(t *testing.T) {
	each(t, nil, one, func(t *testing.T, g *Gateway, sim string) {
		a := g.post(t, "status=403; message=OAuth token has been revoked; "+sim)
		served(t, a, sim)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
		seen := g.attempted(t, t.Name())
		expect(t, "requests at the provider", len(seen), 2)
		expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
		if seen[0].Authorizations[0] == seen[1].Authorizations[0] {
			t.Error("the refused token was sent again")
		}
	})
}

func TestAStormOfRefusalsCostsOneRedemption(t *testing.T) {
	each(t, nil, one, func(t *testing.T, g *Gateway, sim string) {
		g.Provider.Script("claude-1", provider.Script{Before: 500 * time.Millisecond}) // all of them meet one refresh
		g.Provider.Revoke("claude-1")
		var wg sync.WaitGroup
		answers, errs := make([]Answer, 200), make([]error, 200)
		for i := range answers {
			wg.Go(func() { answers[i], errs[i] = g.Post(t.Context(), t.Name(), sim, strings.NewReader("{}")) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			served(t, a, sim)
		}
		expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
		expect(t, "token endpoint calls", g.Provider.TokenCalls(), 1)
		refused := 0
		for _, s := range g.attempted(t, t.Name()) {
			if s.Status == 401 {
				refused++
			}
		}
		if refused < 2 {
			t.Errorf("%d requests met the revoked token; this was no storm", refused)
		}
	})
}

func TestAClientThatLeavesDoesNotStopTheRefreshAndLeavesNothingBehind(t *testing.T) {
	const clients = 20
	// the upstream's protocol plays no part while all are held
	for kind, sim := range map[string]string{"json": "", "sse": "events=3"} {
		t.Run(kind, func(t *testing.T) {
			g := startWith(t, nil, one)
			served(t, g.post(t, sim), sim) // connections are made
			before := g.gauge(t, "go_goroutines")
			g.Provider.Script("claude-1", provider.Script{Before: 1500 * time.Millisecond})
			g.Provider.Revoke("claude-1")
			ctx, leave := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			errs := make([]error, clients)
			for i := range errs {
				wg.Go(func() { _, errs[i] = g.Post(ctx, t.Name()+" gone", sim, strings.NewReader("{}")) })
			}
			eventually(t, 3*time.Second, "all are held or waiting",
				func() bool { return g.gauge(t, "tokenward_streams") == clients && g.Provider.TokenCalls() == 1 })
			leave()
			wg.Wait()
			for _, err := range errs {
				if err == nil {
					t.Fatal("a client was answered; the test proves nothing")
				}
			}
			eventually(t, 3*time.Second, "no stream is left", func() bool { return g.gauge(t, "tokenward_streams") == 0 })
			eventually(t, 5*time.Second, "the refresh is saved",
				func() bool { return strings.Contains(g.cli(t, "accounts", "show", "claude-1"), "generation     2") })
			expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
			// Envoy's other workers have connected too; a leak would be one for each client
			eventually(t, 5*time.Second, "the goroutines are gone",
				func() bool { return g.gauge(t, "go_goroutines") <= before+clients/2 })
			eventually(t, 5*time.Second, "no trail is left", func() bool { return g.gauge(t, "tokenward_trails") == 0 })
			a := g.post(t, sim)
			served(t, a, sim)
			expect(t, "attempts of the next request", a.Header.Get("tokenward-attempts"), "1")
		})
	}
}
