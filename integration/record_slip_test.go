package integration

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

// refreshing has a refresh of claude-1 at the token endpoint: the grant is processed and its answer comes a second
// later.
func (g *Gateway) refreshing(t *testing.T) (done chan int) {
	t.Helper()
	before := g.Provider.Account("claude-1").Redemptions
	g.Provider.Script("claude-1", provider.Script{After: time.Second})
	done = make(chan int, 1)
	go func() { _, _ = g.forceQuietly("claude-1"); done <- 1 }()
	eventually(t, 5*time.Second, "the grant is processed",
		func() bool { return g.Provider.Account("claude-1").Redemptions == before+1 })
	return done
}

// Each patch is made with Vault's own tool while a refresh is at the token endpoint.
func TestOnVaultOneWrongKeyKeepsNoRotationOutAndNoAccountFromServing(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	for _, c := range []struct {
		key, wrong, right string
		state             string // while it is wrong
	}{
		{"labels", "team-red", "team=red,tier=gold", "active"},
		{"limits", "many", "", "active"},
		{"limits", `{"rpm":"many"}`, `{"rpm":6000}`, "active"},
		{"state", "pausd", "active", "active"},
		{"expires_at", "tomorrow", "", "active"}, // the service's own: its commit puts it right
		{"provider", "", "sim", "config_error"},
		{"type", "", "ANTHROPIC_OAUTH", "config_error"},
	} {
		t.Run(c.key+"="+c.wrong, func(t *testing.T) {
			before := v.record(t, "claude-1")
			done := g.refreshing(t)
			v.kv(t, "patch", "claude-1", c.key+"="+c.wrong)
			<-done
			eventually(t, 3*time.Second, "the rotation is in Vault",
				func() bool { return v.record(t, "claude-1")["refresh_token"] != before["refresh_token"] })
			g.Provider.Script("claude-1", provider.Script{})
			expect(t, "unsaved rotations", g.gauge(t, "tokenward_unsaved_rotations"), 0)
			own := c.key == "expires_at"
			if is := v.record(t, "claude-1")[c.key]; !own && is != any(c.wrong) {
				t.Errorf("%s is %v, was written as %q", c.key, is, c.wrong)
			}
			eventually(t, 5*time.Second, "the slip is shown", func() bool {
				reason, _ := g.account(t, "claude-1")["reason"].(string)
				return g.state(t, "claude-1") == c.state && (own || strings.Contains(reason, "key "+c.key))
			})
			if c.state == "active" {
				served(t, g.post(t, ""), "")
			}
			if !own {
				for _, args := range [][]string{{"list"}, {"show", "claude-1"}} {
					if out := g.accountsIn(t, args...); !strings.Contains(out, "key "+c.key) {
						t.Errorf("%v says nothing of it:\n%s", args, out)
					}
				}
				if c.state == "active" { // also a record that is wrong already is claimed and refreshed
					status, _ := g.force(t, "claude-1")
					expect(t, "status of a refresh", status, 200)
				}
				v.kv(t, "patch", "claude-1", c.key+"="+c.right)
			}
			eventually(t, 5*time.Second, "mended, nothing is said any more", func() bool {
				a := g.account(t, "claude-1")
				return a["state"] == "active" && (a["reason"] == nil || a["reason"] == "")
			})
			served(t, g.post(t, ""), "")
		})
	}
	labels, _ := g.account(t, "claude-1")["labels"].(map[string]any)
	expect(t, "a label", labels["tier"], any("gold"))
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

func TestOnVaultSIGTERMDoesNotWaitForAWrongLabel(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, func(o *Options) { v.on(o); apart(o) }, one)
	before := v.record(t, "claude-1")
	done := g.refreshing(t)
	v.kv(t, "patch", "claude-1", "labels=team-red")
	began := time.Now()
	_ = g.Service().Process.Signal(syscall.SIGTERM)
	_ = g.Service().Wait()
	<-done
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if r := v.record(t, "claude-1"); r["refresh_token"] == before["refresh_token"] || r["labels"] != any("team-red") {
		t.Errorf("the rotation is not saved, or the labels are %v", r["labels"])
	}
	g.Provider.Script("claude-1", provider.Script{})
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it serves", func() bool { return g.post(t, "").Status == http.StatusOK })
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

func TestOnVaultARecordWithAnEndSaysSoBeforeAndIsPausedThen(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	if _, err := v.CLI(t.Context(), "kv", "metadata", "put", "-mount=secret", "-delete-version-after=8s",
		accountsPath+"claude-1"); err != nil {
		t.Fatal(err)
	}
	v.kv(t, "patch", "claude-1", "labels=team=red")
	eventually(t, 5*time.Second, "the end is told", func() bool {
		reason, _ := g.account(t, "claude-1")["reason"].(string)
		return g.state(t, "claude-1") == "active" && strings.Contains(reason, "delete_version_after")
	})
	if out := g.accountsIn(t, "list"); !strings.Contains(out, "delete_version_after") {
		t.Errorf("accounts list says nothing of it:\n%s", out)
	}
	eventually(t, 15*time.Second, "it is paused", func() bool { return g.state(t, "claude-1") == "paused" })
	for _, event := range []string{"record_ends", "account_paused"} {
		if !strings.Contains(g.Log.String(), `"`+event+`"`) {
			t.Errorf("there is no event %s", event)
		}
	}
}

func TestOnVaultCommandsUseTheOperatorsVaultToken(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	binary, err := filepath.Abs(g.Opts.Binary)
	if err != nil {
		t.Fatal(err)
	}
	line := func(token string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Dir = g.Opts.Folder
		cmd.Env = append(cmd.Environ(), "VAULT_ADDR="+v.Address, "VAULT_TOKEN="+token)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := line(v.Token, "accounts", "remove", "claude-1"); err != nil { // the service's policy forbids it
		t.Errorf("%v: %s", err, out)
	}
	if out, err := line("wrong", "accounts", "list"); err == nil || !strings.Contains(out, "VAULT_TOKEN") ||
		strings.Contains(out, "wrong\n") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := line("", "accounts", "list"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
