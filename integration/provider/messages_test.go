package provider_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

func TestAValidTokenIsAnsweredWithItsAccountAndTheBodysSum(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		a, b := p.Create("a", time.Hour), p.Create("b", time.Hour)
		body := strings.Repeat("prompt ", 100_000)
		sum := sha256.Sum256([]byte(body))
		for name, cred := range map[string]provider.Credential{"a": a, "b": b} {
			for _, path := range []string{"/v1/messages", "/v1/models", "/any/path"} {
				got := send(t, c, http.MethodPost, p.URL()+path, strings.NewReader(body), "Authorization",
					"Bearer "+cred.AccessToken)
				expect(t, "status", got.status, 200)
				m := got.json(t)
				expect(t, "account", m["account"].(string), name)
				expect(t, "body length", int(m["body_length"].(float64)), len(body))
				expect(t, "body sum", m["body_sum"].(string), hex.EncodeToString(sum[:]))
			}
		}
	})
}

func TestATokenThatIsNotValidIsRefusedInAnthropicsShape(t *testing.T) {
	p, c := start(t), speaking(t, false)
	live, expired := p.Create("live", time.Hour), p.Create("expired", -time.Second)
	revoked, killed := p.Create("revoked", time.Hour), p.Create("killed", time.Hour)
	p.Revoke("revoked")
	p.Kill("killed")
	for what, authorization := range map[string]string{
		"unknown": "Bearer sk-ant-oat-sim-guessed", "empty": "", "no scheme": live.AccessToken, "basic": "Basic " + live.AccessToken,
		"refresh token": "Bearer " + live.RefreshToken, "expired": "Bearer " + expired.AccessToken,
		"revoked": "Bearer " + revoked.AccessToken, "killed": "Bearer " + killed.AccessToken,
	} {
		t.Run(what, func(t *testing.T) {
			got := send(t, c, http.MethodPost, p.URL()+"/v1/messages", strings.NewReader("{}"), "Authorization", authorization)
			if got.status != 401 {
				t.Fatalf("status: got %d, want 401", got.status)
			}
			m := got.json(t)
			expect(t, "type", m["type"].(string), "error")
			expect(t, "error type", m["error"].(map[string]any)["type"].(string), "authentication_error")
		})
	}
}

func TestEveryRequestIsRecordedWithAllThatItCarried(t *testing.T) {
	bothProtocols(t, func(t *testing.T, c *http.Client) {
		p := start(t)
		cred := p.Create("a", time.Hour)
		send(t, c, http.MethodPost, p.URL()+"/v1/messages", strings.NewReader("hello"), "Authorization",
			"Bearer "+cred.AccessToken, "Authorization", "Bearer second", "x-test-id", "one", "x-mine", "1", "x-mine", "2")
		refused := ask(t, c, p, "guessed", "two", "")
		seen := p.Seen("one")
		if len(seen) != 1 {
			t.Fatalf("requests of the test: got %d, want 1", len(seen))
		}
		s, sum := seen[0], sha256.Sum256([]byte("hello"))
		expect(t, "path", s.Path, "/v1/messages")
		expect(t, "protocol", s.Proto, refused.proto)
		expect(t, "account", s.Account, "a")
		expect(t, "status", s.Status, 200)
		expect(t, "authorizations", strings.Join(s.Authorizations, ","), "Bearer "+cred.AccessToken+",Bearer second")
		expect(t, "headers", strings.Join(s.Headers["X-Mine"], ","), "1,2")
		expect(t, "body length", s.BodyLength, 5)
		expect(t, "body sum", s.BodySum, hex.EncodeToString(sum[:]))

		all := p.Seen("")
		if len(all) != 2 {
			t.Fatalf("all requests: got %d, want 2", len(all))
		}
		expect(t, "order", all[0].Test+","+all[1].Test, "one,two")
		expect(t, "status of the refused one", all[1].Status, 401)
		expect(t, "account of the refused one", all[1].Account, "")
	})
}

func TestARequestAsksForItsOwnRefusal(t *testing.T) {
	p, c := start(t), speaking(t, false)
	access := p.Create("a", time.Hour).AccessToken
	for status, kind := range map[int]string{
		400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
		413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
	} {
		test := fmt.Sprint(status)
		got := ask(t, c, p, access, test, fmt.Sprintf("status=%d; message=token revoked", status))
		expect(t, "status", got.status, status)
		wrong := got.json(t)["error"].(map[string]any)
		expect(t, "error type of "+test, wrong["type"].(string), kind)
		expect(t, "message of "+test, wrong["message"].(string), "token revoked")
		expect(t, "status of the test's next request", ask(t, c, p, access, test, fmt.Sprintf("status=%d", status)).status,
			200)
	}
}

func TestTheNumberOfRefusalsIsCountedPerTest(t *testing.T) {
	p, c := start(t), speaking(t, false)
	access := p.Create("a", time.Hour).AccessToken
	for i, want := range []int{401, 401, 200, 200} {
		for _, test := range []string{"one", "other"} {
			expect(t, fmt.Sprintf("answer %d to test %s", i, test), ask(t, c, p, access, test, "status=401; times=2").status,
				want)
		}
	}
}

func TestAnAccountsScriptIsAnsweredVerbatimUntilItEnds(t *testing.T) {
	for name, s := range map[string]provider.Script{
		"429 with headers": {Status: 429, Body: "{}", Headers: map[string]string{"Retry-After": "30", "anthropic-ratelimit-unified-reset": "1"}},
		"403 in HTML":      {Status: 403, Body: "<html>no</html>", Headers: map[string]string{"Content-Type": "text/html"}},
		"empty 401":        {Status: 401},
		"529":              {Status: 529, Body: `{"type":"error"}`},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := start(t), speaking(t, false)
			a, b := p.Create("a", time.Hour), p.Create("b", time.Hour)
			p.Script("a", s)
			for range 2 {
				got := ask(t, c, p, a.AccessToken, "one", "")
				expect(t, "status", got.status, s.Status)
				expect(t, "body", got.body, s.Body)
				for k, v := range s.Headers {
					expect(t, k, got.header.Get(k), v)
				}
			}
			expect(t, "recorded status", p.Seen("one")[0].Status, s.Status)
			expect(t, "status of another account", ask(t, c, p, b.AccessToken, "", "").status, 200)
			p.Script("a", provider.Script{})
			expect(t, "status when the script has ended", ask(t, c, p, a.AccessToken, "", "").status, 200)
		})
	}
}

func TestADelayHoldsTheAnswerBack(t *testing.T) {
	p, c := start(t), speaking(t, false)
	began := time.Now()
	expect(t, "status", ask(t, c, p, p.Create("a", time.Hour).AccessToken, "", "delay=80ms").status, 200)
	expect(t, "the delay passed", time.Since(began) >= 80*time.Millisecond, true)
}
