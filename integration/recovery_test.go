package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
		expect(t, "status", a.Status, 200)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
		seen := g.Provider.Seen(t.Name())
		expect(t, "requests at the provider", len(seen), 1)
		expect(t, "authorization headers", len(seen[0].Authorizations), 1)
		if !strings.HasPrefix(seen[0].Authorizations[0], "Bearer sk-ant-oat-sim-claude-") {
			t.Error("the provider did not get our token")
		}
		for name := range seen[0].Headers {
			n := strings.ToLower(name)
			if strings.HasPrefix(n, "x-envoy-") || strings.HasPrefix(n, "x-forwarded-") || strings.HasPrefix(n, "x-tokenward-") || n == "x-api-key" || n == "x-request-id" {
				t.Errorf("the provider sees %s", n)
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
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		g.cli(t, "accounts", "pause", "claude-2")
		eventually(t, 2*time.Second, "claude-2 is paused", func() bool { return g.state(t, "claude-2") == "paused" })
		before := g.Provider.Account("claude-1").Redemptions
		g.Provider.Revoke("claude-1")
		a := g.post(t, sim)
		expect(t, "status", a.Status, 200)
		expect(t, "account", a.Account, "claude-1")
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
		expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions-before, 1)
	})
}

func TestAnExpiredTokenIsRefreshedBeforeTheFirstAttempt(t *testing.T) {
	g := start(t, nil)
	g.cli(t, "accounts", "pause", "claude-2")
	c := g.Provider.Create("claude-1", time.Hour)
	g.Provider.Script("claude-1", provider.Script{Before: 300 * time.Millisecond})
	c.ExpiresAt = time.Now().Add(-time.Minute)
	if err := g.AddCredential("claude-1", "claude", c); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the new credential is adopted", func() bool { return g.state(t, "claude-2") == "paused" })
	a := g.post(t, "")
	expect(t, "status", a.Status, 200)
	expect(t, "account", a.Account, "claude-1")
	expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
}

func TestRefusedBeforeAndAfterTheRefreshTheOtherAccountServes(t *testing.T) {
	g := start(t, nil)
	refused := provider.Script{Status: 401, Body: `{"type":"error","error":{"type":"authentication_error","message":"no"}}`}
	g.Provider.Script("claude-1", refused)
	eventually(t, 10*time.Second, "claude-1 is picked and benched", func() bool { // which of the two is picked is left to chance
		a := g.post(t, "")
		expect(t, "status", a.Status, 200)
		expect(t, "account", a.Account, "claude-2")
		return g.state(t, "claude-1") == "cooling"
	})
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
	for _, s := range g.Provider.Seen(t.Name()) {
		if s.Account == "claude-2" && !strings.Contains(s.Authorizations[0], "claude-2") {
			t.Error("claude-2's request carried another account's token")
		}
	}
}

func TestARefreshThatIsRefusedForGoodQuarantinesAndANewCredentialRevives(t *testing.T) {
	g := start(t, nil)
	g.Provider.Kill("claude-1")
	eventually(t, 10*time.Second, "claude-1 is picked and found dead", func() bool { // which of the two is picked is left to chance
		a := g.post(t, "")
		expect(t, "status", a.Status, 200)
		expect(t, "account", a.Account, "claude-2")
		return g.state(t, "claude-1") == "needs_reauth"
	})
	calls := g.Provider.TokenCalls()
	time.Sleep(3 * time.Second) // longer than the first back-off
	expect(t, "token endpoint calls while quarantined", g.Provider.TokenCalls()-calls, 0)
	if err := g.Add("claude-1", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "claude-1 is active again", func() bool { return g.state(t, "claude-1") == "active" })
}

func TestADeadPoolAndADeadUpstreamFallBackFromTheFirstAttemptOn(t *testing.T) {
	t.Run("accounts", func(t *testing.T) {
		g := start(t, nil)
		g.Provider.Kill("claude-1")
		g.Provider.Kill("claude-2")
		expect(t, "account", g.post(t, "").Account, "backup-1")
		a := g.post(t, "")
		expect(t, "account", a.Account, "backup-1")
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
	})
	t.Run("address", func(t *testing.T) {
		g := start(t, func(o *Options) { o.Dead = true })
		a := g.post(t, "")
		expect(t, "status", a.Status, 200)
		expect(t, "account", a.Account, "backup-1")
		expect(t, "attempts", g.post(t, "").Header.Get("tokenward-attempts"), "1")
	})
}

func TestNobodyLeftIsOurOwnAnswerWithTheReason(t *testing.T) {
	g := start(t, nil)
	for _, n := range []string{"claude-1", "claude-2", "backup-1"} {
		g.Provider.Script(n, provider.Script{Status: 401, Body: `{"type":"error","error":{"type":"authentication_error","message":"the sky fell"}}`})
	}
	a := g.post(t, "")
	expect(t, "status", a.Status, 503)
	expect(t, "reason", a.Header.Get("tokenward-reason"), "credentials_refused")
	for _, want := range []string{`"type":"error"`, "the sky fell", "401"} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("the body lacks %q: %s", want, a.Body)
		}
	}
	for range 3 {
		a = g.post(t, "")
	}
	expect(t, "status while all are benched", a.Status, 503)
}

func TestEverythingCoolingIsA429WithRetryAfter(t *testing.T) {
	g := start(t, nil)
	limited := provider.Script{Status: 429, Headers: map[string]string{"Retry-After": "30", "x-vendor": "kept"}, Body: `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`}
	for _, n := range []string{"claude-1", "claude-2", "backup-1"} {
		g.Provider.Script(n, limited)
	}
	for range 3 { // each passed on, each benches one account
		a := g.post(t, "")
		expect(t, "status", a.Status, 429)
		expect(t, "the provider's header", a.Header.Get("x-vendor"), "kept")
		expect(t, "the provider's body", a.Body, limited.Body)
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
	}
	a := g.post(t, "")
	expect(t, "status", a.Status, 429)
	expect(t, "reason", a.Header.Get("tokenward-reason"), "all_cooling")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestOnRateLimitFailoverTakesTheNextAccountInTheSameRequest(t *testing.T) {
	g := start(t, func(o *Options) { o.Route = "    on_rate_limit: failover" })
	g.Provider.Script("claude-1", provider.Script{Status: 429, Headers: map[string]string{"Retry-After": "30"}, Body: "{}"})
	for range 4 {
		a := g.post(t, "")
		expect(t, "status", a.Status, 200)
		expect(t, "account", a.Account, "claude-2")
	}
}

func TestOnAuthFailurePassGivesTheProvidersAnswer(t *testing.T) {
	g := start(t, func(o *Options) { o.Route = "    on_auth_failure: pass" })
	body := `{"type":"error","error":{"type":"authentication_error","message":"no"}}`
	for _, n := range []string{"claude-1", "claude-2", "backup-1"} {
		g.Provider.Script(n, provider.Script{Status: 401, Body: body})
	}
	a := g.post(t, "")
	expect(t, "status", a.Status, 401)
	expect(t, "body", a.Body, body)
}

func TestFaultsOfTheRequestPassVerbatimAndBenchNobody(t *testing.T) {
	g := start(t, nil)
	for _, status := range []string{"400", "403", "404", "413", "500"} {
		a := g.post(t, "status="+status+"; times=1000")
		expect(t, "status", http.StatusText(a.Status), http.StatusText(map[string]int{"400": 400, "403": 403, "404": 404, "413": 413, "500": 500}[status]))
		expect(t, "attempts", a.Header.Get("tokenward-attempts"), "1")
	}
	for _, n := range []string{"claude-1", "claude-2"} {
		expect(t, "state", g.state(t, n), "active")
	}
}

func TestA403ThatSaysRevokedIsARefusedToken(t *testing.T) {
	g := start(t, nil)
	a := g.post(t, "status=403; message=OAuth token has been revoked")
	expect(t, "status", a.Status, 200)
	expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
}

func TestAStormOfRefusalsCostsOneRedemption(t *testing.T) {
	g := start(t, nil)
	g.cli(t, "accounts", "pause", "claude-2")
	g.cli(t, "accounts", "pause", "backup-1")
	eventually(t, 2*time.Second, "the others are paused", func() bool { return g.state(t, "backup-1") == "paused" && g.state(t, "claude-2") == "paused" })
	g.Provider.Script("claude-1", provider.Script{Before: 300 * time.Millisecond})
	g.Provider.Revoke("claude-1")
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 200 {
		wg.Go(func() {
			a, err := g.Post(context.Background(), t.Name(), "", strings.NewReader("{}"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			statuses[a.Status]++
		})
	}
	wg.Wait()
	expect(t, "answers of 200", statuses[200], 200)
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
}

func TestAClientThatLeavesDoesNotStopTheRefresh(t *testing.T) {
	g := start(t, nil)
	g.cli(t, "accounts", "pause", "claude-2")
	g.cli(t, "accounts", "pause", "backup-1")
	eventually(t, 2*time.Second, "the others are paused", func() bool { return g.state(t, "backup-1") == "paused" && g.state(t, "claude-2") == "paused" })
	g.Provider.Script("claude-1", provider.Script{Before: time.Second})
	g.Provider.Revoke("claude-1")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := g.Post(ctx, t.Name(), "", strings.NewReader("{}")); err == nil {
		t.Fatal("the client was answered; the test proves nothing")
	}
	eventually(t, 3*time.Second, "the refresh is saved", func() bool { return strings.Contains(g.cli(t, "accounts", "show", "claude-1"), "generation     2") })
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
	eventually(t, 2*time.Second, "no stream is left", func() bool { return strings.Contains(g.metrics(t), "tokenward_streams 0") })
}

func TestALargeBodyIsRetriedIntactAndOneAboveTheLimitIsSentOnce(t *testing.T) {
	both(t, func(o *Options) { o.Limit = "8MiB" }, func(t *testing.T, g *Gateway, _ string) {
		body := strings.Repeat("0123456789abcdef", 5<<20/16)
		sum := sha256.Sum256([]byte(body))
		a, err := g.Post(t.Context(), t.Name(), "status=401", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status", a.Status, 200)
		if !strings.Contains(a.Body, hex.EncodeToString(sum[:])) {
			t.Error("the body did not arrive intact")
		}
		a, err = g.Post(t.Context(), t.Name()+" large", "status=401", strings.NewReader(strings.Repeat(body, 4)))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status above the limit", a.Status, 401)
		expect(t, "attempts above the limit", len(g.Provider.Seen(t.Name()+" large")), 1)
	})
}
