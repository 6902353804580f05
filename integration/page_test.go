package integration

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// browser finds Chromium: $CHROMIUM, else one on PATH.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); name != "" && err == nil {
			return p
		}
	}
	t.Fatal("no Chromium: run apt-get install chromium, or set CHROMIUM")
	return ""
}

// dom opens a URL in headless Chromium and returns the document after it has come to rest.
func dom(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser(t), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=3000", "--dump-dom", url)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Chromium: %v", err)
	}
	return string(out)
}

func TestThePageShowsTheAccountsAfterSignInAndNothingBefore(t *testing.T) {
	g := start(t, nil)
	g.Provider.Kill("claude-2")
	_, _ = g.admin(t, "POST", "/api/admin/oauth/refresh",
		`{"action":"refresh-single","accountId":"claude-2","force":true}`)
	shown := dom(t, g.AdminURL+"/#token="+g.Token)
	for _, want := range []string{`data-account="claude-1"`, `data-account="backup-1"`, `class="badge active"`, `class="badge needs_reauth"`, `aria-label="Refresh claude-1"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(shown, g.Token) {
		t.Error("the page holds the admin token")
	}
	refused := dom(t, g.AdminURL+"/#token=wrong")
	if strings.Contains(refused, "data-account") || !strings.Contains(refused, "the token is wrong") {
		t.Errorf("a wrong token is not refused with a message: %s", refused)
	}
}
