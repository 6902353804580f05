package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files")

// told is an account as the service tells it; fields are JSON that changes it.
func told(id, state string, fields string) string {
	a := map[string]any{}
	for _, part := range []string{
		fmt.Sprintf(`{"accountId":%q,"provider":"p","pools":["claude"],"state":%q,"routable":true,`+
			`"refreshable":true,"reason":"","requests":12,"failovers":3}`, id, state),
		`{"expiresAt":"2000-01-01T00:58:00Z","nextRefreshAt":"2000-01-01T00:38:00Z","lastRefresh":null}`, "{" + strings.TrimPrefix(fields, ",") + "}",
	} {
		if err := json.Unmarshal([]byte(part), &a); err != nil {
			panic(err)
		}
	}
	text, _ := json.Marshal(a)
	return string(text)
}

func answerOf(accounts ...string) string {
	return `{"accounts":[` + strings.Join(accounts, ",") + fmt.Sprintf(`],"summary":{"total":%d}}`, len(accounts))
}

// ofEveryKind has an account in every state.
func ofEveryKind() string {
	return answerOf(
		told("a", "active", ""),
		told("b", "cooling", `,"routable":false,"reason":"rate limited by the provider: left out until 2000-01-01T00:00:42Z (in 42s); `+"`tokenward accounts resume b`"+` lifts it now"`),
		told("c", "paused", `,"routable":false,"refreshable":false,"reason":"paused by an operator; `+"`tokenward accounts resume c`"+` ends that"`),
		told("d", "needs_reauth", `,"refreshable":false,"reason":"log in at the provider again, then `+"`tokenward accounts add d --refresh-token-file -`"+`"`),
		told("e", "active", `,"reason":"renewal fails since 2000-01-01T00:00:00Z","lastRefresh":{"result":"failed","class":"refused_transient"}`),
		told("f", "active", `,"reason":"renewal fails since 2000-01-01T00:00:00Z","lastRefresh":{"result":"failed","class":"misconfigured"}`),
		told("g", "config_error", `,"pools":["spare"],`+
			`"routable":false,"refreshable":false,"expiresAt":null,"nextRefreshAt":null,"reason":"key pools"`),
		told("h", "ambiguous", `,"reason":"nothing to do now"`),
		told("i", "active", `,"refreshable":false,"reason":"there is nothing to refresh with"`),
		told("j", "active", `,"pools":["keys"],"refreshable":false,"expiresAt":null,"nextRefreshAt":null`),
		told("k", "paused", `,"routable":false,"refreshable":false,"reason":"`+tokenstore.WhyDeleted+`"`),
		told("l", "active", `,"pools":["\u001b[31mred\nm active\u202e"]`),
	)
}

func shown(t *testing.T, a *app, raw string, problems bool) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		o, err := readOverview(json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		text := json.RawMessage(raw)
		if problems {
			text = o.keepProblems()
		}
		if err := a.printStatus(&out, text, o); err != nil {
			t.Fatal(err)
		}
	})
	return out.String()
}

func TestStatusAsPrinted(t *testing.T) {
	for file, got := range map[string]string{
		"status.golden":          shown(t, &app{output: "text"}, ofEveryKind(), false),
		"status-problems.golden": shown(t, &app{output: "text", config: "/etc/token ward.yaml"}, ofEveryKind(), true),
	} {
		path := "testdata/" + file
		if *rewrite {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}

func TestProblemsAreThoseThatNeedAttentionAndRedOnesEndWithFour(t *testing.T) {
	idle := `,"routable":false`
	for name, c := range map[string]struct {
		accounts []string
		shows    string
		code     int
		says     string
	}{
		"all well":                 {[]string{told("a", "active", "")}, "", 0, ""},
		"none":                     {nil, "", ExitNeedsHuman, "no account that could serve"},
		"paused beside another":    {[]string{told("a", "active", ""), told("b", "paused", idle)}, "", 0, ""},
		"all paused":               {[]string{told("a", "paused", idle)}, "", 0, ""},
		"cooling beside another":   {[]string{told("a", "active", ""), told("b", "cooling", idle)}, "b", 0, ""},
		"all cooling":              {[]string{told("a", "cooling", idle), told("b", "cooling", idle)}, "ab", ExitNeedsHuman, "no account can serve in claude"},
		"ambiguous":                {[]string{told("a", "ambiguous", "")}, "a", 0, ""},
		"at its limit":             {[]string{told("a", "active", `,"reason":"at its limit"`)}, "a", 0, ""},
		"needs_reauth that serves": {[]string{told("a", "needs_reauth", "")}, "a", ExitNeedsHuman, "1 account needs a human: a"},
		"config_error":             {[]string{told("a", "active", ""), told("b", "config_error", idle)}, "b", ExitNeedsHuman, "1 account needs a human: b"},
		"a record without a pool": {
			[]string{told("a", "config_error", idle+`,"pools":[""]`)}, "a", ExitNeedsHuman, "1 account needs a human: a: see",
		},
		"a state of tomorrow":        {[]string{told("a", "identity_mismatch", "")}, "a", ExitNeedsHuman, "1 account needs a human: a"},
		"two":                        {[]string{told("b", "needs_reauth", ""), told("a", "needs_reauth", "")}, "ab", ExitNeedsHuman, "2 accounts need a human: a, b"},
		"renewal is tried again":     {[]string{told("a", "active", `,"reason":"x","lastRefresh":{"result":"failed","class":"not_sent"}`)}, "a", 0, ""},
		"renewal is refused for us":  {[]string{told("a", "active", `,"reason":"x","lastRefresh":{"result":"failed","class":"misconfigured"}`)}, "a", ExitNeedsHuman, "a"},
		"nobody renews it":           {[]string{told("a", "active", `,"refreshable":false`)}, "a", ExitNeedsHuman, "a"},
		"a key":                      {[]string{told("a", "active", `,"refreshable":false,"expiresAt":null`)}, "", 0, ""},
		"one pool of two is without": {[]string{told("a", "active", ""), told("b", "expired", idle+`,"pools":["spare"]`)}, "b", ExitNeedsHuman, "no account can serve in spare"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			service(t, s, http.StatusOK, answerOf(c.accounts...))
			r := s.run(t, "", "status", "--problems", "-o", "json")
			expect(t, "exit code", r.code, c.code)
			has(t, r.err, c.says)
			var got struct {
				Accounts []struct {
					ID string `json:"accountId"`
				}
				Summary map[string]int
			}
			if err := json.Unmarshal([]byte(r.out), &got); err != nil {
				t.Fatal(err)
			}
			ids := ""
			for _, a := range got.Accounts {
				ids += a.ID
			}
			expect(t, "accounts", ids, c.shows)
			expect(t, "all accounts", got.Summary["total"], len(c.accounts))
			expect(t, "exit code without --problems", s.run(t, "", "status").code, 0)
		})
	}
}

func TestWatchGoesOnWhileTheServiceRestarts(t *testing.T) {
	s, calls := newShell(t), 0
	defer func(every time.Duration) { watchEvery = every }(watchEvery)
	watchEvery = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			if calls++; calls == 2 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			if calls > 4 { // two tables are whole
				cancel()
			}
		}
		answering(http.StatusOK, answerOf(told("a", "active", "")))(w, r)
	}))
	t.Cleanup(h.Close)
	s.session.AdminURL, s.session.AdminTokenFile = h.URL, s.file(t, "admin.token", planted+"token\n")
	r := s.runIn(ctx, t, "", "status", "--watch")
	expect(t, "exit code", r.code, 0)
	if n := strings.Count(r.out, "1 account: 1 active"); n < 2 {
		t.Errorf("%d tables", n)
	}
	has(t, r.err, "it answered 502")
}
