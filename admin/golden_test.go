package admin

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// jobID is random.
var jobID = regexp.MustCompile(`[A-Z2-7]{26}`)

// known are accounts that use every field of the API's object, and one that uses none. The clock is synctest's.
func known() []tokenstore.AccountStatus {
	at := time.Date(2000, 1, 1, 2, 0, 0, 123456789, time.FixedZone("elsewhere", 7200))
	return []tokenstore.AccountStatus{
		{
			ID: "full", Provider: "anthropic", Kind: "CLAUDE_CODE", Pools: []string{"claude", "spare"}, Tenant: "acme",
			Labels: map[string]string{"team": "a", "tier": "<gold> & more"}, Limits: tokenstore.Limits{RPM: 60},
			State: tokenstore.StateCooling, Refreshable: true, Reason: "rate limited: `tokenward accounts resume full`",
			ExpiresAt: at.Add(90 * time.Minute), NextRefresh: at.Add(time.Hour), Generation: 4, Version: 9, Fingerprint: "fp-1",
			Cooldowns: []tokenstore.Cooldown{{Scope: tokenstore.ScopeAccount, Until: at.Add(time.Minute), Reason: "429"}},
			Last: &tokenstore.Outcome{
				At: at, Trigger: tokenstore.TriggerSchedule, Result: "failed", Class: tokenstore.RefreshTransient, Status: 503,
				Error: "overloaded", Fingerprint: "fp-0",
			},
			Requests: 12, Failovers: 2,
		},
		{
			ID: "well", Provider: "anthropic", Kind: "ANTHROPIC_OAUTH", Pools: []string{"claude"}, State: tokenstore.StateActive,
			Routable: true, Refreshable: true, Limits: tokenstore.Limits{Concurrency: 3}, ExpiresAt: at.Add(time.Hour),
			Last: &tokenstore.Outcome{At: at, Trigger: tokenstore.TriggerOperator, Result: "succeeded"},
		},
		{ID: "bare", State: tokenstore.StateConfigError},
	}
}

// scripted answers a refresh by the account's name.
func scripted(ctx context.Context, id tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
	r := tokenstore.RefreshResult{ID: id, GenerationBefore: 3, GenerationAfter: 3, Duration: 120 * time.Millisecond}
	switch id {
	case "well", "full":
		r.Outcome, r.GenerationAfter, r.ExpiresAt = tokenstore.Refreshed, 4, time.Now().Add(8*time.Hour)
	case "skipped":
		r.Outcome, r.Error = tokenstore.Skipped, "nothing to refresh with"
	case "bare":
		r.Outcome, r.Class, r.Error = tokenstore.Failed, tokenstore.RefreshMisconfigured, "client_id is missing"
	case "dead":
		r.Outcome, r.Class, r.Status, r.Error = tokenstore.Failed, tokenstore.RefreshPermanent, 400, "invalid_grant"
	case "busy":
		r.Outcome, r.Class, r.Status = tokenstore.Failed, tokenstore.RefreshTransient, 503
		r.Retryable, r.Error = true, "overloaded"
	case "paused":
		return r, fmt.Errorf("%w: %s", tokenstore.ErrPaused, id)
	case "slow":
		<-ctx.Done()
		return r, ctx.Err()
	default:
		return r, fmt.Errorf("%w: %s", tokenstore.ErrUnknownAccount, id)
	}
	return r, nil
}

// lateBody is one that does not come in time.
type lateBody struct{}

func (lateBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// What tools read must not change by accident: every answer, byte for byte.
func TestEveryAnswerAsItIsOnTheWire(t *testing.T) {
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) { everyAnswer(t, &out) })
	const path = "testdata/answers.golden"
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func everyAnswer(t *testing.T, out io.Writer) {
	f := &fakeTokens{accounts: known(), script: scripted}
	s := server(t, f)
	tell := func(what string, a answer) {
		fmt.Fprintf(out, "# %s\n%d %s\n", what, a.status, a.header.Get("Content-Type"))
		for _, name := range []string{"Location", "Allow", "Www-Authenticate"} {
			if v := a.header.Get(name); v != "" {
				fmt.Fprintf(out, "%s: %s\n", name, jobID.ReplaceAllString(v, "JOB"))
			}
		}
		fmt.Fprintf(out, "%s\n", jobID.ReplaceAllString(a.body, "JOB"))
	}
	ask := func(method, target, body string, edits ...func(*http.Request)) answer {
		a := send(s, method, target, body, edits...)
		tell(method+" "+jobID.ReplaceAllString(target, "JOB")+" "+body[:min(len(body), 80)], a)
		return a
	}
	single := func(id string) { ask("POST", refreshPath, `{"action":"refresh-single","accountId":"`+id+`"}`) }
	ask("GET", refreshPath, "")
	for _, id := range []string{"well", "skipped", "dead", "busy", "bare", "paused", "nobody", "slow"} {
		single(id)
	}
	for _, body := range []string{
		``, `[]`, `{}`, `{"action":"refresh-single"}`, `{"action":"refresh-all","accountId":"a"}`, `{"action":"x","y":1}`,
	} {
		ask("POST", refreshPath, body)
	}
	ask("POST", refreshPath, strings.Repeat(" ", maxBody+1))
	ask("POST", refreshPath, "late", func(r *http.Request) { r.Body = io.NopCloser(lateBody{}) })
	ask("POST", refreshPath+"?wait=x", `{"action":"refresh-all"}`)
	ask("POST", refreshPath, `{"action":"refresh-all"}`)
	f.accounts = append(f.accounts, accountsNamed("paused", "slow", "gone")...)
	job := ask("POST", refreshPath+"?wait=0s", `{"action":"refresh-all"}`).header.Get("Location")
	synctest.Wait() // all but the slow one have their results
	ask("GET", job, "")
	time.Sleep(accountLimit) // in synctest's time
	synctest.Wait()
	ask("GET", job, "")
	ask("GET", "/api/admin/jobs/none", "")
	ask("GET", "/api/admin/nothing", "")
	ask("DELETE", refreshPath, "")
	ask("GET", refreshPath, "", without("Authorization"))
	ask("GET", refreshPath, "", host("evil.example"))
	ask("POST", refreshPath, "{}", header("Origin", "https://evil.example"))
	ask("POST", "/login", `{"token":"wrong"}`)
	ask("GET", "/healthz", "")
	ask("POST", "/healthz", "")
	ask("GET", "/readyz", "")
	f.degraded = []string{"an account & more"}
	ask("GET", "/readyz", "")
	f.reasons = []string{"accounts are being loaded", "1 of 2"}
	ask("GET", "/readyz", "")
	exposed := server(t, f, func(c *Config) { c.Exposed = true })
	tell("GET /readyz, from elsewhere", send(exposed, "GET", "/readyz", "", without("Authorization")))
	s.jobs.stop()
	exposed.jobs.stop()
}
