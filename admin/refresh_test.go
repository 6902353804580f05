package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

func TestGetShowsEveryAccountWithASummaryByState(t *testing.T) {
	at := time.Now().In(time.FixedZone("elsewhere", 7200))
	one := tokenstore.AccountStatus{
		ID:          "claude-1",
		Provider:    "anthropic",
		Kind:        "CLAUDE_CODE",
		Pools:       []string{"claude"},
		Tenant:      "acme",
		Labels:      map[string]string{"team": "a"},
		State:       tokenstore.StateCooling,
		Refreshable: true,
		Reason:      "rate limited",
		ExpiresAt:   at.Add(90 * time.Minute),
		NextRefresh: at.Add(time.Hour),
		Generation:  4,
		Version:     9,
		Fingerprint: "fp-1",
		Cooldowns:   []tokenstore.Cooldown{{Scope: tokenstore.ScopeAccount, Until: at.Add(time.Minute), Reason: "429"}},
		Last: &tokenstore.Outcome{
			At:          at,
			Trigger:     tokenstore.TriggerSchedule,
			Result:      "failed",
			Class:       tokenstore.RefreshTransient,
			Status:      503,
			Error:       "overloaded",
			Fingerprint: "fp-0",
		},
		Requests:  12,
		Failovers: 2,
		Limits:    tokenstore.Limits{RPM: 60},
	}
	s := server(
		t,
		&fakeTokens{
			accounts: append(
				[]tokenstore.AccountStatus{one, {ID: "bare", State: tokenstore.StateConfigError}},
				accountsNamed("z")...),
		},
	)
	a := send(s, "GET", refreshPath, "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %v", a.status, a.header)
	}
	got := decode[api.Statuses](t, a)
	if diff := cmp.Diff(api.Summary{"total": 3, "cooling": 1, "config_error": 1, "active": 1}, got.Summary); diff != "" {
		t.Error("summary:", diff)
	}
	left := *got.Accounts[0].ExpiresInSeconds
	if left < 5390 || left > 5400 {
		t.Errorf("expiresInSeconds is %d, want about 5400", left)
	}
	utc := func(d time.Duration) time.Time { return at.Add(d).UTC() }
	expires, next := utc(90*time.Minute), utc(time.Hour)
	want := api.Account{
		ID:               "claude-1",
		Provider:         "anthropic",
		Type:             "CLAUDE_CODE",
		Pools:            []string{"claude"},
		Tenant:           "acme",
		Labels:           map[string]string{"team": "a"},
		State:            "cooling",
		Refreshable:      true,
		Reason:           "rate limited",
		ExpiresAt:        &expires,
		ExpiresInSeconds: &left,
		NextRefreshAt:    &next,
		Generation:       4,
		Version:          9,
		Fingerprint:      "fp-1",
		Cooldowns:        []api.Cooldown{{Scope: "account", Until: utc(time.Minute), Reason: "429"}},
		LastRefresh: &api.LastRefresh{
			At:             utc(0),
			Trigger:        "schedule",
			Result:         "failed",
			Class:          "refused_transient",
			UpstreamStatus: 503,
			Error:          "overloaded",
		},
		Requests:  12,
		Failovers: 2,
		Limits:    &api.Limits{RPM: 60},
	}
	if diff := cmp.Diff(want, got.Accounts[0]); diff != "" {
		t.Error("account:", diff)
	}
	if strings.Contains(a.body, "+02:00") {
		t.Error("times are not in UTC:", a.body)
	}
	for _, promised := range []string{`"pools":[]`, `"cooldowns":[]`, `"expiresAt":null`, `"expiresInSeconds":null`, `"lastRefresh":null`, `"limits":null`} {
		if !strings.Contains(a.body, promised) {
			t.Errorf("an account that knows nothing lacks %s: %s", promised, a.body)
		}
	}
}

func TestWithoutAccountsTheListIsEmptyNotNull(t *testing.T) {
	a := send(server(t, &fakeTokens{}), "GET", refreshPath, "")
	if want := `{"accounts":[],"summary":{"total":0}}`; strings.TrimSpace(a.body) != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
}

func TestRefreshSingleAnswersTheResult(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5", "6")}
	a := send(server(t, f), "POST", refreshPath, `{"action":"refresh-single","accountId":"5","force":true}`)
	got := decode[api.Result](t, a)
	if a.status != 200 || got.ID != "5" || got.Result != "refreshed" || got.GenerationBefore != 3 ||
		got.GenerationAfter != 4 ||
		got.ExpiresAt == nil ||
		got.DurationMs != 120 {
		t.Errorf("got %d %+v", a.status, got)
	}
	if diff := cmp.Diff([]asked{{"5", true}}, f.asked(), cmp.AllowUnexported(asked{})); diff != "" {
		t.Error("calls:", diff)
	}
}

func TestRefreshSingleDoesNotForceUnlessAsked(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	send(server(t, f), "POST", refreshPath, `{"action":"refresh-single","accountId":"5"}`)
	if got := f.asked(); len(got) != 1 || got[0].force {
		t.Errorf("calls: %v", got)
	}
}

func TestOutcomesThatAreNoFailureAnswer200(t *testing.T) {
	for _, outcome := range []tokenstore.RefreshOutcome{
		tokenstore.Refreshed, tokenstore.Fresh, tokenstore.Adopted, tokenstore.Skipped,
	} {
		f := &fakeTokens{script: func(_ context.Context, id tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
			return tokenstore.RefreshResult{ID: id, Outcome: outcome}, nil
		}}
		a := send(server(t, f), "POST", refreshPath, `{"action":"refresh-single","accountId":"5"}`)
		if got := decode[api.Result](t, a); a.status != 200 || got.Result != string(outcome) {
			t.Errorf("%s: got %d %+v", outcome, a.status, got)
		}
	}
}

func TestARefusalByTheProviderIs502WithClassStatusAndRetryable(t *testing.T) {
	for _, c := range []struct {
		result tokenstore.RefreshResult
		advice string
	}{
		{tokenstore.RefreshResult{Class: tokenstore.RefreshPermanent, Status: 400, Error: "invalid_grant"}, "tokenward accounts add"},
		{tokenstore.RefreshResult{Class: tokenstore.RefreshTransient, Status: 503, Retryable: true, Error: "overloaded"}, "tried again by itself"},
		{tokenstore.RefreshResult{Class: tokenstore.RefreshMisconfigured, Error: "client_id is missing"}, "configuration"},
	} {
		f := &fakeTokens{script: func(_ context.Context, id tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
			r := c.result
			r.ID, r.Outcome, r.GenerationBefore, r.GenerationAfter = id, tokenstore.Failed, 3, 3
			return r, nil
		}}
		a := send(server(t, f), "POST", refreshPath, `{"action":"refresh-single","accountId":"5"}`)
		p := wantProblem(t, a, http.StatusBadGateway, "refresh-failed")
		if p.Class != string(c.result.Class) || p.UpstreamStatus != c.result.Status || p.Retryable == nil ||
			*p.Retryable != c.result.Retryable {
			t.Errorf("%s: got %s", c.result.Class, a.body)
		}
		if p.Result == nil || p.Result.ID != "5" || p.Result.Result != string(tokenstore.Failed) ||
			p.Result.Error != c.result.Error {
			t.Errorf("%s: result %+v", c.result.Class, p.Result)
		}
		for _, part := range []string{"refreshing account 5", c.result.Error, c.advice} {
			if !strings.Contains(p.Detail, part) {
				t.Errorf("%s: detail %q lacks %q", c.result.Class, p.Detail, part)
			}
		}
	}
}

func TestErrorsOfTheDomainHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{fmt.Errorf("%w: 5", tokenstore.ErrUnknownAccount), http.StatusNotFound, "unknown-account"},
		{fmt.Errorf("%w: 5", tokenstore.ErrPaused), http.StatusConflict, "account-paused"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "not-finished"},
		{errors.New("something else"), http.StatusServiceUnavailable, "not-finished"},
	} {
		f := &fakeTokens{script: func(context.Context, tokenstore.AccountID, bool) (tokenstore.RefreshResult, error) {
			return tokenstore.RefreshResult{}, c.err
		}}
		p := wantProblem(t, send(server(t, f), "POST", refreshPath, `{"action":"refresh-single","accountId":"5"}`), c.status, c.kind)
		if !strings.Contains(p.Detail, "account 5") {
			t.Errorf("%s: detail %q does not name the account", c.kind, p.Detail)
		}
	}
}

func TestBadBodiesAre400AndNameWhatIsWrong(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	s := server(t, f)
	for body, part := range map[string]string{
		``:                            "EOF",
		`{`:                           "EOF",
		`null`:                        "action",
		`[]`:                          "array",
		`{}`:                          "action",
		`{"action":"refresh-some"}`:   "refresh-single or refresh-all",
		`{"action":"refresh-single"}`: "accountId",
		`{"action":"refresh-single","accountId":""}`:          "accountId",
		`{"action":"refresh-single","accountId":5}`:           "accountId",
		`{"action":"refresh-single","account":"5"}`:           `"account"`,
		`{"action":"refresh-all","accountId":"5"}`:            "accountId",
		`{"action":"refresh-all","force":"yes"}`:              "force",
		`{"action":"refresh-all"}{"action":"refresh-all"}`:    "after",
		`{"action":"refresh-all"}}`:                           "after",
		`{"action":"refresh-all"} x`:                          "after",
		`{"action":"refresh-all","accountId":null}`:           `"accountId" is null`,
		`{"action":"refresh-all","accountId":""}`:             "accountId",
		`{"action":"refresh-single","accountId":null}`:        `"accountId" is null`,
		`{"action":null}`:                                     `"action" is null`,
		`{"action":"refresh-all","force":null}`:               `"force" is null`,
		`{"action":"refresh-all","Force":true}`:               `unknown field "Force"`,
		`{"action":"refresh-single","AccountID":"5"}`:         `unknown field "AccountID"`,
		`{"action":"refresh-all","force":false,"force":true}`: `"force" is given twice`,
	} {
		if p := wantProblem(t, send(s, "POST", refreshPath, body), http.StatusBadRequest, "bad-request"); !strings.Contains(p.Detail, part) {
			t.Errorf("%s: detail %q lacks %q", body, p.Detail, part)
		}
	}
	if got := f.asked(); len(got) != 0 {
		t.Errorf("a bad body refreshed %v", got)
	}
}

func TestABodyOver64KiBIsRefused(t *testing.T) {
	s := server(t, &fakeTokens{accounts: accountsNamed("5")})
	fits := `{"action":"refresh-single","accountId":"5"}`
	fits += strings.Repeat(" ", maxBody-len(fits))
	if a := send(s, "POST", refreshPath, fits); a.status != 200 {
		t.Errorf("64 KiB: got %d %s", a.status, a.body)
	}
	wantProblem(t, send(s, "POST", refreshPath, fits+" "), http.StatusRequestEntityTooLarge, "body-too-large")
	wantProblem(t, send(s, "POST", "/login", fits+" "), http.StatusRequestEntityTooLarge, "body-too-large")
}

func TestWaitIsADurationUpToFiveMinutes(t *testing.T) {
	s := server(t, &fakeTokens{})
	for _, wait := range []string{"x", "30", "-1s", "5m1s", "9999h"} {
		if p := wantProblem(t, send(s, "POST", refreshPath+"?wait="+wait, `{"action":"refresh-all"}`), http.StatusBadRequest, "bad-request"); !strings.Contains(p.Detail, "30s") {
			t.Errorf("%s: detail %q shows no example", wait, p.Detail)
		}
	}
	if a := send(s, "POST", refreshPath+"?wait=5m", `{"action":"refresh-all"}`); a.status != 200 {
		t.Errorf("5m: got %d %s", a.status, a.body)
	}
}

func TestUnknownCallsAndMethodsAreProblemsToo(t *testing.T) {
	s := server(t, &fakeTokens{})
	wantProblem(t, send(s, "GET", "/api/admin/nothing", ""), http.StatusNotFound, "unknown-call")
	wantProblem(t, send(s, "GET", "/api/admin/jobs/none", ""), http.StatusNotFound, "unknown-job")
	a := send(s, "DELETE", refreshPath, "")
	wantProblem(t, a, http.StatusMethodNotAllowed, "wrong-method")
	if got := strings.Split(a.header.Get("Allow"), ", "); !slices.Equal(got, []string{"GET", "POST"}) {
		t.Errorf("Allow: %v", got)
	}
}

func FuzzAnyBodyIsAnsweredWithJSON(f *testing.F) {
	for _, seed := range []string{`{"action":"refresh-single","accountId":"5"}`, `{"action":"refresh-all","force":true}`, `{"action":`, `{"x":1}`, "\x00", `{"action":"refresh-single","accountId":"\ud800"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := server(t, &fakeTokens{accounts: accountsNamed("5")})
		a := send(s, "POST", refreshPath, body)
		switch a.status {
		case 200, 400, 404, 413:
		default:
			t.Errorf("%q: got %d", body, a.status)
		}
		decode[map[string]any](t, a)
	})
}
