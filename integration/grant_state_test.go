package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
)

func TestADeadCredentialIsNotRevivedByALimitNorByARestart(t *testing.T) {
	g := startWith(t, nil, three)
	g.Provider.Script("claude-1",
		provider.Script{TokenError: 400, TokenBody: `{"error":"invalid_grant","error_description":"gone"}`})
	g.force(t, "claude-1")
	dead := func(when string) {
		t.Helper()
		expect(t, "state "+when, g.state(t, "claude-1"), "needs_reauth")
		if why := g.text(t, "claude-1", "reason"); !strings.Contains(why, "gone") {
			t.Errorf("%s the reason is %q", when, why)
		}
		if m := g.metrics(t); !strings.Contains(m, `tokenward_account_state{account="claude-1",state="needs_reauth"} 1`) ||
			strings.Contains(m, `tokenward_account_state{account="claude-1",state="active"} 1`) {
			t.Errorf("%s the metrics say something else", when)
		}
		if list := g.cli(t, "accounts", "list"); !strings.Contains(list, "needs_reauth") {
			t.Errorf("%s the list says:\n%s", when, list)
		}
	}
	eventually(t, 3*time.Second, "it needs a human", func() bool { return g.state(t, "claude-1") == "needs_reauth" })
	for _, s := range []provider.Script{
		{TokenError: 429, TokenBody: `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`},
		{DropBefore: true},
		{TokenError: 401, TokenBody: `{"error":"invalid_client"}`},
		{TokenError: 503},
	} {
		g.Provider.Script("claude-1", s)
		status, _ := g.force(t, "claude-1")
		expect(t, "status of forcing it", status, 502)
		staysTrueFor(t, 200*time.Millisecond, "it needs a human", func() bool { // until the outcome is saved
			return g.state(t, "claude-1") == "needs_reauth"
		})
		dead("after another failure")
	}
	g.restart(t)
	dead("after a restart")
	served(t, g.post(t, ""), "")
	if err := g.Add("claude-1", "claude", time.Hour); err != nil { // a new login
		t.Fatal(err)
	}
	g.Provider.Script("claude-1", provider.Script{})
	eventually(t, 5*time.Second, "a new login revives it", func() bool { return g.state(t, "claude-1") == "active" })
}

func TestARenewalThatFailsIsToldWhileTheAccountServes(t *testing.T) {
	g := startWith(t, nil, map[string]string{"claude-2": "claude"})
	g.Provider.Script("claude-2",
		provider.Script{TokenError: 401, TokenBody: `{"error":"invalid_client","error_description":"who are you"}`})
	g.force(t, "claude-2")
	told := func(what, in string) {
		t.Helper()
		if !strings.Contains(in, "invalid_client") || !strings.Contains(in, "who are you") {
			t.Errorf("%s does not tell what the endpoint said: %s", what, in)
		}
	}
	eventually(t, 3*time.Second, "the reason is told", func() bool { return g.text(t, "claude-2", "reason") != "" })
	served(t, g.post(t, ""), "")
	expect(t, "state", g.state(t, "claude-2"), "active")
	told("the API", g.text(t, "claude-2", "reason"))
	told("tokenward status", g.cli(t, "status"))
	g.restart(t)
	told("the API after a restart", g.text(t, "claude-2", "reason"))
	g.Provider.Script("claude-2", provider.Script{})
	if status, _ := g.force(t, "claude-2"); status != 200 {
		t.Error("the endpoint works, and the refresh failed")
	}
	eventually(t, 3*time.Second, "nothing is wrong any more", func() bool { return g.text(t, "claude-2", "reason") == "" })
}

// bookkeeping is what the service has written about hours of refusals.
func bookkeeping(account string, c provider.Credential, since time.Time, dead map[string]any) map[string]any {
	stamp := since.Format(time.RFC3339)
	fingerprint := tokenstore.Fingerprint(tokenstore.AccountID(account), tokenstore.NewSecret(c.RefreshToken))
	rotation := map[string]any{
		"format": 1, "incarnation": "x", "generation": 1, "last": map[string]any{
			"at":              stamp,
			"trigger":         "schedule",
			"result":          "failed",
			"class":           "refused_transient",
			"upstream_status": 400,
			"error":           "not_in_the_mood",
			"fingerprint":     fingerprint,
			"failing_since":   stamp,
			"refusals":        2,
			"refused_since":   stamp,
		},
	}
	if dead != nil {
		dead["fingerprint"] = fingerprint
		rotation["dead"] = dead
	}
	return map[string]any{
		"provider":      "sim",
		"type":          "ANTHROPIC_OAUTH",
		"pools":         "claude",
		"client_id":     c.ClientID,
		"refresh_token": c.RefreshToken,
		"access_token":  c.AccessToken,
		"expires_at":    stamp,
		"obtained_at":   since.Add(-time.Hour).Format(time.RFC3339),
		"rotation":      rotation,
	}
}

func TestRefusalsOverHoursCallForAHumanAndEndByThemselves(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, map[string]string{"claude-2": "claude"})
	long := time.Now().Add(-3 * time.Hour).UTC()

	g.Provider.Create("claude-1", time.Hour)
	g.Provider.Script("claude-1",
		provider.Script{TokenError: 400, TokenBody: `{"error":"not_in_the_mood","error_description":"come back never"}`})
	if err := g.Opts.Put("claude-1",
		bookkeeping("claude-1", g.Provider.Create("claude-1", time.Hour), long, nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it needs a human", func() bool { return g.state(t, "claude-1") == "needs_reauth" })
	if why := g.text(t, "claude-1", "reason"); !strings.Contains(why, "come back never") {
		t.Errorf("the reason is %q", why)
	}
	next, err := time.Parse(time.RFC3339, g.text(t, "claude-1", "nextRefreshAt"))
	if left := time.Until(next); err != nil || left < 50*time.Minute || left > 61*time.Minute {
		t.Errorf("it is tried again in %v, %v", left, err)
	}
	written := func() any { return v.record(t, "claude-1")["rotation"].(map[string]any)["write_id"] }
	last := written()
	staysTrueFor(t, 5*time.Second, "the record is left alone", func() bool { return written() == last })

	stamp := long.Format(time.RFC3339) // the endpoint has changed its mind since
	err = g.Opts.Put(
		"claude-3",
		bookkeeping("claude-3", g.Provider.Create("claude-3", time.Hour), long,
			map[string]any{"at": stamp, "error": "not_in_the_mood", "guessed": true}),
	)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it is tried again by itself, and serves",
		func() bool { return g.state(t, "claude-3") == "active" })
	eventually(t, 3*time.Second, "its record is clean", func() bool {
		return v.record(t, "claude-3")["rotation"].(map[string]any)["dead"] == nil
	})
	expect(t, "redemptions", g.Provider.Account("claude-3").Redemptions, 1)
}

func TestACredentialThatMayBeSpentIsLeftAloneWhateverAForcedRefreshMeets(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1", provider.Script{DropAfter: true})
	g.force(t, "claude-1")
	eventually(t, 3*time.Second, "it is in doubt", func() bool { return g.state(t, "claude-1") == "ambiguous" })
	for _, s := range []provider.Script{
		{TokenError: 429}, {TokenError: 503}, {TokenError: 401, TokenBody: `{"error":"invalid_client"}`},
	} {
		g.Provider.Script("claude-1", s)
		g.force(t, "claude-1")
	}
	g.Provider.Script("claude-1", provider.Script{})
	staysTrueFor(t, 6*time.Second, "it is in doubt", func() bool { // a refusal for now would be tried again after 2 to 4
		return g.state(t, "claude-1") == "ambiguous"
	})
	served(t, g.post(t, ""), "")
	a := g.Provider.Account("claude-1")
	if a.Redemptions != 1 || a.Reuses != 0 || a.Dead {
		t.Errorf("%d redeemed, %d spent tokens presented, dead %t", a.Redemptions, a.Reuses, a.Dead)
	}
}
