package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// stocked has a good account, a paused one that failed, one of an unknown provider and one that cannot be read.
func stocked(t *testing.T) *shell {
	t.Helper()
	s := newShell(t)
	s.put(t, "good", living())
	paused := living()
	paused.State, paused.Pools, paused.Tenant = tokenstore.Paused, nil, ""
	paused.Rotation.Last = &tokenstore.Outcome{At: time.Now().Add(-time.Hour), Result: "failed", Class: tokenstore.RefreshTransient, Error: "status 503"}
	s.put(t, "paused", paused)
	foreign := living()
	foreign.Provider = "gone"
	s.put(t, "foreign", foreign)
	s.put(t, "spoilt", living())
	s.Corrupt("spoilt")
	return s
}

func TestListShowsEveryAccountInOrderAndWhatIsWrongWithIt(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(stocked(t).good(t, "accounts", "list")), "\n")
	if len(lines) != 5 {
		t.Fatalf("lines: %q", lines)
	}
	for i, wants := range [][]string{
		{"ACCOUNT", "STATE", "PROBLEM"},
		{"foreign", `provider: "gone" is not in the configuration`},
		{"good", "p", "oauth_refresh", "spare", "active", "in "},
		{"paused", "paused", "failed 1h0m", "refused_transient"},
		{"spoilt", "config_error", "unreadable record"},
	} {
		if !strings.HasPrefix(lines[i], wants[0]+" ") {
			t.Errorf("line %d is not %s's: %s", i, wants[0], lines[i])
		}
		has(t, lines[i], wants...)
	}
}

func TestListAsJSONHasFingerprintsAndProblems(t *testing.T) {
	var views []map[string]any
	if err := json.Unmarshal([]byte(stocked(t).good(t, "accounts", "list", "-o", "json")), &views); err != nil {
		t.Fatal(err)
	}
	if len(views) != 4 {
		t.Fatalf("accounts: %v", views)
	}
	good, spoilt := views[1], views[3]
	expect(t, "id", good["accountId"], any("good"))
	expect(t, "state", good["state"], any("active"))
	expect(t, "generation", good["generation"], any(7.0))
	expect(t, "fingerprint of the refresh token", good["refreshTokenFingerprint"], any(tokenstore.Fingerprint("good", living().RefreshToken)))
	expect(t, "fingerprint of the access token", good["accessTokenFingerprint"], any(tokenstore.Fingerprint("good", living().AccessToken)))
	expect(t, "problem", good["problem"], nil)
	expect(t, "id", spoilt["accountId"], any("spoilt"))
	expect(t, "state", spoilt["state"], any("config_error"))
	if problem, _ := spoilt["problem"].(string); !strings.Contains(problem, "unreadable") {
		t.Errorf("problem: %q", problem)
	}
}

func TestAnEmptyListIsAnEmptyListInJSON(t *testing.T) {
	expect(t, "output", newShell(t).good(t, "accounts", "list", "-o", "json"), "[]\n")
}

func TestListLeavesOutWhatIsRemovedMeanwhile(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	s.Before = func(op string, _ tokenstore.AccountID) error {
		if op == "load" {
			return tokenstore.ErrNotFound
		}
		return nil
	}
	expect(t, "output", s.good(t, "accounts", "list", "-o", "json"), "[]\n")
}

func TestShowHasEveryFieldAndNoSecret(t *testing.T) {
	s := stocked(t)
	rows := map[string]string{}
	for line := range strings.Lines(s.good(t, "accounts", "show", "good")) {
		name, value, _ := strings.Cut(line, "  ")
		rows[name] = strings.TrimSpace(value)
	}
	for name, want := range map[string]string{
		"account": "good", "provider": "p", "type": "oauth_refresh", "pools": "spare", "tenant": "acme", "state": "active", "client id": "client", "generation": "7", "version": "1",
		"labels":        "team=a",
		"refresh token": tokenstore.Fingerprint("good", living().RefreshToken), "access token": tokenstore.Fingerprint("good", living().AccessToken), "last refresh": "-", "problem": "-",
	} {
		expect(t, name, rows[name], want)
	}
	has(t, s.good(t, "accounts", "show", "spoilt"), "config_error", "unreadable record")
	has(t, s.good(t, "accounts", "show", "foreign"), `provider: "gone"`)
	var shown map[string]any
	if err := json.Unmarshal([]byte(s.good(t, "accounts", "show", "paused", "-o", "json")), &shown); err != nil {
		t.Fatal(err)
	}
	expect(t, "state", shown["state"], any("paused"))
}

func TestAnAccountThatDoesNotExistIsSaidSo(t *testing.T) {
	for _, verb := range []string{"show", "pause", "resume", "remove", "refresh"} {
		r := newShell(t).run(t, "", "accounts", verb, "nobody")
		expect(t, "exit code of "+verb, r.code, ExitFailed)
		has(t, r.err, "account nobody does not exist", "tokenward accounts list")
	}
	for _, verb := range []string{"show", "pause", "resume", "remove"} {
		r := newShell(t).run(t, "", "accounts", verb, ".x")
		expect(t, "exit code of "+verb+" with a bad id", r.code, ExitUsage)
		has(t, r.err, `account id ".x"`)
	}
}

func TestPauseAndResumeChangeTheStateAlone(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	expect(t, "output", s.good(t, "accounts", "pause", "a"), "account a is paused\n")
	got := s.record(t, "a")
	expect(t, "state", got.State, tokenstore.Paused)
	expect(t, "tokens", got.RefreshToken.Reveal()+got.AccessToken.Reveal(), planted+"refresh"+planted+"access")
	expect(t, "incarnation", got.Rotation.Incarnation, "first")
	expect(t, "output", s.good(t, "accounts", "resume", "a", "-o", "json"), "{\n  \"done\": \"account a is active\"\n}\n")
	expect(t, "state", s.record(t, "a").State, tokenstore.Active)
}

func TestPauseKeepsWhatSomebodyElseWroteMeanwhile(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	meddled := false
	s.Before = func(op string, id tokenstore.AccountID) error {
		if op == "swap" && !meddled {
			meddled = true
			refreshed := living()
			refreshed.RefreshToken = tokenstore.NewSecret(planted + "rotated")
			s.put(t, id, refreshed)
		}
		return nil
	}
	s.good(t, "accounts", "pause", "a")
	got := s.record(t, "a")
	expect(t, "state", got.State, tokenstore.Paused)
	expect(t, "refresh token", got.RefreshToken.Reveal(), planted+"rotated")
}

func TestPauseOfARecordThatCannotBeReadIsRefused(t *testing.T) {
	r := stocked(t).run(t, "", "accounts", "pause", "spoilt")
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "reading account spoilt", "unreadable record")
}

func TestRemoveDeletesWhateverVersionIsThere(t *testing.T) {
	s := stocked(t)
	meddled := false
	s.Before = func(op string, id tokenstore.AccountID) error {
		if op == "delete" && !meddled {
			meddled = true
			s.put(t, id, living())
		}
		return nil
	}
	expect(t, "output", s.good(t, "accounts", "remove", "good"), "account good is removed\n")
	expect(t, "somebody was quicker once", meddled, true)
	expect(t, "output", s.good(t, "accounts", "remove", "spoilt"), "account spoilt is removed\n")
	expect(t, "accounts left", s.count(t), 2)
}

func TestAccountsAloneShowsItsHelp(t *testing.T) {
	has(t, newShell(t).good(t, "accounts"), "add", "import", "list", "show", "pause", "resume", "refresh", "remove")
}

func TestListSaysWhatTheServicesStatusSays(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*tokenstore.Record)
		state tokenstore.AccountState
		says  []string
	}{
		"good": {func(*tokenstore.Record) {}, tokenstore.StateActive, nil},
		"refused": {func(r *tokenstore.Record) {
			r.Rotation.Last = &tokenstore.Outcome{Result: "failed", Class: tokenstore.RefreshPermanent, Error: "invalid_grant", Fingerprint: tokenstore.Fingerprint("a", r.RefreshToken)}
		}, tokenstore.StateNeedsReauth, []string{"refused for good", "invalid_grant"}},
		"doubtful": {func(r *tokenstore.Record) {
			r.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "h", Ambiguous: true}
		}, tokenstore.StateAmbiguous, []string{"no readable answer"}},
		"paused":                  {func(r *tokenstore.Record) { r.State = tokenstore.Paused }, tokenstore.StatePaused, []string{"paused by an operator"}},
		"moved":                   {func(r *tokenstore.Record) { *r = moved() }, tokenstore.StatePaused, []string{"live copy is in vault b", "resume --force"}},
		"patched":                 {func(r *tokenstore.Record) { *r = moved(); r.State = tokenstore.Active }, tokenstore.StatePaused, []string{"live copy is in vault b"}},
		"another provider's pool": {func(r *tokenstore.Record) { r.Pools = []string{"other"} }, tokenstore.StateConfigError, []string{"key pools", `pool "other" takes accounts of provider q, not p`, "name one of p, spare"}},
		"unknown pool":            {func(r *tokenstore.Record) { r.Pools = []string{"nope"} }, tokenstore.StateConfigError, []string{"key pools", `pool "nope" is not in the configuration`}},
		"no pool":                 {func(r *tokenstore.Record) { r.Provider, r.Pools = "q", nil }, tokenstore.StateConfigError, []string{"key pools", "none is named", `pool "q"`, "name one of other"}},
		"one pool of two":         {func(r *tokenstore.Record) { r.Pools = []string{"nope", "spare"} }, tokenstore.StateActive, []string{"does not serve everywhere", `pool "nope"`}},
		"nothing to refresh with": {func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }, tokenstore.StateActive, []string{"nothing to refresh with", "oauth_refresh", "refresh_token is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			r := living()
			c.edit(&r)
			s.put(t, "a", r)
			var listed []view
			if err := json.Unmarshal([]byte(s.good(t, "accounts", "list", "-o", "json")), &listed); err != nil {
				t.Fatal(err)
			}
			store, err := s.session.Domain()
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = store.Stop(t.Context()) }()
			status, err := store.Status("a")
			if err != nil {
				t.Fatal(err)
			}
			expect(t, "state in the list", listed[0].State, c.state)
			expect(t, "state in the status", status.State, c.state)
			expect(t, "problem and reason", listed[0].Problem, status.Reason)
			expect(t, "something is said", status.Reason != "", len(c.says) > 0)
			has(t, status.Reason, c.says...)
			expect(t, "serves", status.Routable, c.state == tokenstore.StateActive || c.state == tokenstore.StateNeedsReauth || c.state == tokenstore.StateAmbiguous)
		})
	}
}
