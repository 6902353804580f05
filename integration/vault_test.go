package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

const accountsPath = "tokenward/accounts/"

// vaulted is a real Vault, prepared by deploy/vault/setup.sh, and what a gateway needs to use it.
type vaulted struct {
	*vaultserver.Server
	store string // the configuration's store section
}

func startVault(t *testing.T, run func() (*vaultserver.Server, error)) *vaulted {
	t.Helper()
	s, err := run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	keys := t.TempDir()
	binary, err := vaultserver.Binary()
	if err != nil {
		t.Fatal(err)
	}
	setup := exec.CommandContext(t.Context(), "../deploy/vault/setup.sh", keys)
	setup.Env = append(s.Env(), "VAULT="+binary)
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("setup.sh: %v: %s", err, out)
	}
	role, err := os.ReadFile(filepath.Join(keys, "role_id"))
	if err != nil {
		t.Fatal(err)
	}
	v := &vaulted{Server: s}
	v.store = fmt.Sprintf("{ vault: { address: %q, poll: 1s, auth: { approle: { role_id: %q, secret_id_file: %q } } } }",
		s.Address, strings.TrimSpace(string(role)), filepath.Join(keys, "secret_id"))
	return v
}

// on puts a gateway's store into this Vault.
func (v *vaulted) on(o *Options) {
	o.Store = v.store
	o.Put = func(name string, record map[string]any) error {
		_, err := v.Root.KVv2("secret").Put(context.Background(), accountsPath+name, record)
		return err
	}
}

// kv runs a subcommand of vault kv on an account's record, as an operator would: flags first, then what to set.
func (v *vaulted) kv(t *testing.T, verb, account string, args ...string) {
	t.Helper()
	line := []string{"kv", verb, "-mount=secret"}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		line, args = append(line, args[0]), args[1:]
	}
	if _, err := v.CLI(t.Context(), append(append(line, accountsPath+account), args...)...); err != nil {
		t.Fatal(err)
	}
}

// record reads what Vault holds of an account.
func (v *vaulted) record(t *testing.T, account string) map[string]any {
	t.Helper()
	s, err := v.Root.KVv2("secret").Get(t.Context(), accountsPath+account)
	if err != nil {
		t.Fatal(err)
	}
	return s.Data
}

func (g *Gateway) force(t *testing.T, account string) (int, map[string]any) {
	t.Helper()
	return g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"`+account+`","force":true}`)
}

// forceQuietly is force for goroutines that may outlive the answer.
func (g *Gateway) forceQuietly(account string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodPost, g.AdminURL+"/api/admin/oauth/refresh",
		strings.NewReader(`{"action":"refresh-single","accountId":"`+account+`","force":true}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.Token)
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return resp, err
}

// readiness asks /readyz; 0 while nobody answers.
func (g *Gateway) readiness(t *testing.T) (int, string) {
	t.Helper()
	resp, err := http.Get(g.AdminURL + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func TestOnVaultARevokedTokenIsHealedAndTheRotationIsInTheFlatRecord(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	before := v.record(t, "claude-1")
	g.Provider.Revoke("claude-1")
	served(t, g.post(t, ""), "")
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
	eventually(t, 3*time.Second, "the rotation is saved", func() bool {
		r := v.record(t, "claude-1")
		rotation, _ := r["rotation"].(map[string]any)
		return r["refresh_token"] != before["refresh_token"] && r["access_token"] != before["access_token"] &&
			rotation["claim"] == nil
	})
	if r := v.record(t, "claude-1"); r["client_id"] != before["client_id"] || r["pools"] == nil {
		t.Error("the operator's keys are gone")
	}
}

func TestWhatAnOperatorWritesWithVaultsOwnToolTakesEffect(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	g.Provider.Kill("claude-1")
	status, _ := g.force(t, "claude-1")
	expect(t, "status of a refresh with a dead credential", status, 502)
	expect(t, "state", g.state(t, "claude-1"), "needs_reauth")
	g.Provider.Create("claude-1", time.Hour)
	c := g.Provider.Create("claude-1", time.Hour)
	v.kv(t, "patch", "claude-1", "refresh_token="+c.RefreshToken)
	eventually(t, 5*time.Second, "the new credential is adopted and used",
		func() bool { return g.state(t, "claude-1") == "active" })
	served(t, g.post(t, ""), "")

	for _, step := range []struct{ set, state string }{{"state=paused", "paused"}, {"state=active", "active"}, {"provider=nobody", "config_error"}, {"provider=sim", "active"}} {
		v.kv(t, "patch", "claude-1", step.set)
		eventually(t, 5*time.Second, "after "+step.set+" it is "+step.state,
			func() bool { return g.state(t, "claude-1") == step.state })
	}
	v.kv(t, "delete", "claude-1")
	eventually(t, 5*time.Second, "a soft delete pauses", func() bool { return g.state(t, "claude-1") == "paused" })
	s, err := v.Root.KVv2("secret").GetMetadata(t.Context(), accountsPath+"claude-1")
	if err != nil {
		t.Fatal(err)
	}
	v.kv(t, "undelete", "claude-1", fmt.Sprintf("-versions=%d", s.CurrentVersion))
	eventually(t, 5*time.Second, "the undelete resumes", func() bool { return g.state(t, "claude-1") == "active" })
	served(t, g.post(t, ""), "")

	if err := g.Add("claude-9", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a new record is a new account",
		func() bool { return g.state(t, "claude-9") == "active" })
}

func TestAnAccountIsGoneWithItsMetadataAndAStaleWriterDoesNotWin(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, three)
	g.Provider.Script("claude-1", provider.Script{After: 2 * time.Second})
	done := make(chan int, 1)
	go func() { _, _ = g.forceQuietly("claude-1"); done <- 1 }()
	eventually(t, 5*time.Second, "the grant is processed",
		func() bool { return g.Provider.Account("claude-1").Redemptions == 1 })
	if err := v.Root.KVv2("secret").DeleteMetadata(t.Context(), accountsPath+"claude-1"); err != nil {
		t.Fatal(err)
	}
	c := g.Provider.Create("claude-1", time.Hour) // a new sign-in while the old one is being refreshed
	g.Provider.Script("claude-1", provider.Script{})
	if err := g.AddCredential("claude-1", "claude", c); err != nil {
		t.Fatal(err)
	}
	v.kv(t, "patch", "claude-1", "note=anew") // as version 2, which was the claim's
	<-done
	eventually(t, 5*time.Second, "the operator's credential serves",
		func() bool { return g.state(t, "claude-1") == "active" })
	if r := v.record(t, "claude-1"); r["client_id"] != c.ClientID || r["note"] != "anew" {
		t.Error("the record is not the operator's")
	}
	status, _ := g.force(t, "claude-1")
	expect(t, "status of a refresh with the operator's credential", status, 200)
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

func TestARotationDuringASealOfTwoMinutesIsKeptAndSavedOnUnseal(t *testing.T) {
	for name, killed := range map[string]bool{"by the living process": false, "by the next process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := startVault(t, vaultserver.StartRaft)
			g := startWith(t, func(o *Options) { v.on(o); apart(o) }, one)
			before := v.record(t, "claude-1")
			g.Provider.Script("claude-1", provider.Script{After: time.Second})
			go func() { _, _ = g.forceQuietly("claude-1") }()
			eventually(t, 5*time.Second, "the grant is processed",
				func() bool { return g.Provider.Account("claude-1").Redemptions == 1 })
			if err := v.Seal(); err != nil {
				t.Fatal(err)
			}
			unseal := time.Now().Add(2 * time.Minute)
			eventually(t, 10*time.Second, "the rotation is unsaved",
				func() bool { return g.gauge(t, "tokenward_unsaved_rotations") == 1 })
			expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
			served(t, g.post(t, ""), "") // with the new token, from memory
			if status, body := g.readiness(t); status != 200 || !strings.Contains(body, "not yet in the store") {
				t.Errorf("readiness: %d %s", status, body)
			}
			if killed {
				_ = g.Service().Process.Kill()
				_ = g.Service().Wait()
				time.Sleep(time.Until(unseal))
			} else {
				noneLost(t, g.loadOf(t, time.Until(unseal), sound)())
				expect(t, "unsaved rotations", g.gauge(t, "tokenward_unsaved_rotations"), 1)
			}
			if err := v.Unseal(); err != nil {
				t.Fatal(err)
			}
			g.Provider.Script("claude-1", provider.Script{})
			if killed {
				if err := g.StartService(); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, 20*time.Second, "the rotation is saved",
				func() bool { return v.record(t, "claude-1")["refresh_token"] != before["refresh_token"] })
			eventually(t, 20*time.Second, "the account serves", func() bool {
				a, err := g.Post(t.Context(), t.Name(), "", strings.NewReader("{}"))
				return err == nil && a.Status == 200
			})
			expect(t, "grants", g.Provider.Account("claude-1").Redemptions, 1)
			status, _ := g.force(t, "claude-1")
			expect(t, "status of a refresh with the saved token", status, 200)
			expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
		})
	}
}

func TestAServiceThatStartsBeforeVaultIsThereComesUpWithIt(t *testing.T) {
	v := startVault(t, vaultserver.StartRaft)
	g := startWith(t, func(o *Options) { v.on(o); apart(o) }, one)
	_ = g.Service().Process.Signal(syscall.SIGTERM)
	_ = g.Service().Wait()
	if err := v.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "it says why it is not ready", func() bool {
		status, body := g.readiness(t)
		return status == 503 && strings.Contains(body, "not loaded")
	})
	a := g.post(t, "")
	expect(t, "status", a.Status, 503)
	expect(t, "reason", a.Header.Get("tokenward-reason"), "store_unavailable")
	if err := v.Unseal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "it serves", func() bool { return g.post(t, "").Status == 200 })
}

func TestARevokedVaultTokenIsReplacedWithoutAFailedRequest(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, three)
	wait := g.loadOf(t, 4*time.Second, sound)
	if _, err := v.CLI(t.Context(), "token", "revoke", "-mode=path", "auth/approle"); err != nil {
		t.Fatal(err)
	}
	status, _ := g.force(t, "claude-1")
	expect(t, "status of a refresh at once", status, 200)
	noneLost(t, wait())
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
}

// Three processes that share one Vault and 50 accounts whose tokens live ten seconds, with no word between them.
func TestReplicasNeverSpendARefreshTokenTwice(t *testing.T) {
	const replicas, accounts, length = 3, 50, 2 * time.Minute
	v := startVault(t, vaultserver.StartRaft)
	var gs []*Gateway
	for i := range replicas {
		g := startWith(t, func(o *Options) {
			v.on(o)
			if i > 0 {
				o.Share = gs[0].Provider
			}
		}, nil)
		gs = append(gs, g)
	}
	for i := range accounts {
		if err := gs[0].Add(fmt.Sprintf("a-%d", i), "claude", 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range gs {
		eventually(t, 30*time.Second, "all accounts are there",
			func() bool { return strings.Count(g.metrics(t), `tokenward_account_state{account="a-`) == accounts })
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	for _, g := range gs {
		wg.Go(func() {
			for ctx.Err() == nil {
				a, err := g.Post(t.Context(), "", "", strings.NewReader("{}"))
				if err != nil || a.Status != 200 {
					t.Errorf("%v %d %s %s", err, a.Status, a.Header.Get("tokenward-reason"), a.Body)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	redemptions := 0
	for i := range accounts {
		a := gs[0].Provider.Account(fmt.Sprintf("a-%d", i))
		expect(t, "reuses of "+a.Name, a.Reuses, 0)
		redemptions += a.Redemptions
	}
	if least := accounts * int(length/(10*time.Second)); redemptions < least/2 {
		t.Errorf("%d redemptions: the accounts were not renewed", redemptions)
	}
	for _, s := range gs[0].Provider.Seen("") {
		if s.Status == 401 {
			t.Error("a token was refused")
		}
	}
}
