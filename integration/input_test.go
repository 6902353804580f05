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
)

func TestRefreshingAllWhileRequestsFlowFailsNoneAndRedeemsOnce(t *testing.T) {
	g := start(t, nil)
	g.Provider.Script("claude-1", provider.Script{Before: 200 * time.Millisecond})
	wait := g.load(t, 2*time.Second)
	for range 5 {
		status, _ := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", `{"action":"refresh-all","force":true}`)
		expect(t, "status", status, 200)
	}
	noneLost(t, wait())
	for _, n := range []string{"claude-1", "claude-2", "backup-1"} {
		expect(t, "reuses of "+n, g.Provider.Account(n).Reuses, 0)
	}
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
	status, _ := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", `{"action":"`+strings.Repeat("x", 100<<10)+`"}`)
	expect(t, "status of an oversized body", status, 413)
	broken := filepath.Join(t.TempDir(), "tokenward.yaml")
	if err := os.WriteFile(broken, []byte("routes: { a: { upstreams: [nope], attempts: 99 } }\nadmn: {}\n"), 0o600); err != nil {
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

func TestAnUnreadableRecordStopsNothingElse(t *testing.T) {
	g := start(t, nil)
	file := filepath.Join(t.TempDir(), "records.json")
	// A record of a provider that a later edit of the configuration no longer knows.
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
	out := g.cli(t, "accounts", "import", "claude-3", "--from", "claude", "--file", file, "--provider", "sim", "--pool", "claude", "--client-id", provider.ClientID)
	if strings.Contains(out, c.AccessToken) {
		t.Error("the secret was printed")
	}
	eventually(t, 2*time.Second, "it is active", func() bool { return g.state(t, "claude-3") == "active" })
	g.cli(t, "accounts", "refresh", "claude-3", "--force")
	expect(t, "redemptions", g.Provider.Account("claude-3").Redemptions, 1)
}
