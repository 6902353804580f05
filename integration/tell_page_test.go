package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/admin"
	"github.com/tokenward/tokenward/tokenstore"
)

// crowd is a domain with accounts in every state; it notes what it is asked to refresh.
type crowd struct {
	mu       sync.Mutex
	accounts []tokenstore.AccountStatus
	asked    []string
}

func (c *crowd) Statuses() []tokenstore.AccountStatus { return c.accounts }
func (c *crowd) NotReady() []string                   { return nil }
func (c *crowd) Degraded() []string                   { return nil }

func (c *crowd) RefreshAccount(
	_ context.Context, id tokenstore.AccountID, force bool,
) (tokenstore.RefreshResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, fmt.Sprintf("%s %t", id, force))
	return tokenstore.RefreshResult{ID: id, Outcome: tokenstore.Fresh, GenerationBefore: 3, GenerationAfter: 3}, nil
}

func (c *crowd) calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.asked)
}

// crowded is n accounts: one of every state, the others active.
func crowded(n int) *crowd {
	now := time.Now()
	c := &crowd{}
	for i := range n {
		st := tokenstore.AccountStatus{
			ID:          tokenstore.AccountID(fmt.Sprintf("claude-%d", i+1)),
			Provider:    "anthropic",
			Kind:        tokenstore.KindAnthropicOAuth,
			Pools:       []string{"claude"},
			State:       tokenstore.StateActive,
			Routable:    true,
			Refreshable: true,
			ExpiresAt:   now.Add(time.Duration(60+i) * time.Minute),
			NextRefresh: now.Add(time.Duration(40+i) * time.Minute),
			Generation:  3,
			Version:     7,
			Fingerprint: "f",
			Requests:    uint64(i) * 37,
			Failovers:   uint64(i % 5),
			Labels:      map[string]string{"team": []string{"red", "blue"}[i%2]},
			Last:        &tokenstore.Outcome{At: now.Add(-time.Hour), Trigger: tokenstore.TriggerSchedule, Result: "succeeded"},
		}
		switch i {
		case 1:
			st.State, st.Refreshable, st.NextRefresh, st.Cause = tokenstore.StateNeedsReauth, false, time.Time{}, "the credential was refused for good: refresh refused_permanent: status 400: invalid_grant: Refresh token not found or invalid"
			st.Last = &tokenstore.Outcome{
				At:      now.Add(-time.Minute),
				Trigger: tokenstore.TriggerSchedule,
				Result:  "failed",
				Class:   tokenstore.RefreshPermanent,
			}
		case 2:
			st.State, st.Routable = tokenstore.StateCooling, false
			st.Cooldowns = []tokenstore.Cooldown{
				{Scope: tokenstore.ScopeAccount, Until: now.Add(42 * time.Second), Reason: "rate_limited"},
			}
		case 11:
			st.State, st.Cause, st.ReplayAt = tokenstore.StateAmbiguous, "a refresh was sent and no readable answer came: refresh unknown: no answer within 10s", st.ExpiresAt.Add(-30*time.Second)
		case 57:
			st.State, st.Routable, st.Refreshable, st.Cause = tokenstore.StatePaused, false, false, "paused by an operator"
		case 99:
			st.State, st.Routable, st.Refreshable = tokenstore.StateConfigError, false, false
			st.Pools, st.Fingerprint, st.ExpiresAt = []string{"spare"}, "", time.Time{}
			st.Cause, st.Mend = `unreadable record: key pools: pool "spare" is not in the configuration`, "`tokenward accounts set claude-100 --pool claude` mends it"
		case 150:
			st.Full = &tokenstore.Full{Key: "rpm", Most: 60, Until: now.Add(3 * time.Second)}
		}
		st.Reason = st.Advice(now)
		c.accounts = append(c.accounts, st)
	}
	return c
}

// pageOver opens the admin page over a domain, signed in.
func pageOver(t *testing.T, c *crowd, width, height int64) context.Context {
	t.Helper()
	token := filepath.Join(t.TempDir(), "admin.token")
	s, err := admin.New(admin.Config{Listen: "127.0.0.1:0", TokenFile: token}, c, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	secret, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{AdminURL: "http://" + s.Addr()}
	ctx := g.page(t)
	do(ctx, t, chromedp.EmulateViewport(width, height), chromedp.SetValue("#token", strings.TrimSpace(string(secret))),
		chromedp.Click("#signin button"), chromedp.WaitVisible(`tr[data-account="claude-1"]`))
	return ctx
}

// shoot keeps a picture of the page where $SHOTS says, for people.
func shoot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv("SHOTS")
	if folder == "" {
		return
	}
	var picture []byte
	do(ctx, t, chromedp.CaptureScreenshot(&picture))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rows are the names of the accounts on the page, from the top.
func rows(ctx context.Context, t *testing.T) []string {
	t.Helper()
	var names []string
	do(ctx, t,
		chromedp.Evaluate(`[...document.querySelectorAll("tr[data-account]")].map((r) => r.dataset.account)`, &names))
	return names
}

func wantRows(ctx context.Context, t *testing.T, what string, n int, first ...string) {
	t.Helper()
	got := rows(ctx, t)
	if len(got) != n || !slices.Equal(got[:min(len(first), len(got))], first) {
		t.Errorf("%s: %d rows that begin with %v; want %d that begin with %v", what, len(got), got[:min(len(got), 6)], n,
			first)
	}
}

func TestThePageOrdersAndFiltersTwoHundredAccounts(t *testing.T) {
	ctx := pageOver(t, crowded(200), 1280, 800)
	shoot(ctx, t, "desk-200")
	wantRows(ctx, t, "problems first", 200, "claude-2", "claude-100", "claude-3", "claude-12", "claude-151", "claude-1")
	expect(t, "the pool that nobody serves", said(ctx, t, "#idle"), "No account can serve in spare.")
	for _, c := range []struct {
		what  string
		click string
		n     int
		first []string
	}{
		{"by name", `th[data-key=id] button`, 200, []string{"claude-1", "claude-2", "claude-3", "claude-4"}},
		{"by name from the end", `th[data-key=id] button`, 200, []string{"claude-200", "claude-199"}},
		{"by attempts", `th[data-key=requests] button`, 200, []string{"claude-200", "claude-199"}},
		{"by state again", `th[data-key=state] button`, 200, []string{"claude-2", "claude-100"}},
		{"problems", `[data-state=problems]`, 5, []string{"claude-2", "claude-100", "claude-3", "claude-12", "claude-151"}},
		{"cooling", `[data-state=cooling]`, 1, []string{"claude-3"}},
		{"all again", `[data-state=cooling]`, 200, []string{"claude-2"}},
	} {
		do(ctx, t, chromedp.Click(c.click))
		wantRows(ctx, t, c.what, c.n, c.first...)
	}
	var sorted string
	do(ctx, t, chromedp.Evaluate(`document.querySelector("th[data-key=state]").getAttribute("aria-sort")`, &sorted))
	expect(t, "what a screen reader is told", sorted, "ascending")
	do(ctx, t, chromedp.SendKeys("#filter", "LIMITS.rpm"))
	wantRows(ctx, t, "a word of the sentence", 1, "claude-151")
	expect(t, "how many are shown", said(ctx, t, "#shown"), "1 of 200 shown")
	do(ctx, t, chromedp.Evaluate(`document.getElementById("filter").value = ""`, nil),
		chromedp.SendKeys("#filter", "team=red claude-1"))
	wantRows(ctx, t, "a label and a name", 56, "claude-151", "claude-1")
	do(ctx, t, chromedp.SendKeys("#filter", " nothing"), chromedp.WaitVisible("#none"), chromedp.Click("#clear"))
	wantRows(ctx, t, "cleared", 200, "claude-2")
}

func TestAPhoneShowsTheStateAndWhatToDo(t *testing.T) {
	for _, n := range []int{3, 200} {
		ctx := pageOver(t, crowded(n), 390, 844)
		shoot(ctx, t, fmt.Sprintf("phone-%d", n))
		var width int
		do(ctx, t, chromedp.Evaluate(`document.documentElement.scrollWidth`, &width))
		expect(t, "width of the page", width, 390)
		var hidden []string
		do(ctx, t, chromedp.Evaluate(`[...document.querySelectorAll("tr[data-account]")].flatMap((r) =>
			[...r.querySelectorAll(".badge, .why, .why code, td.id b, [data-act]")].filter((e) => { const b = e.getBoundingClientRect(); return b.width < 10 || b.height < 10 || b.left < 0 || b.right > 390; })
			.map((e) => r.dataset.account + " " + e.className))`, &hidden))
		if len(hidden) > 0 {
			t.Errorf("out of sight: %v", hidden)
		}
		expect(t, "the first account's state", said(ctx, t, `tr[data-account="claude-2"] .badge`), "needs reauth")
		if why := said(ctx, t, `tr[data-account="claude-2"] .why`); !strings.HasPrefix(why,
			"log in at the provider again, then tokenward accounts add claude-2 --refresh-token-file -; serves until") {
			t.Errorf("what to do: %s", why)
		}
		var top float64
		do(ctx, t,
			chromedp.Evaluate(`document.querySelector('tr[data-account="claude-2"] .why').getBoundingClientRect().bottom`, &top))
		if top > 844 {
			t.Errorf("what to do about the first problem ends at %v, below the screen", top)
		}
		do(ctx, t, chromedp.SetValue("#order", "id"),
			chromedp.Evaluate(`document.getElementById("order").dispatchEvent(new Event("change"))`, nil))
		wantRows(ctx, t, "ordered by name", n, "claude-1", "claude-2", "claude-3")
	}
}

func TestOnlyTheNamedActionForcesAndItQuotesTheRisk(t *testing.T) {
	c := crowded(200)
	ctx := pageOver(t, c, 1280, 800)
	asked := func(want ...string) {
		t.Helper()
		eventually(t, 5*time.Second, fmt.Sprintf("calls: %v", want), func() bool { return slices.Equal(c.calls(), want) })
	}
	do(ctx, t, chromedp.Click(`button[aria-label="Refresh claude-12"]`))
	asked("claude-12 false")
	eventually(t, 5*time.Second, "the result is told",
		func() bool { return said(ctx, t, "#notice") == "claude-12: fresh, generation 3" })
	for id, risk := range map[string]string{
		"claude-12": "may be spent. A provider may take a second use for theft and revoke the account, with the token that serves until ",
		"claude-1":  "Forcing throws it away and spends the refresh token",
		"claude-2":  "has refused the credential of claude-2 for good",
	} {
		do(ctx, t, chromedp.Click(`button[aria-label="Force refresh of `+id+`"]`), chromedp.WaitVisible("#force"))
		if said := said(ctx, t, "#force-risk"); !strings.Contains(said, risk) {
			t.Errorf("the risk of %s: %s", id, said)
		}
		if id == "claude-12" {
			shoot(ctx, t, "force")
		}
		do(ctx, t, chromedp.KeyEvent("\r"), chromedp.WaitNotVisible("#force")) // Enter is the safe choice
	}
	asked("claude-12 false")
	do(ctx, t, chromedp.Click(`button[aria-label="Force refresh of claude-1"]`), chromedp.WaitVisible("#force"),
		chromedp.Click("#force-yes"))
	asked("claude-12 false", "claude-1 true")
	var off bool
	do(ctx, t, chromedp.Evaluate(`document.querySelector('[aria-label="Force refresh of claude-58"]').disabled`, &off))
	expect(t, "a paused account can be forced", !off, false)
	do(ctx, t, chromedp.Click("#all"))
	eventually(t, 10*time.Second, "all are refreshed", func() bool { return len(c.calls()) == 202 })
	for _, call := range c.calls()[2:] {
		if strings.HasSuffix(call, "true") {
			t.Fatalf("refresh all forced %s", call)
		}
	}
}

// Rows are drawn anew every two seconds; who is about to press a button, or to copy a command, must not notice.
func TestTheFocusAndTheSelectionOutliveARedraw(t *testing.T) {
	ctx := pageOver(t, crowded(200), 1280, 800)
	var still string
	do(
		ctx,
		t,
		chromedp.Evaluate(`getSelection().selectAllChildren(document.querySelector('tr[data-account="claude-2"] code'));
		document.querySelector('[aria-label="Refresh claude-151"]').focus({ preventScroll: true }); window.code = document.querySelector('tr[data-account="claude-2"] code');
		window.clockWas = document.getElementById("clock").textContent`, nil),
		chromedp.Poll(`document.getElementById("clock").textContent !== window.clockWas`, nil),
		chromedp.Evaluate(
			`document.activeElement.getAttribute("aria-label") + ", " + getSelection().toString() + ", " + window.code.isConnected`,
			&still,
		),
	)
	expect(t, "focus and selection", still,
		"Refresh claude-151, tokenward accounts add claude-2 --refresh-token-file -, true")
}
