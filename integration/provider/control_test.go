package provider_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

func TestTheControlAPIDoesWhatTheMethodsDo(t *testing.T) {
	p, c := start(t), speaking(t, false)
	control := func(path, body string) answer {
		t.Helper()
		got := send(t, c, http.MethodPost, p.URL()+"/control/"+path, strings.NewReader(body))
		expect(t, "status of "+path, got.status, 200)
		return got
	}
	var cred provider.Credential
	if err := json.Unmarshal([]byte(control("create?name=a&lifetime=1h", "").body), &cred); err != nil {
		t.Fatal(err)
	}
	expect(t, "client", cred.ClientID, provider.ClientID)
	expect(t, "end within the hour", time.Until(cred.ExpiresAt) > 59*time.Minute, true)
	expect(t, "status of the new access token", ask(t, c, p, cred.AccessToken, "one", "").status, 200)

	control("script?name=a", `{"status":429,"body":"slow","headers":{"Retry-After":"7"}}`)
	got := ask(t, c, p, cred.AccessToken, "one", "")
	expect(t, "scripted status", got.status, 429)
	expect(t, "scripted body", got.body, "slow")
	expect(t, "scripted header", got.header.Get("Retry-After"), "7")
	control("script?name=a", `{}`)

	var seen []provider.Seen
	if err := json.Unmarshal([]byte(control("seen?test=one", "").body), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 {
		t.Fatalf("requests seen: got %d, want 2", len(seen))
	}
	expect(t, "recorded status", seen[1].Status, 429)

	control("revoke?name=a", "")
	expect(t, "status of a revoked access token", ask(t, c, p, cred.AccessToken, "", "").status, 401)
	expect(t, "status of the refresh", refresh(t, c, p, cred.RefreshToken).status, 200)
	control("kill?name=a", "")
	account := control("account?name=a", "").json(t)
	expect(t, "redemptions", account["redemptions"].(float64), 1)
	expect(t, "dead", account["dead"].(bool), true)
}

func TestTheControlAPIRefusesWhatItCannotDo(t *testing.T) {
	p, c := start(t), speaking(t, false)
	p.Create("a", time.Hour)
	for path, want := range map[string]int{
		"kill?name=nobody": 404, "revoke?name=nobody": 404, "account?name=nobody": 404, "script?name=a": 400,
		"create?name=b": 400, "create?name=b&lifetime=soon": 400, "explode?name=a": 404,
	} {
		got := send(t, c, http.MethodPost, p.URL()+"/control/"+path, strings.NewReader("not JSON"))
		expect(t, "status of "+path, got.status, want)
	}
	expect(t, "the ledger is free again", p.Account("a").Dead, false)
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	p := start(t)
	second, err := provider.Start(strings.TrimPrefix(p.URL(), "http://"))
	if err == nil {
		_ = second.Close()
		t.Fatal("two providers listen on one address")
	}
}

func TestAClosedProviderAnswersNobody(t *testing.T) {
	p, c := start(t), speaking(t, false)
	access := p.Create("a", time.Hour).AccessToken
	expect(t, "status while it is open", ask(t, c, p, access, "", "").status, 200)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, "an error", ask(t, c, p, access, "", "").err != nil, true)
}
