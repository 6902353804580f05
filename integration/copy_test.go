package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/vaultserver"
)

// copyIn runs accounts copy in the gateway's folder: -c is the target's configuration.
func (g *Gateway) copyIn(t *testing.T, args ...string) string {
	t.Helper()
	return g.accountsIn(t, append([]string{"copy"}, args...)...)
}

// accountsIn runs a command of accounts in the gateway's folder.
func (g *Gateway) accountsIn(t *testing.T, args ...string) string {
	t.Helper()
	binary, err := filepath.Abs(g.Opts.Binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"accounts"}, args...)...)
	cmd.Dir = g.Opts.Folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("accounts %v: %v: %s", args, err, out)
	}
	return string(out)
}

func TestAccountsMoveFromSQLiteToARealVaultAndBackWhileTheServiceRuns(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, nil, one)
	served(t, g.post(t, ""), "")
	policy := filepath.Join(g.Opts.Folder, "operator.token")
	token, err := v.CLI(t.Context(), "token", "create", "-policy=tokenward-operator", "-field=token")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policy, []byte(strings.TrimSpace(token)), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(g.config())
	if err != nil {
		t.Fatal(err)
	}
	store := fmt.Sprintf("store: { vault: { address: %q, auth: { token_file: %q } } }", v.Address, policy)
	other := regexp.MustCompile(`(?m)^store:.*$`).ReplaceAllLiteral(own, []byte(store))
	if err := os.WriteFile(filepath.Join(g.Opts.Folder, "other.yaml"), other, 0o600); err != nil {
		t.Fatal(err)
	}

	out := g.copyIn(t, "--to", "vault", "-c", "other.yaml") // the interface's line
	if !strings.Contains(out, "claude-1  copied  active") {
		t.Errorf("printed %s", out)
	}
	expect(t, "state in Vault", fmt.Sprint(v.record(t, "claude-1")["state"]), "active")
	eventually(t, 5*time.Second, "the running service sees its account paused",
		func() bool { return g.state(t, "claude-1") == "paused" })
	redeemed := g.Provider.Account("claude-1").Redemptions
	if status, _ := g.force(t, "claude-1"); status != 409 {
		t.Errorf("a refresh at the old owner: status %d", status)
	}
	expect(t, "redemptions by the old owner", g.Provider.Account("claude-1").Redemptions, redeemed)

	c := g.Provider.Create("claude-1", time.Hour) // as if its new owner had rotated it
	v.kv(t, "patch", "claude-1", "refresh_token="+c.RefreshToken)
	out = g.copyIn(t, "--to", "sqlite", "-c", "tokenward.yaml", "--from-config", "other.yaml")
	if !strings.Contains(out, "claude-1  copied  active") {
		t.Errorf("printed %s", out)
	}
	expect(t, "state in Vault after the way back", fmt.Sprint(v.record(t, "claude-1")["state"]), "paused")
	eventually(t, 5*time.Second, "the service has its account again",
		func() bool { return g.state(t, "claude-1") == "active" })
	served(t, g.post(t, ""), "")

	v.kv(t, "patch", "claude-1", "state=active") // at the old owner: it must not become a second one
	if out = g.accountsIn(t, "list", "-c", "other.yaml"); !strings.Contains(out, "paused") ||
		!strings.Contains(out, "its live copy is in sqlite") {
		t.Errorf("printed %s", out)
	}
}
