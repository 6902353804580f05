package integration

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// damage writes a row that no key opens, behind the service's back.
func (g *Gateway) damage(t *testing.T, id string) {
	t.Helper()
	db, err := sql.Open("sqlite",
		"file:"+filepath.Join(g.Opts.Folder, "data", "tokenward.db")+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, q := range []string{
		"UPDATE counter SET version = version + 1",
		"INSERT INTO accounts VALUES (?, (SELECT version FROM counter), x'00') ON CONFLICT DO UPDATE SET version = excluded.version, payload = excluded.payload",
	} {
		args := []any{id}
		if !strings.Contains(q, "?") {
			args = nil
		}
		if _, err := tx.ExecContext(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestAnUndecodableRecordIsAConfigErrorAndStopsNothingElse(t *testing.T) {
	g := start(t, apart)
	finish := g.loadOf(t, 3*time.Second, sound)
	bad := []string{"claude-2", "stranger"} // one that was serving, one never seen before
	for _, n := range bad {
		g.damage(t, n)
	}
	unusable := func(when string) {
		t.Helper()
		for _, n := range bad {
			eventually(t, 3*time.Second, n+" is a config_error "+when, func() bool { return g.state(t, n) == "config_error" })
			shown := g.account(t, n)
			if reason, _ := shown["reason"].(string); !strings.Contains(reason, "key") {
				t.Errorf("the reason of %s: %q", n, reason)
			}
			expect(t, "refreshable", shown["refreshable"], any(false))
			status, out := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
				`{"action":"refresh-single","accountId":"`+n+`","force":true}`)
			expect(t, "status of refreshing "+n, status, 502)
			expect(t, "class", out["class"], any("misconfigured"))
		}
		expect(t, "state of claude-1", g.state(t, "claude-1"), "active")
		_, out := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", `{"action":"refresh-all","force":true}`)
		results := map[string]string{}
		for _, r := range out["results"].([]any) {
			m := r.(map[string]any)
			results[m["accountId"].(string)] = m["result"].(string)
		}
		for n, want := range map[string]string{"claude-1": "refreshed", "backup-1": "refreshed", "claude-2": "failed", "stranger": "failed"} {
			expect(t, "refresh-all: "+n, results[n], want)
		}
		list := g.cli(t, "accounts", "list")
		for _, n := range append(bad, "claude-1", "backup-1") {
			if !strings.Contains(list, n) {
				t.Errorf("%s is missing in the list:\n%s", n, list)
			}
		}
		if n := strings.Count(list, "config_error"); n != 2 {
			t.Errorf("the list shows %d unusable records:\n%s", n, list)
		}
	}
	unusable("while running")
	noneLost(t, finish())
	expect(t, "account", g.post(t, "").Account, "claude-1")

	if err := g.Service().Process.Signal(terminate); err != nil {
		t.Fatal(err)
	}
	if err := g.Service().Wait(); err != nil {
		t.Fatal(err)
	}
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
	unusable("after a start")
	a := g.post(t, "events=3")
	served(t, a, "events=3")
	expect(t, "account", a.Account, "claude-1")

	g.cli(t, "accounts", "remove", "stranger")
	if err := g.Add("claude-2", "claude", time.Hour); err != nil { // over the damaged row
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "claude-2 is active again and stranger gone", func() bool {
		return g.state(t, "claude-2") == "active" && g.state(t, "stranger") == "absent"
	})
	g.Provider.Kill("claude-1") // leaves claude-2 alone in its pool
	eventually(t, 5*time.Second, "claude-2 serves", func() bool { return g.post(t, "").Account == "claude-2" })
}
