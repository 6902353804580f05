package integration

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

func TestRefreshingOneAndAllWhileRequestsFlowFailsNoneAndRedeemsOnce(t *testing.T) {
	g := start(t, nil)
	// no refusals: every redemption is the operator's
	wait := g.loadOf(t, 4*time.Second, sound)
	// who asks meanwhile joins
	g.scriptAll(provider.Script{Before: 600 * time.Millisecond}, "claude-1", "claude-2", "backup-1")
	for round, body := range []string{`{"action":"refresh-single","accountId":"claude-1","force":true}`, `{"action":"refresh-all","force":true}`} {
		calls := g.Provider.TokenCalls()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				status, _ := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", body)
				expect(t, "status", status, 200)
			})
		}
		wg.Wait()
		expect(t, "token endpoint calls of "+body, g.Provider.TokenCalls()-calls, []int{1, 3}[round])
		eventually(t, 3*time.Second, "all is saved", func() bool { return g.gauge(t, "tokenward_claims_held") == 0 })
	}
	noneLost(t, wait())
	for n, want := range map[string]int{"claude-1": 2, "claude-2": 1, "backup-1": 1} {
		a := g.Provider.Account(n)
		expect(t, "redemptions of "+n, a.Redemptions, want)
		expect(t, "reuses of "+n, a.Reuses, 0)
	}
	for _, s := range g.attempted(t, "") {
		expect(t, "status at the provider", s.Status, 200)
	}
}

func TestRefreshingWhileRequestsAreRefusedAndHealedFailsNone(t *testing.T) {
	g := start(t, nil)
	g.scriptAll(provider.Script{Before: 100 * time.Millisecond}, "claude-1", "claude-2", "backup-1")
	wait := g.loadOf(t, 2*time.Second, sound)
	calm := g.revoking(t, 500*time.Millisecond)
	defer calm()
	for i := range 6 {
		body := []string{`{"action":"refresh-single","accountId":"claude-1","force":true}`, `{"action":"refresh-all","force":true}`}[i%2]
		status, _ := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", body)
		expect(t, "status", status, 200)
	}
	noneLost(t, wait())
	for n := range three {
		expect(t, "reuses of "+n, g.Provider.Account(n).Reuses, 0)
	}
}

func TestWrongCallsOfTheAdminAPIAreSaidClearlyAndStopNothing(t *testing.T) {
	g := start(t, nil)
	g.cli(t, "accounts", "pause", "claude-2")
	eventually(t, 2*time.Second, "claude-2 is paused", func() bool { return g.state(t, "claude-2") == "paused" })
	wait := g.loadOf(t, time.Second, sound)
	for body, want := range map[string]struct {
		status int
		kind   string
		says   string
	}{
		`{"action":"refresh-single","accountId":"nobody"}`:                {404, "unknown-account", "nobody"},
		`{"action":"refresh-single","accountId":"claude-2","force":true}`: {409, "account-paused", "tokenward accounts resume claude-2"},
		`{"action":"refresh-single"}`:                                     {400, "bad-request", "accountId is missing"},
		`{"action":"dance"}`:                                              {400, "bad-request", "refresh-single or refresh-all"},
		`{"action":"refresh-all","more":1}`:                               {400, "bad-request", "more"},
		`{`:                                                               {400, "bad-request", "send e.g."},
		``:                                                                {400, "bad-request", "send e.g."},
		`{"action":"` + strings.Repeat("x", 100<<10) + `"}`: {413, "body-too-large", "64 KiB"},
	} {
		status, out := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", body)
		name := body[:min(len(body), 60)]
		expect(t, "status of "+name, status, want.status)
		expect(t, "type of "+name, out["type"], any("urn:tokenward:"+want.kind))
		if detail, _ := out["detail"].(string); !strings.Contains(detail, want.says) {
			t.Errorf("%s: the message lacks %q: %s", name, want.says, detail)
		}
	}
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), 0)
	right := g.Token
	for _, token := range []string{"wrong", "", right + "x"} {
		g.Token = token
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status, out := g.admin(t, method, "/api/admin/oauth/refresh", `{"action":"refresh-all","force":true}`)
			expect(t, "status with the token "+strconv.Quote(token), status, 401)
			if detail, _ := out["detail"].(string); !strings.Contains(detail, "admin token is missing or wrong") ||
				strings.Contains(detail, right) {
				t.Errorf("message: %s", detail)
			}
			if out["accounts"] != nil {
				t.Error("accounts are shown without the token")
			}
		}
	}
	expect(t, "token endpoint calls after wrong tokens", g.Provider.TokenCalls(), 0)
	noneLost(t, wait())
}

func TestWrongInputIsSaidClearlyAndStopsNothing(t *testing.T) {
	g := start(t, nil)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown account":  {[]string{"accounts", "show", "nobody"}, 1, "does not exist"},
		"bad id":           {[]string{"accounts", "show", "../x"}, 2, "account id"},
		"unknown provider": {[]string{"accounts", "add", "x", "--provider", "nope", "--type", "api_key"}, 2, "is not in the configuration"},
		"unknown pool":     {[]string{"accounts", "pause"}, 2, "accepts 1 arg"},
		"unknown flag":     {[]string{"accounts", "list", "--nope"}, 2, "unknown flag"},
		"no secret":        {[]string{"accounts", "add", "x", "--provider", "sim", "--type", "ANTHROPIC_OAUTH"}, 2, "must be given"},
	} {
		out, err := g.CLI("", c.args...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	broken := filepath.Join(t.TempDir(), "tokenward.yaml")
	if err := os.WriteFile(broken, []byte("routes: { a: { upstreams: [nope], attempts: 99 } }\nadmn: {}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(g.Opts.Binary, "check", "-c", broken)
	out, _ := cmd.CombinedOutput()
	expect(t, "exit code of a wrong configuration", cmd.ProcessState.ExitCode(), 2)
	for _, want := range []string{"attempts", "nope", "did you mean admin"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in: %s", want, out)
		}
	}
	expect(t, "requests go on", g.post(t, "").Status, 200)
}

func TestARecordThatCannotBeImportedStopsNothingElse(t *testing.T) {
	g := start(t, nil)
	file := filepath.Join(t.TempDir(), "records.json")
	if err := os.WriteFile(file, []byte(`{"good":{"provider":"sim","type":"ANTHROPIC_OAUTH","pools":"claude","access_token":"x"},"bad":{"provider":7}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := g.CLI("", "accounts", "import", "--from", "json", "--file", file)
	if err == nil || !strings.Contains(out, "bad") || !strings.Contains(out, "provider") {
		t.Errorf("got %v: %s", err, out)
	}
	eventually(t, 2*time.Second, "the good one is there", func() bool { return g.state(t, "good") != "absent" })
	g.cli(t, "accounts", "remove", "good")
	eventually(t, 2*time.Second, "the good one is gone", func() bool { return g.state(t, "good") == "absent" })
	expect(t, "requests go on", g.post(t, "").Status, 200)
}

func TestClaudeCodesFileIsImported(t *testing.T) {
	g := start(t, nil)
	c := g.Provider.Create("claude-3", time.Hour)
	file := filepath.Join(t.TempDir(), ".credentials.json")
	body := `{"claudeAiOauth":{"accessToken":"` + c.AccessToken + `","refreshToken":"` + c.RefreshToken + `","expiresAt":` + "4102444800000" + `,"scopes":["user:inference"]}}`
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	out := g.cli(t, "accounts", "import", "claude-3", "--from", "claude", "--file", file, "--provider", "sim", "--pool",
		"claude", "--client-id", provider.ClientID)
	if strings.Contains(out, c.AccessToken) {
		t.Error("the secret was printed")
	}
	eventually(t, 2*time.Second, "it is active", func() bool { return g.state(t, "claude-3") == "active" })
	g.cli(t, "accounts", "refresh", "claude-3", "--force")
	expect(t, "redemptions", g.Provider.Account("claude-3").Redemptions, 1)
}
