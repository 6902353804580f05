package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// rewritten changes a token endpoint's answer; it lacks an end unless change gives it one.
func rewritten(t *testing.T, change func(answer map[string]any)) func(body string) string {
	return func(body string) string {
		var answer map[string]any
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Errorf("the token endpoint's answer: %v", err)
			return body
		}
		delete(answer, "expires_in")
		change(answer)
		b, _ := json.Marshal(answer)
		return string(b)
	}
}

// jwtFor is an unsigned token that says when it ends.
func jwtFor(life time.Duration) string {
	claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(life).Unix())
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// renewedIn is how far the planned renewal is; it is planned when the latest refresh is saved.
func (g *Gateway) renewedIn(t *testing.T, account string) time.Duration {
	t.Helper()
	var at time.Time
	eventually(t, 3*time.Second, "a renewal of "+account+" is planned", func() bool {
		var err error
		at, err = time.Parse(time.RFC3339, g.text(t, account, "nextRefreshAt"))
		return err == nil
	})
	return time.Until(at)
}

func TestATokenWhoseAnswerNamesNoEndIsRenewedByWhatItsJWTSays(t *testing.T) {
	f := newFront(t)
	const life = 20 * time.Second
	g := fronted(t, f, nil, plain, "access", "identity", "opaque")
	f.says("access",
		reply{change: rewritten(t, func(a map[string]any) { a["access_token"], a["id_token"] = jwtFor(life), "opaque" })})
	f.says("identity", reply{change: rewritten(t, func(a map[string]any) { a["id_token"] = jwtFor(life) })})
	f.says("opaque", reply{change: rewritten(t, func(map[string]any) {})})
	for _, name := range []string{"access", "identity", "opaque"} {
		if status, out := g.force(t, name); status != 200 || out["expiresAt"] != nil {
			t.Errorf("%s: status %d: %v", name, status, out)
		}
		left, most := g.renewedIn(t, name), life
		if name == "opaque" {
			most = 24 * time.Hour
		}
		if left > most || left < most/4 {
			t.Errorf("%s is renewed in %v", name, left)
		}
		expect(t, "state of "+name, g.state(t, name), "active")
	}
	eventually(t, life, "both are renewed without a request",
		func() bool { return f.got("access") > 1 && f.got("identity") > 1 })
	expect(t, "grants of the opaque one", f.got("opaque"), 1)
	for line := range strings.Lines(g.Log.String()) {
		if strings.Contains(line, `"refresh_succeeded"`) && strings.Contains(line, "expires_at") {
			t.Errorf("an end that nobody told: %s", line)
		}
	}
}

func TestALifetimeThatIsNoneIsUnknownAndTheAccountServes(t *testing.T) {
	f := newFront(t)
	lives := map[string]string{
		"negative": `-5`,
		"none":     `0`,
		"words":    `"abc"`,
		"endless":  `1e999`,
		"list":     `[3600]`,
		"tiny":     `1e-9`,
	}
	var names []string
	for name := range lives {
		names = append(names, name)
	}
	g := fronted(t, f, nil, plain, names...)
	for name, life := range lives {
		f.says(name, reply{change: func(body string) string {
			return strings.Replace(rewritten(t, func(map[string]any) {})(body), "{", `{"expires_in":`+life+`,`, 1)
		}})
		if status, out := g.force(t, name); status != 200 || out["expiresAt"] != nil {
			t.Errorf("%s: status %d: %v", name, status, out)
		}
		if left := g.renewedIn(t, name); left < 20*time.Hour || left > 24*time.Hour {
			t.Errorf("%s is renewed in %v", name, left)
		}
		expect(t, "state of "+name, g.state(t, name), "active")
	}
	served(t, g.post(t, ""), "")
}
