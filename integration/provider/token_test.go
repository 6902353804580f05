package provider_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

func TestARefreshAnswersANewPairInFormAndInJSON(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		first := p.Create("a", time.Hour)
		second := refresh(t, c, p, first.RefreshToken)
		expect(t, "status of the form", second.status, 200)
		pair := second.json(t)

		body, err := json.Marshal(
			map[string]string{
				"grant_type":    "refresh_token",
				"client_id":     first.ClientID,
				"refresh_token": pair["refresh_token"].(string),
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		third := send(t, c, http.MethodPost, p.URL()+"/v1/oauth/token", strings.NewReader(string(body)), "Content-Type",
			"application/json")
		expect(t, "status of the JSON", third.status, 200)
		for _, pair := range []map[string]any{pair, third.json(t)} {
			access := pair["access_token"].(string)
			expect(t, "prefix of "+access, strings.HasPrefix(access, "sk-ant-oat-sim-"), true)
			expect(t, "prefix of the refresh token", strings.HasPrefix(pair["refresh_token"].(string), "sk-ant-ort-sim-"), true)
			expect(t, "token_type", pair["token_type"].(string), "Bearer")
			expect(t, "expires_in", pair["expires_in"].(float64), 3600)
			expect(t, "the API's opinion of the new access token", ask(t, c, p, access, "", "").status, 200)
		}
		expect(t, "the first access token lives until its end", ask(t, c, p, first.AccessToken, "", "").status, 200)
		expect(t, "redemptions", p.Account("a").Redemptions, 2)
		expect(t, "token endpoint calls", p.TokenCalls(), 2)
	})
}

func TestAReusedRefreshTokenRevokesItsFamilyAndNoOther(t *testing.T) {
	p, c := start(t), speaking(t, false)
	stolen, other := p.Create("stolen", time.Hour), p.Create("other", time.Hour)
	pair := refresh(t, c, p, stolen.RefreshToken).json(t)

	again := refresh(t, c, p, stolen.RefreshToken)
	expect(t, "status of the reuse", again.status, 400)
	expect(t, "error of the reuse", again.json(t)["error"].(string), "invalid_grant")
	expect(t, "status of the successor", refresh(t, c, p, pair["refresh_token"].(string)).status, 400)
	for _, access := range []string{stolen.AccessToken, pair["access_token"].(string)} {
		expect(t, "status of an access token of the family", ask(t, c, p, access, "", "").status, 401)
	}
	a := p.Account("stolen")
	expect(t, "reuses", a.Reuses, 1)
	expect(t, "dead", a.Dead, true)
	expect(t, "redemptions", a.Redemptions, 1)
	expect(t, "status of the other account", ask(t, c, p, other.AccessToken, "", "").status, 200)
	expect(t, "refresh of the other account", refresh(t, c, p, other.RefreshToken).status, 200)
}

func TestOfConcurrentRedemptionsOneIsGrantedAndTheFamilyIsRevoked(t *testing.T) {
	p, c := start(t), speaking(t, false)
	token := p.Create("a", time.Hour).RefreshToken
	statuses := make([]int, 8)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i] = refresh(t, c, p, token).status })
	}
	wg.Wait()
	granted := 0
	for _, s := range statuses {
		if s == 200 {
			granted++
		} else {
			expect(t, "status of a loser", s, 400)
		}
	}
	expect(t, "granted", granted, 1)
	expect(t, "redemptions", p.Account("a").Redemptions, 1)
	expect(t, "dead", p.Account("a").Dead, true)
}

func TestSigningInAnewRevokesTheOldFamilyAndSparesTheNew(t *testing.T) {
	p, c := start(t), speaking(t, false)
	old := p.Create("a", time.Hour)
	pair := refresh(t, c, p, old.RefreshToken).json(t)
	fresh := p.Create("a", time.Hour)

	expect(t, "status of an old access token", ask(t, c, p, old.AccessToken, "", "").status, 401)
	for what, token := range map[string]string{"spent": old.RefreshToken, "unspent": pair["refresh_token"].(string)} {
		expect(t, "status of the old family's "+what+" refresh token", refresh(t, c, p, token).status, 400)
	}
	expect(t, "reuses", p.Account("a").Reuses, 1)
	expect(t, "status of the new access token", ask(t, c, p, fresh.AccessToken, "", "").status, 200)
	expect(t, "status of the new refresh token", refresh(t, c, p, fresh.RefreshToken).status, 200)
}

func TestAKilledFamilyIsInvalidUntilASignIn(t *testing.T) {
	p, c := start(t), speaking(t, false)
	cred := p.Create("a", time.Hour)
	p.Kill("a")
	expect(t, "status of the access token", ask(t, c, p, cred.AccessToken, "", "").status, 401)
	dead := refresh(t, c, p, cred.RefreshToken)
	expect(t, "status of the refresh", dead.status, 400)
	expect(t, "error", dead.json(t)["error"].(string), "invalid_grant")
	expect(t, "reuses", p.Account("a").Reuses, 0)
	cred = p.Create("a", time.Hour)
	expect(t, "status after the sign-in", refresh(t, c, p, cred.RefreshToken).status, 200)
}

func TestARevokedAccessTokenLeavesTheRefreshTokenGood(t *testing.T) {
	p, c := start(t), speaking(t, false)
	cred := p.Create("a", time.Hour)
	p.Revoke("a")
	expect(t, "status of the access token", ask(t, c, p, cred.AccessToken, "", "").status, 401)
	expect(t, "status of the refresh", refresh(t, c, p, cred.RefreshToken).status, 200)
}

func TestARefusedGrantSpendsNothing(t *testing.T) {
	for name, q := range map[string]struct {
		kind, client, wrong string
		status              int
	}{
		"another client":     {"refresh_token", "another", "invalid_client", 401},
		"no client":          {"refresh_token", "", "invalid_client", 401},
		"another grant type": {"password", provider.ClientID, "unsupported_grant_type", 400},
		"no grant type":      {"", provider.ClientID, "unsupported_grant_type", 400},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := start(t), speaking(t, false)
			token := p.Create("a", time.Hour).RefreshToken
			got := grant(t, c, p, q.kind, q.client, token)
			expect(t, "status", got.status, q.status)
			expect(t, "error", got.json(t)["error"].(string), q.wrong)
			expect(t, "redemptions", p.Account("a").Redemptions, 0)
			expect(t, "the same token by the right client", refresh(t, c, p, token).status, 200)
		})
	}
}

func TestAnUnreadableOrUnknownGrantIsRefused(t *testing.T) {
	p, c := start(t), speaking(t, false)
	p.Create("a", time.Hour)
	expect(t, "status of an unknown refresh token", refresh(t, c, p, "sk-ant-ort-sim-a-guessed").status, 400)
	for _, body := range []string{"", "{", "null", "[]", `"x"`} {
		got := send(t, c, http.MethodPost, p.URL()+"/v1/oauth/token", strings.NewReader(body), "Content-Type",
			"application/json")
		expect(t, "status of "+body, got.status, 400)
	}
	expect(t, "redemptions", p.Account("a").Redemptions, 0)
	expect(t, "dead", p.Account("a").Dead, false)
}

func TestAScriptedTokenErrorIsAnsweredVerbatimAndSpendsNothing(t *testing.T) {
	for name, s := range map[string]provider.Script{
		"500 in HTML": {TokenError: 500, TokenBody: "<html>down</html>"},
		"429 empty":   {TokenError: 429},
		"400":         {TokenError: 400, TokenBody: `{"error":"invalid_grant"}`},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := start(t), speaking(t, false)
			token := p.Create("a", time.Hour).RefreshToken
			p.Script("a", s)
			got := refresh(t, c, p, token)
			expect(t, "status", got.status, s.TokenError)
			expect(t, "body", got.body, s.TokenBody)
			p.Script("a", provider.Script{})
			expect(t, "status when the script has ended", refresh(t, c, p, token).status, 200)
		})
	}
}

func TestADropBeforeProcessingSpendsNothing(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		token := p.Create("a", time.Hour).RefreshToken
		p.Script("a", provider.Script{DropBefore: true})
		expect(t, "answer lost", refresh(t, c, p, token).err != nil, true)
		expect(t, "redemptions", p.Account("a").Redemptions, 0)
		p.Script("a", provider.Script{})
		expect(t, "status of the next try", refresh(t, c, p, token).status, 200)
	})
}

func TestADropAfterProcessingLosesTheNewPair(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		token := p.Create("a", time.Hour).RefreshToken
		p.Script("a", provider.Script{DropAfter: true})
		expect(t, "answer lost", refresh(t, c, p, token).err != nil, true)
		expect(t, "redemptions", p.Account("a").Redemptions, 1)
		p.Script("a", provider.Script{})
		expect(t, "status of the next try", refresh(t, c, p, token).status, 400)
		expect(t, "dead", p.Account("a").Dead, true)
	})
}

func TestScriptedDelaysHoldTheAnswerBack(t *testing.T) {
	p, c := start(t), speaking(t, false)
	token := p.Create("a", time.Hour).RefreshToken
	p.Script("a", provider.Script{Before: 60 * time.Millisecond, After: 60 * time.Millisecond})
	began := time.Now()
	expect(t, "status", refresh(t, c, p, token).status, 200)
	expect(t, "both delays passed", time.Since(began) >= 120*time.Millisecond, true)
}
