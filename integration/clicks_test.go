package integration

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chromium starts a headless browser with further flags.
func chromium(t *testing.T, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	//nolint:usetesting // a browser that is being killed writes once more, which is no reason to fail
	folder, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser(t)), chromedp.NoSandbox,
		chromedp.UserDataDir(folder))
	options = append(options, flags...)
	alloc, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(alloc)
	t.Cleanup(end)
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// page opens headless Chromium on the admin page; nothing is on it but the sign-in.
func (g *Gateway) page(t *testing.T) context.Context {
	t.Helper()
	ctx := chromium(t)
	do(ctx, t, chromedp.Navigate(g.AdminURL+"/"), chromedp.WaitVisible("#signin"))
	return ctx
}

func do(ctx context.Context, t *testing.T, steps ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func said(ctx context.Context, t *testing.T, selector string) string {
	t.Helper()
	var text string
	do(ctx, t, chromedp.Text(selector, &text))
	return text
}

func TestAnOperatorSignsInRefreshesAndSignsOutOnThePage(t *testing.T) {
	g := start(t, nil)
	g.Provider.Kill("claude-2")
	ctx := g.page(t)
	do(ctx, t, chromedp.SendKeys("#token", "not-the-token-at-all"), chromedp.Click("#signin button"))
	eventually(t, 10*time.Second, "a wrong token is refused with a message", func() bool {
		return said(ctx, t, "#notice") == "signing in: the token is wrong: it is in the file admin.token_file"
	})
	do(ctx, t, chromedp.SetValue("#token", g.Token), chromedp.Click("#signin button"),
		chromedp.WaitVisible(`tr[data-account="claude-1"]`))

	do(ctx, t, chromedp.Click(`button[aria-label="Refresh claude-1"]`))
	eventually(t, 10*time.Second, "a token that lives is left alone",
		func() bool { return said(ctx, t, "#notice") == "claude-1: fresh, generation 1" })
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 0)
	force := func(id string) {
		do(ctx, t, chromedp.Click(`button[aria-label="Force refresh of `+id+`"]`), chromedp.WaitVisible("#force"),
			chromedp.Click("#force-yes"))
	}
	force("claude-1")
	eventually(t, 10*time.Second, "the refresh is told",
		func() bool { return said(ctx, t, "#notice") == "claude-1: refreshed, generation 2" })
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 1)
	force("claude-2")
	do(ctx, t, chromedp.WaitVisible(`tr[data-account="claude-2"] .badge.needs_reauth`))
	do(ctx, t, chromedp.Click("#all"))
	eventually(t, 10*time.Second, "the refresh of all is summed up", func() bool {
		return said(ctx, t, "#notice") == "All accounts: 1 failed, 2 fresh" ||
			said(ctx, t, "#notice") == "All accounts: 2 fresh, 1 failed"
	})

	do(ctx, t, chromedp.Click("#out"), chromedp.WaitVisible("#signin"), chromedp.WaitNotVisible("#board"),
		chromedp.Reload(), chromedp.WaitVisible("#signin"))
	var rows int
	do(ctx, t, chromedp.Evaluate(`document.querySelectorAll("tr[data-account]").length`, &rows))
	expect(t, "accounts shown after the sign-out", rows, 0)
}
