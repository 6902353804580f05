package integration

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// told runs a command and returns what it said, and its exit code.
func (g *Gateway) told(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := g.CLI("", args...)
	var ended *exec.ExitError
	switch {
	case err == nil:
		return out, 0
	case errors.As(err, &ended):
		return out, ended.ExitCode()
	}
	t.Fatal(err)
	return "", 0
}

// line is the table's line of an account.
func line(t *testing.T, table, account string) string {
	t.Helper()
	for l := range strings.Lines(table) {
		if strings.HasPrefix(l, account+" ") {
			return strings.TrimSpace(l)
		}
	}
	t.Fatalf("no line of %s in\n%s", account, table)
	return ""
}

// paste runs the first command of a sentence in a shell, as an operator would.
func (g *Gateway) paste(t *testing.T, sentence, stdin string) {
	t.Helper()
	parts := strings.Split(sentence, "`")
	if len(parts) < 3 {
		t.Fatalf("no command in %q", sentence)
	}
	cmd := exec.Command("sh", "-c", `PATH="$0:$PATH"; `+parts[1], filepath.Dir(g.Opts.Binary))
	cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", parts[1], err, out)
	}
}

func TestStatusTellsProblemsFirstAndWhatToDoAboutEach(t *testing.T) {
	g := start(t, nil)
	out, code := g.told(t, "status", "--problems")
	expect(t, "exit code while all is well", code, 0)
	expect(t, "what is said then", strings.TrimSpace(out), "3 accounts: 3 active")

	g.Provider.Kill("claude-2")
	_, _ = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"claude-2","force":true}`)
	g.cli(t, "accounts", "pause", "backup-1")
	eventually(t, 5*time.Second, "it is paused", func() bool { return g.state(t, "backup-1") == "paused" })
	status := g.cli(t, "status")
	lines := strings.Split(strings.TrimSpace(status), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "claude-2 ") || !strings.HasPrefix(lines[2], "backup-1 ") ||
		lines[4] != "3 accounts: 1 active, 1 paused, 1 needs_reauth" {
		t.Fatalf("not problems first, with a summary:\n%s", status)
	}
	reauth, paused := line(t, status, "claude-2"), line(t, status, "backup-1")
	for _, part := range []string{" yes ", "log in at the provider again, then `tokenward accounts add claude-2 --refresh-token-file - -c " + g.config() + "`; serves until 20", "invalid_grant"} {
		if !strings.Contains(reauth, part) {
			t.Errorf("%q is missing: %s", part, reauth)
		}
	}
	if !strings.Contains(paused, "paused by an operator") ||
		!strings.Contains(paused, "does not serve, though its token lives until 20") {
		t.Errorf("a token that lives beside an account that does not serve is not explained: %s", paused)
	}

	out, code = g.told(t, "status", "--problems")
	expect(t, "exit code", code, 4)
	if strings.Contains(out, "claude-1 ") || strings.Contains(out, "backup-1 ") ||
		!strings.Contains(out, "1 account needs a human: claude-2") {
		t.Errorf("not only what needs attention:\n%s", out)
	}
	_, code = g.told(t, "status", "--problems", "-o", "json")
	expect(t, "exit code with JSON", code, 4)

	// The same sentence in the API, which the page shows, in the list, and in the log.
	reason, _ := g.account(t, "claude-2")["reason"].(string)
	var listed []struct{ AccountID, Problem string }
	if err := json.Unmarshal([]byte(g.cli(t, "accounts", "list", "-o", "json")), &listed); err != nil {
		t.Fatal(err)
	}
	for _, l := range listed {
		if l.AccountID == "claude-2" {
			expect(t, "the list's sentence", l.Problem, reason)
		}
	}
	advice, _ := g.logged("account_quarantined", "claude-2")["advice"].(string)
	if !strings.HasPrefix(advice,
		"log in at the provider again, then `tokenward accounts add claude-2 --refresh-token-file -`") {
		t.Errorf("the log says %q", advice)
	}

	_, why, _ := strings.Cut(paused, "paused by an operator")
	g.paste(t, why, "")
	_, why, _ = strings.Cut(reauth, "log in")
	g.paste(t, why, g.Provider.Create("claude-2", time.Hour).RefreshToken)
	eventually(t, 10*time.Second, "what was pasted helps", func() bool {
		return g.state(t, "backup-1") == "active" && g.state(t, "claude-2") == "active"
	})
	_, code = g.told(t, "status", "--problems")
	expect(t, "exit code afterwards", code, 0)
}

// logged is the latest event of a name about an account.
func (g *Gateway) logged(event, account string) map[string]any {
	var found map[string]any
	for l := range strings.Lines(g.Log.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(l), &m) == nil && m["event"] == event && m["account"] == account {
			found = m
		}
	}
	return found
}

func TestStatusTellsCoolingAndLimits(t *testing.T) {
	g := startWith(t, nil, one)
	slow := g.Provider.Create("slow", time.Hour)
	if _, err := g.CLI(slow.RefreshToken, "accounts", "add", "slow", "--provider", "sim", "--type", "ANTHROPIC_OAUTH",
		"--pool", "backup", "--rpm", "1", "--client-id", slow.ClientID, "--refresh-token-file", "-"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it is there", func() bool { return g.state(t, "slow") == "active" })
	g.Provider.Script("claude-1", provider.Script{Status: 429, Headers: map[string]string{"Retry-After": "60"}})
	expect(t, "status", g.post(t, "").Status, 429)
	expect(t, "status of the next", g.post(t, "").Status, 200) // the other's one attempt of this minute is gone
	status := g.cli(t, "status")
	for account, part := range map[string]string{
		"claude-1": "rate limited by the provider until 20",
		"slow":     "limits.rpm: 1, which is yours and not the provider's: room again at 20",
	} {
		if l := line(t, status, account); !strings.Contains(l, part) {
			t.Errorf("%q is missing: %s", part, l)
		}
	}
	if l := line(t, status, "claude-1"); !strings.Contains(l, "`tokenward accounts resume claude-1 -c ") ||
		!strings.Contains(l, "its token lives until") {
		t.Errorf("neither what lifts it nor why a living token does not serve: %s", l)
	}
	_, code := g.told(t, "status", "--problems")
	expect(t, "exit code while no account of a pool can serve", code, 4)
}
