package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A strict authorization server revokes the family of a refresh token that is presented twice. Each of these answers
// comes after the grant was processed.
func TestAnAnswerThatDoesNotDenyAProcessedGrantCostsNoAccount(t *testing.T) {
	answers := map[string]reply{
		"spring": {
			status: 500,
			body:   `{"timestamp":"2026-01-01T00:00:00Z","status":500,"error":"Internal Server Error","path":"/token"}`,
		},
		"anthropic": {status: 500, body: `{"type":"error","error":{"type":"api_error","message":"Internal server error"}}`},
		"overload":  {status: 529, body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`},
		"boolean":   {status: 502, body: `{"error":true}`},
		"oddly503":  {status: 503, body: `{"status":503,"error":"Service Unavailable"}`},
		"envoy": {
			status: 503,
			kind:   "text/plain",
			body:   "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
		},
		"server": {status: 500, body: `{"error":"server_error"}`},
		"page":   {status: 200, kind: "text/html", body: "<html>welcome</html>"},
		"ok":     {status: 200, body: `{"error":{"type":"api_error","message":"m"}}`},
		"empty":  {status: 500},
	}
	f := newFront(t)
	var names []string
	for name := range answers {
		names = append(names, name)
	}
	g := fronted(t, f, nil, nil, names...)
	for name, r := range answers {
		f.says(name, r)
		status, out := g.force(t, name)
		expect(t, "status of forcing "+name, status, 502)
		expect(t, "class with "+name, out["class"], any("unknown"))
	}
	served(t, g.post(t, ""), "")
	presentedOnce := func() bool {
		return !slices.ContainsFunc(names, func(name string) bool { return f.got(name) != 1 })
	}
	// a refusal for now would be tried again after 2 to 4 s
	staysTrueFor(t, 6*time.Second, "each credential was presented once", presentedOnce)
	for _, name := range names {
		a := g.Provider.Account(name)
		if f.got(name) != 1 || a.Redemptions != 1 || a.Reuses != 0 || a.Dead {
			t.Errorf("%s: %d grants arrived, %d redeemed, %d spent tokens presented, dead %t", name, f.got(name), a.Redemptions,
				a.Reuses, a.Dead)
		}
		expect(t, "state of "+name, g.state(t, name), "ambiguous")
		expect(t, name+" serves", g.account(t, name)["routable"], any(true))
	}
}

func TestADeadGrantIsKnownInAllItsWords(t *testing.T) {
	const words = "The refresh token passed is incorrect or expired."
	answers := map[string]reply{
		"github200": {status: 200, body: `{"error":"bad_refresh_token","error_description":"` + words + `"}`},
		"github400": {status: 400, body: `{"error":"bad_refresh_token","error_description":"` + words + `"}`},
		"form200": {
			status: 200,
			kind:   "application/x-www-form-urlencoded",
			body:   "error=bad_refresh_token&error_description=" + strings.ReplaceAll(words, " ", "+"),
		},
		"openai": {
			status: 401,
			body:   `{"error":{"message":"` + words + `","type":"invalid_request_error","code":"refresh_token_reused"}}`,
		},
		"google": {
			status: 400,
			body:   `{"error":{"code":400,"message":"Token has been expired or revoked.","status":"INVALID_ARGUMENT"}}`,
		},
	}
	f := newFront(t)
	var names []string
	for name := range answers {
		names = append(names, name)
	}
	g := fronted(t, f, nil, nil, names...)
	for name, r := range answers {
		f.says(name, r)
		g.force(t, name)
	}
	for name := range answers {
		eventually(t, 3*time.Second, name+" needs a human", func() bool { return g.state(t, name) == "needs_reauth" })
		want := words
		if name == "google" {
			want = "Token has been expired or revoked."
		}
		if why := g.text(t, name, "reason"); !strings.Contains(why, want) {
			t.Errorf("%s: %s", name, why)
		}
	}
	served(t, g.post(t, ""), "") // the access tokens live on
	staysTrueFor(t, 5*time.Second, "each credential was presented once", func() bool {
		return !slices.ContainsFunc(names, func(name string) bool { return f.got(name) != 1 })
	})
}

func TestAGrantThatComesAsAFormIsTaken(t *testing.T) {
	f := newFront(t)
	g := fronted(t, f, nil, nil, "a")
	f.says("a", reply{kind: "application/x-www-form-urlencoded", change: func(body string) string {
		return fmt.Sprintf("access_token=%s&expires_in=28800&refresh_token=%s&scope=&token_type=bearer",
			field(body, "access_token"), field(body, "refresh_token"))
	}})
	for range 2 {
		if status, out := g.force(t, "a"); status != 200 {
			t.Errorf("status %d: %v", status, out)
		}
	}
	served(t, g.post(t, ""), "")
	expect(t, "redemptions", g.Provider.Account("a").Redemptions, 2)
}

// field is a string in a JSON object.
func field(body, key string) string {
	_, rest, _ := strings.Cut(body, `"`+key+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
