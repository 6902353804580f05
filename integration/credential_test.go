package integration

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

// code runs a command and returns its exit code and what it said.
func (g *Gateway) code(t *testing.T, stdin string, args ...string) (int, string) {
	t.Helper()
	out, err := g.CLI(stdin, args...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, out
	case errors.As(err, &exit):
		return exit.ExitCode(), out
	}
	t.Fatal(err)
	return 0, ""
}

// serving checks that requests of one account's pool get its answers.
func serving(t *testing.T, g *Gateway, account string) {
	t.Helper()
	a := g.post(t, "")
	expect(t, "status", a.Status, 200)
	expect(t, "account", a.Account, account)
}

func reason(t *testing.T, g *Gateway, account string) string {
	t.Helper()
	why, _ := g.account(t, account)["reason"].(string)
	return why
}

// slips are what an operator pastes for a refresh token by mistake.
var slips = map[string]string{
	"JSON":       `{"claudeAiOauth":{"refreshToken":"x"}}`,
	"quotes":     `"rt-abc"`,
	"Bearer":     "Bearer abc",
	"spaces":     "rt abc",
	"zero width": "rt\u200babc",
	"no ASCII":   "rt-äbc",
}

func TestASlipInPlaceOfARefreshTokenIsRefusedByTheCommandLineAndCostsNothing(t *testing.T) {
	g := startWith(t, nil, one)
	for name, text := range slips {
		code, out := g.code(t, text, "accounts", "add", "claude-1", "--refresh-token-file", "-")
		expect(t, "exit code of "+name, code, 2)
		if strings.Contains(out, "abc") {
			t.Errorf("%s: the value is told: %s", name, out)
		}
	}
	bom, err := os.ReadFile("testdata/refresh-token-bom.txt")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token.txt")
	if err := os.WriteFile(file, bom, 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, "state", g.state(t, "claude-1"), "active")
	serving(t, g, "claude-1")
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), 0)
	// a mark is dropped: it is a token, and a bad one
	_, out := g.code(t, "", "accounts", "add", "claude-1", "--refresh-token-file", file)
	if !strings.Contains(out, "updated") || !strings.Contains(out, "others can read "+file) {
		t.Errorf("with a byte order mark: %s", out)
	}
	eventually(t, 5*time.Second, "the bad one is refused",
		func() bool { return strings.Contains(reason(t, g, "claude-1"), "the former one is in use again") })
}

func TestABadCredentialOverAHealthyAccountStopsNothingAndTheFormerOneComesBack(t *testing.T) {
	g := startWith(t, nil, one)
	wait := g.loadOf(t, 3*time.Second, sound)
	code, out := g.code(t, "sk-ant-ort-nobodys", "accounts", "add", "claude-1", "--refresh-token-file", "-", "--rpm",
		"6000")
	expect(t, "exit code", code, 0)
	if !strings.Contains(out, "former credential is kept") {
		t.Errorf("it says: %s", out)
	}
	eventually(t, 5*time.Second, "the former one is back",
		func() bool { return strings.Contains(reason(t, g, "claude-1"), "the former one is in use again") })
	expect(t, "state", g.state(t, "claude-1"), "active")
	noneLost(t, wait())
	a := g.Provider.Account("claude-1")
	expect(t, "redemptions", a.Redemptions, 0)
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), 1)
	g.cli(t, "accounts", "refresh", "claude-1", "--force")
	expect(t, "redemptions after a refresh", g.Provider.Account("claude-1").Redemptions, 1)
	eventually(t, 3*time.Second, "it serves", func() bool { return g.post(t, "").Status == 200 })
}

func TestAGoodCredentialIsExchangedAtOnceAndTheTokenServesUntilThen(t *testing.T) {
	g := startWith(t, nil, one)
	c := g.Provider.Create("fresh", time.Hour)
	g.Provider.Script("fresh", provider.Script{TokenError: 429})
	g.cli2(t, c.RefreshToken, "accounts", "add", "claude-1", "--refresh-token-file", "-")
	eventually(t, 5*time.Second, "it was tried", func() bool { return g.Provider.TokenCalls() > 0 })
	serving(t, g, "claude-1") // with the token that it had
	g.Provider.Script("fresh", provider.Script{})
	eventually(t, 20*time.Second, "it is exchanged", func() bool { return g.post(t, "").Account == "fresh" })
	expect(t, "redemptions", g.Provider.Account("fresh").Redemptions, 1)
	expect(t, "redemptions of the former one", g.Provider.Account("claude-1").Redemptions, 0)
}

// cli2 is cli with something on standard input.
func (g *Gateway) cli2(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := g.CLI(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnEditOfLimitsAndLabelsSpendsNothingWhileTheTokenEndpointIsDown(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1", provider.Script{TokenError: 429})
	before := g.account(t, "claude-1")
	for _, args := range [][]string{{"--rpm", "5"}, {"--label", "a=b"}, {"--pool", "claude"}, nil} {
		code, out := g.code(t, "", append([]string{"accounts", "add", "claude-1"}, args...)...)
		expect(t, "exit code", code, 3)
		if !strings.Contains(out, "tokenward accounts set claude-1") {
			t.Errorf("the hint is missing: %s", out)
		}
	}
	g.cli(t, "accounts", "set", "claude-1", "--rpm", "500", "--label", "a=b")
	eventually(t, 3*time.Second, "the label is there",
		func() bool { l, _ := g.account(t, "claude-1")["labels"].(map[string]any); return l["a"] == "b" })
	after := g.account(t, "claude-1")
	for _, key := range []string{"fingerprint", "generation", "state", "expiresAt"} {
		expect(t, key, after[key], before[key])
	}
	serving(t, g, "claude-1")
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), 0)
}

func TestAnEditDuringARefreshIsKeptAndTheRotationToo(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1", provider.Script{Before: time.Second})
	go func() { _, _ = g.forceQuietly("claude-1") }()
	eventually(t, 3*time.Second, "it is refreshing", func() bool { return g.Provider.TokenCalls() == 1 })
	g.cli(t, "accounts", "set", "claude-1", "--rpm", "500", "--tenant", "", "--label", "team=red")
	eventually(t, 5*time.Second, "the rotation is saved",
		func() bool { return strings.Contains(g.cli(t, "accounts", "show", "claude-1"), "generation     2") })
	if out := g.cli(t, "accounts", "show", "claude-1"); !strings.Contains(out, "500 rpm") {
		t.Errorf("the edit is gone: %s", out)
	}
	g.cli(t, "accounts", "refresh", "claude-1", "--force")
	a := g.Provider.Account("claude-1")
	expect(t, "redemptions", a.Redemptions, 2)
	expect(t, "reuses", a.Reuses, 0)
}

func TestRefreshingAnAmbiguousAccountNeedsForceAndSaysWhatItRisks(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1", provider.Script{DropAfter: true})
	g.force(t, "claude-1")
	g.Provider.Script("claude-1", provider.Script{})
	expect(t, "state", g.state(t, "claude-1"), "ambiguous")
	calls := g.Provider.TokenCalls()
	status, out := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"claude-1","force":false}`)
	expect(t, "status", status, 200)
	expect(t, "result", out["result"], any("skipped"))
	if why, _ := out["error"].(string); !strings.Contains(why, "is tried again shortly before the access token ends") {
		t.Errorf("it says %q", why)
	}
	status, _ = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", `{"action":"refresh-all","force":true}`)
	expect(t, "status of all", status, 200)
	began := time.Now()
	for _, args := range [][]string{{"claude-1"}, {"claude-1", "--force"}} {
		code, said := g.code(t, "", append([]string{"accounts", "refresh"}, args...)...)
		expect(t, "exit code", code, 3)
		if !strings.Contains(said, "may be spent") {
			t.Errorf("it says: %s", said)
		}
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the answers took %v", took)
	}
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), calls)
	expect(t, "family revoked", g.Provider.Account("claude-1").Dead, false)
	serving(t, g, "claude-1")
	g.code(t, "", "accounts", "refresh", "claude-1", "--force", "--yes")
	expect(t, "reuses after all", g.Provider.Account("claude-1").Reuses, 1)
}

func TestResumingADeadAccountSaysSo(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Kill("claude-1")
	g.force(t, "claude-1")
	g.cli(t, "accounts", "pause", "claude-1")
	code, out := g.code(t, "", "accounts", "resume", "claude-1")
	expect(t, "exit code", code, 4)
	if strings.Contains(out, "is active") || !strings.Contains(out, "needs_reauth") ||
		!strings.Contains(out, "tokenward accounts add claude-1") {
		t.Errorf("it says: %s", out)
	}
}

func TestOnVaultASlipIsReportedTheAccountServesAndTheFormerTokenIsNotLost(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	good, _ := v.record(t, "claude-1")["refresh_token"].(string)
	for name, text := range slips {
		v.kv(t, "patch", "claude-1", "refresh_token="+text)
		eventually(t, 5*time.Second, name+" is reported", func() bool { return g.state(t, "claude-1") == "config_error" })
		if why := reason(t, g, "claude-1"); !strings.Contains(why, "refresh_token") || strings.Contains(why, "abc") {
			t.Errorf("%s: %s", name, why)
		}
		serving(t, g, "claude-1")
		v.kv(t, "patch", "claude-1", "refresh_token=\ufeff"+good)
		eventually(t, 5*time.Second, "it is active", func() bool { return g.state(t, "claude-1") == "active" })
	}
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), 0)
	v.kv(t, "patch", "claude-1", "refresh_token="+slips["JSON"])
	eventually(t, 5*time.Second, "it is reported", func() bool { return g.state(t, "claude-1") == "config_error" })
	// the provider refuses the token: a refresh is needed, and only the former one can bring it
	g.Provider.Revoke("claude-1")
	eventually(t, 10*time.Second, "it serves again", func() bool { return g.post(t, "").Status == 200 })
	a := g.Provider.Account("claude-1")
	expect(t, "redemptions", a.Redemptions, 1)
	expect(t, "reuses", a.Reuses, 0)
	if why := reason(t, g, "claude-1"); !strings.Contains(why, "is a JSON document") ||
		!strings.Contains(why, "the former one is in use again") {
		t.Errorf("afterwards: %s", why)
	}
}

func TestOnVaultABadCredentialThatIsPatchedInGivesWayToTheFormerOne(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	good := v.record(t, "claude-1")["refresh_token"]
	for _, verb := range []string{"patch", "put"} {
		calls := g.Provider.TokenCalls()
		args := []string{"refresh_token=sk-ant-ort-nobodys-" + verb}
		if verb == "put" {
			args = append(args, "provider=sim", "type=ANTHROPIC_OAUTH", "pools=claude", "client_id="+provider.ClientID)
		}
		v.kv(t, verb, "claude-1", args...)
		eventually(t, 10*time.Second, "it was tried", func() bool { return g.Provider.TokenCalls() > calls })
		eventually(t, 10*time.Second, "the former one is back",
			func() bool { return v.record(t, "claude-1")["refresh_token"] == good })
		serving(t, g, "claude-1")
		eventually(t, 5*time.Second, "it is active", func() bool { return g.state(t, "claude-1") == "active" })
		expect(t, "tries", g.Provider.TokenCalls()-calls, 1)
	}
	if v.record(t, "claude-1")["former"] != nil {
		t.Error("something is kept as the former one")
	}
	g.force(t, "claude-1")
	a := g.Provider.Account("claude-1")
	expect(t, "redemptions", a.Redemptions, 1)
	expect(t, "reuses", a.Reuses, 0)
}

func TestOnVaultARefreshTokenOfAnotherAccountIsNotSpent(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, map[string]string{"claude-1": "claude", "claude-2": "claude"})
	token, _ := v.record(t, "claude-1")["refresh_token"].(string)
	v.kv(t, "patch", "claude-2", "refresh_token="+token)
	eventually(t, 5*time.Second, "it is reported", func() bool { return g.state(t, "claude-2") == "config_error" })
	if why := reason(t, g, "claude-2"); !strings.Contains(why, "that of account claude-1") {
		t.Errorf("it says %s", why)
	}
	expect(t, "state of the owner", g.state(t, "claude-1"), "active")
	expect(t, "token endpoint calls", g.Provider.TokenCalls(), 0)
	g.force(t, "claude-1")
	g.force(t, "claude-2")
	expect(t, "status", g.post(t, "").Status, 200)
	a := g.Provider.Account("claude-1")
	expect(t, "redemptions", a.Redemptions, 1)
	expect(t, "reuses", a.Reuses, 0)
}
