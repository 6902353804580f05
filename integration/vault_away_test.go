package integration

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

// However Vault fails: tokens are served from memory, none is redeemed without a claim, and all is well again by
// itself.
func TestWhileVaultFailsTokensServeAndNoneIsRedeemed(t *testing.T) {
	v := startVault(t, vaultserver.StartRaft)
	b := v.throughFaults(t)
	g := startWith(t, v.on, one)
	answers := func(f *fault) (begin, end func() error) {
		return func() error { b.fault.Store(f); return nil }, func() error { b.fault.Store(nil); return nil }
	}
	type way struct {
		name       string
		begin, end func() error
	}
	ways := []way{
		{"sealed", v.Seal, v.Unseal},
		{"killed", v.Kill, func() error {
			if err := v.Start(); err != nil {
				return err
			}
			return v.Unseal()
		}},
		{"standing still", v.Pause, v.Resume},
	}
	for name, f := range map[string]*fault{
		"answering after 5 s":       {delay: 5 * time.Second},
		"answering 403":             {status: 403, body: `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`},
		"answering 429":             {status: 429, body: `{"errors":["request path rate limit quota exceeded"]}`},
		"a gateway's 404":           {status: 404, body: `{"message":"no Route matched with those values"}`},
		"a gateway's 200":           {status: 200, body: `{"message":"welcome"}`},
		"answering 500":             {status: 500, body: `{"errors":["internal error"]}`},
		"answering 502 with a page": {status: 502, body: `<html>bad gateway</html>`},
	} {
		begin, end := answers(f)
		ways = append(ways, way{name, begin, end})
	}
	redemptions := 0
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			said := len(g.Log.String())
			now := func() string { return g.Log.String()[said:] }
			if err := way.begin(); err != nil {
				t.Fatal(err)
			}
			wait := g.loadOf(t, 3*time.Second, sound)
			status, out := g.force(t, "claude-1")
			expect(t, "status of a refresh", status, 502)
			expect(t, "class", out["class"], any("not_sent"))
			expect(t, "retryable", out["retryable"], any(true))
			noneLost(t, wait())
			expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, redemptions)
			eventually(t, 15*time.Second, "store_lost", func() bool { return strings.Contains(now(), `"event":"store_lost"`) })
			expect(t, "store_up", g.gauge(t, `tokenward_store_up{backend="vault"}`), 0)
			if status, body := g.readiness(t); status != 200 || !strings.Contains(body, "served from memory") {
				t.Errorf("readiness: %d %s", status, body)
			}
			if err := way.end(); err != nil {
				t.Fatal(err)
			}
			eventually(t, 20*time.Second, "store_restored",
				func() bool { return strings.Contains(now(), `"event":"store_restored"`) })
			eventually(t, 20*time.Second, "a refresh succeeds",
				func() bool { status, _ := g.force(t, "claude-1"); return status == 200 })
			eventually(t, 10*time.Second, "it is saved", func() bool { return g.gauge(t, "tokenward_claims_held") == 0 })
			redemptions++
			expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, redemptions)
			expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
			if status, body := g.readiness(t); status != 200 || strings.Contains(body, "memory") {
				t.Errorf("readiness: %d %s", status, body)
			}
		})
	}
}

func TestAMissingCapabilityIsReportedWithItsPathAndCausesNoLogin(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	policy, err := v.Root.Sys().GetPolicyWithContext(t.Context(), "tokenward-service")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Root.Sys().
		PutPolicyWithContext(t.Context(), "tokenward-service", strings.ReplaceAll(policy, `, "update"`, ``)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the missing capability is named", func() bool {
		status, out := g.force(t, "claude-1")
		detail, _ := out["detail"].(string)
		return status == 502 && strings.Contains(detail, `lacks "update" on secret/data/`+accountsPath+"claude-1")
	})
	served(t, g.post(t, ""), "")
	if err := v.Root.Sys().PutPolicyWithContext(t.Context(), "tokenward-service", policy); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a refresh succeeds",
		func() bool { status, _ := g.force(t, "claude-1"); return status == 200 })
}

// The write was applied and its answer never came: it is recognised as our own.
func TestALostAnswerOfAWriteCostsNoSecondRedemption(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	b := v.throughFaults(t)
	g := startWith(t, v.on, one)
	for i, step := range []string{"claim", "commit"} {
		before := v.record(t, "claude-1")
		f := &fault{match: writesTo("claude-1"), lose: true}
		if step == "claim" {
			b.fault.Store(f)
		} else {
			g.Provider.Script("claude-1", provider.Script{After: time.Second})
		}
		answered := make(chan int, 1)
		go func() {
			resp, err := g.forceQuietly("claude-1")
			if err != nil {
				answered <- 0
				return
			}
			answered <- resp.StatusCode
		}()
		if step == "commit" {
			eventually(t, 5*time.Second, "the grant is processed",
				func() bool { return g.Provider.Account("claude-1").Redemptions == i+1 })
			b.fault.Store(f)
		}
		eventually(t, 5*time.Second, "an answer is lost", func() bool { return f.met.Load() > 0 })
		b.fault.Store(nil)
		expect(t, "status of the refresh whose "+step+"'s answer was lost", <-answered, 200)
		g.Provider.Script("claude-1", provider.Script{})
		eventually(t, 10*time.Second, "the rotation is saved",
			func() bool { return v.record(t, "claude-1")["refresh_token"] != before["refresh_token"] })
		eventually(t, 10*time.Second, "nothing is unsaved",
			func() bool { return g.gauge(t, "tokenward_unsaved_rotations") == 0 })
		expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, i+1)
	}
	status, _ := g.force(t, "claude-1")
	expect(t, "status of a refresh with what was saved", status, 200)
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

// An hour may pass between two polls: a refusal of the old token is enough.
func TestARotationIsAdoptedAtOnceWhenTheOldTokenIsRefused(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	v.store = strings.Replace(v.store, "poll: 1s", "poll: 1h", 1)
	g := startWith(t, v.on, one)
	g.Provider.Kill("claude-1")
	c := g.Provider.Create("claude-1", time.Hour)
	v.kv(t, "patch", "claude-1", "refresh_token="+c.RefreshToken)
	served(t, g.post(t, ""), "")
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)

	// A whole new record, with its tokens.
	g.Provider.Kill("claude-1")
	if err := g.AddCredential("claude-1", "claude", g.Provider.Create("claude-1", time.Hour)); err != nil {
		t.Fatal(err)
	}
	served(t, g.post(t, ""), "")
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

// A snapshot of yesterday holds refresh tokens that are spent. The living ones are in memory.
func TestARestoredSnapshotCostsNoAccount(t *testing.T) {
	v := startVault(t, vaultserver.StartRaft)
	g := startWith(t, v.on, one)
	var snapshot bytes.Buffer
	if err := v.Root.Sys().RaftSnapshotWithContext(t.Context(), &snapshot); err != nil {
		t.Fatal(err)
	}
	old := v.record(t, "claude-1")["refresh_token"]
	for range 2 {
		status, _ := g.force(t, "claude-1")
		expect(t, "status of a refresh", status, 200)
		eventually(t, 10*time.Second, "it is saved", func() bool { return g.gauge(t, "tokenward_claims_held") == 0 })
	}
	living := v.record(t, "claude-1")["refresh_token"]
	if err := v.Root.Sys().RaftSnapshotRestoreWithContext(t.Context(), &snapshot, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the living token is in Vault again", func() bool {
		s, err := v.Root.KVv2("secret").Get(t.Context(), accountsPath+"claude-1")
		return err == nil && s.Data["refresh_token"] == living && living != old
	})
	served(t, g.post(t, ""), "")
	eventually(t, 30*time.Second, "a refresh succeeds",
		func() bool { status, _ := g.force(t, "claude-1"); return status == 200 })
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

// What was read before a rotation is written after it: a whole record, to change its pools, say.
func TestAPutOfTheRecordFromBeforeARotationCostsNoAccount(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	record := v.record(t, "claude-1")
	delete(record, "rotation")
	record["labels"] = map[string]any{"team": "blue"}
	g.Provider.Script("claude-1", provider.Script{After: time.Second})
	done := make(chan int, 1)
	go func() { _, _ = g.forceQuietly("claude-1"); done <- 1 }()
	eventually(t, 5*time.Second, "the grant is processed",
		func() bool { return g.Provider.Account("claude-1").Redemptions == 1 })
	for range 2 { // during the grant, and after it is saved
		if _, err := v.Root.KVv2("secret").Put(t.Context(), accountsPath+"claude-1", record); err != nil {
			t.Fatal(err)
		}
		g.Provider.Script("claude-1", provider.Script{})
		eventually(t, 10*time.Second, "rotation and edit are both there", func() bool {
			now := v.record(t, "claude-1")
			labels, _ := now["labels"].(map[string]any)
			return now["refresh_token"] != record["refresh_token"] && labels["team"] == "blue"
		})
	}
	<-done
	status, _ := g.force(t, "claude-1")
	expect(t, "status of a refresh", status, 200)
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}

func TestEditsOfPoolsLabelsAndTenantTakeEffect(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, map[string]string{"claude-1": "claude", "backup-1": "backup"})
	v.kv(t, "patch", "claude-1", "pools=nowhere")
	eventually(t, 5*time.Second, "the other pool serves", func() bool { return g.post(t, "").Account == "backup-1" })
	v.kv(t, "patch", "claude-1", "pools=claude, backup", `labels={"team":"blue"}`)
	eventually(t, 5*time.Second, "it serves again", func() bool { return g.post(t, "").Account == "claude-1" })
	eventually(t, 5*time.Second, "its label shows", func() bool {
		labels, _ := g.account(t, "claude-1")["labels"].(map[string]any)
		return labels["team"] == "blue"
	})
	v.kv(t, "patch", "claude-1", "tenant=acme")
	eventually(t, 5*time.Second, "another tenant's account does not serve",
		func() bool { return g.post(t, "").Account == "backup-1" })
	expect(t, "tenant", g.account(t, "claude-1")["tenant"], any("acme"))
}

// What people leave in a Vault: each account says what is wrong with it, and nothing else is disturbed. Slips in keys
// that an account can do without are in record_slip_test.go.
func TestEveryBadRecordSaysItsKeyAndRuleAndStopsNothing(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	good := func(change map[string]any) map[string]any {
		r := map[string]any{
			"provider":      "sim",
			"type":          "ANTHROPIC_OAUTH",
			"pools":         "claude",
			"client_id":     "c",
			"refresh_token": "not-a-secret",
		}
		maps.Copy(r, change)
		return r
	}
	records := map[string]struct {
		data map[string]any
		key  string
	}{
		"empty":             {map[string]any{}, "provider"},
		"half-written":      {map[string]any{"refresh_token": "not-a-secret"}, "provider"},
		"wrong-type":        {good(map[string]any{"refresh_token": 17}), "refresh_token"},
		"list-for-a-string": {good(map[string]any{"client_id": []string{"c"}}), "client_id"},
		"unknown-provider":  {good(map[string]any{"provider": "nobody"}), "provider"},
		"unknown-kind":      {good(map[string]any{"type": "magic"}), "type"},
		"future-format":     {good(map[string]any{"rotation": map[string]any{"format": 99}}), "format"},
	}
	for name, r := range records {
		if _, err := v.Root.KVv2("secret").Put(t.Context(), accountsPath+name, r.data); err != nil {
			t.Fatal(err)
		}
	}
	before := map[string]map[string]any{}
	for name, r := range records {
		before[name] = v.record(t, name)
		var reason string
		eventually(t, 5*time.Second, name+" is a config_error", func() bool {
			a := g.account(t, name)
			reason, _ = a["reason"].(string)
			return a["state"] == "config_error"
		})
		if !strings.Contains(reason, r.key) {
			t.Errorf("%s: the reason %q does not name %s", name, reason, r.key)
		}
		if strings.Contains(reason, "not-a-secret") {
			t.Errorf("%s: the reason shows a value", name)
		}
		status, _ := g.force(t, name)
		expect(t, "status of refreshing "+name, status, 502)
	}
	served(t, g.post(t, ""), "")
	status, _ := g.force(t, "claude-1")
	expect(t, "status of refreshing the good one", status, 200)
	list := g.cli(t, "accounts", "list")
	expect(t, "bad ones listed", strings.Count(list, "config_error"), len(records))
	for name := range records {
		meta, err := v.Root.KVv2("secret").GetMetadata(t.Context(), accountsPath+name)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "versions of "+name, meta.CurrentVersion, 1) // nobody touched it
	}
	c := g.Provider.Create("mended", time.Hour)
	if err := g.AddCredential("unknown-kind", "claude", c); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a mended record is an account",
		func() bool { return g.state(t, "unknown-kind") == "active" })
}
