package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// admin calls the admin API.
func (g *Gateway) admin(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.AdminURL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

// account is what the admin API shows of an account; nil when it does not know it.
func (g *Gateway) account(t *testing.T, id string) map[string]any {
	t.Helper()
	_, out := g.admin(t, http.MethodGet, "/api/admin/oauth/refresh", "")
	accounts, _ := out["accounts"].([]any)
	for _, a := range accounts {
		if m, ok := a.(map[string]any); ok && m["accountId"] == id {
			return m
		}
	}
	return nil
}

func (g *Gateway) state(t *testing.T, account string) string {
	t.Helper()
	if s, ok := g.account(t, account)["state"].(string); ok {
		return s
	}
	return "absent"
}

func (g *Gateway) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(g.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// gauge is the value of a metric without labels.
func (g *Gateway) gauge(t *testing.T, name string) int {
	t.Helper()
	for line := range strings.Lines(g.metrics(t)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestTheAdminAPIRefreshesOneAndAll(t *testing.T) {
	g := start(t, nil)
	status, out := g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"claude-1","force":true}`)
	expect(t, "status", status, 200)
	expect(t, "result", out["result"], any("refreshed"))
	status, out = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", `{"action":"refresh-all"}`)
	expect(t, "status", status, 200)
	results, _ := out["results"].([]any)
	expect(t, "results", len(results), 3)
	expect(t, "redemptions of claude-1", g.Provider.Account("claude-1").Redemptions, 1)
	expect(t, "redemptions of claude-2", g.Provider.Account("claude-2").Redemptions, 0)
	for body, want := range map[string]int{`{"action":"refresh-single","accountId":"nobody"}`: 404, `{"action":"dance"}`: 400, `{`: 400} {
		status, _ = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh", body)
		expect(t, body, status, want)
	}
	g.Provider.Kill("claude-2")
	status, out = g.admin(t, http.MethodPost, "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"claude-2","force":true}`)
	expect(t, "status of a refused refresh", status, 502)
	expect(t, "class", out["class"], any("refused_permanent"))
	g.Token = "wrong"
	status, _ = g.admin(t, http.MethodGet, "/api/admin/oauth/refresh", "")
	expect(t, "status with a wrong token", status, 401)
}
