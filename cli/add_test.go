package cli

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestAddTakesSecretsFromStandardInputAndFiles(t *testing.T) {
	s := newShell(t)
	r := s.run(t, "  "+planted+"refresh\n", "accounts", "add", "a", "--provider", "p", "--type", "oauth_refresh", "--pool",
		"p", "--pool", "spare", "--tenant", "acme", "--label", "team=a", "--client-id", "client", "--scope", "all",
		"--refresh-token-file", "-", "--client-secret-file", s.file(t, "secret", planted+"secret\r\n"), "--api-key-file",
		s.file(t, "key", planted+"key"), "--access-token-file", s.file(t, "access", planted+"access\n"), "--expires-at",
		"2030-01-31T13:00:00+01:00")
	expect(t, "exit code", r.code, 0)
	expect(t, "output", r.out, "account a is added\n")
	got := s.record(t, "a")
	for what, pair := range map[string][2]string{
		"provider": {got.Provider, "p"}, "type": {string(got.Kind), "oauth_refresh"}, "tenant": {got.Tenant, "acme"}, "client id": {got.ClientID, "client"}, "scope": {got.Scope, "all"},
		"label": {got.Labels["team"], "a"}, "refresh token": {got.RefreshToken.Reveal(), planted + "refresh"}, "client secret": {got.ClientSecret.Reveal(), planted + "secret"},
		"API key": {got.APIKey.Reveal(), planted + "key"}, "access token": {got.AccessToken.Reveal(), planted + "access"},
		"expiry": {got.ExpiresAt.Format(time.RFC3339), "2030-01-31T12:00:00Z"},
	} {
		expect(t, what, pair[0], pair[1])
	}
	expect(t, "pools", slices.Equal(got.Pools, []string{"p", "spare"}), true)
	if got.Rotation.Incarnation == "" {
		t.Error("the record has no incarnation")
	}
}

func TestAddGivesAnExistingAccountANewCredentialAndKeepsTheTokenAndTheFormerOne(t *testing.T) {
	s := newShell(t)
	old := living()
	old.State = tokenstore.Paused
	old.Limits.RPM = 5
	old.Extra = map[string]json.RawMessage{"quota": json.RawMessage(`{"rpm":5}`)}
	old.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "h", Ambiguous: true}
	old.Rotation.Last = &tokenstore.Outcome{
		Result:      "failed",
		Class:       tokenstore.RefreshPermanent,
		Fingerprint: tokenstore.Fingerprint("a", old.RefreshToken),
	}
	s.put(t, "a", old)
	r := s.run(t, planted+"new", "accounts", "add", "a", "--refresh-token-file", "-")
	expect(t, "exit code", r.code, 0)
	expect(t, "output", r.out, "account a is updated\n")
	got := s.record(t, "a")
	expect(t, "refresh token", got.RefreshToken.Reveal(), planted+"new")
	expect(t, "the access token stays", got.AccessToken.Equal(old.AccessToken) && got.ExpiresAt.Equal(old.ExpiresAt), true)
	expect(t, "a credential that is known to be dead is not kept", got.Former == nil, true)
	expect(t, "claim and outcome are gone", got.Rotation.Claim == nil && got.Rotation.Last == nil, true)
	expect(t, "generation", got.Rotation.Generation, 7)
	if got.Rotation.Incarnation == "first" || got.Rotation.Incarnation == "" {
		t.Errorf("incarnation: %q", got.Rotation.Incarnation)
	}
	expect(t, "what was not given stays", got.Provider+got.Tenant+got.ClientID+got.Pools[0]+got.Labels["team"]+string(got.State)+string(got.Extra["quota"]), `pacmeclientspareapaused{"rpm":5}`)
	expect(t, "a limit that was not given stays", got.Limits.RPM, 5)
}

func TestAddSetsLimitsAndZeroEndsThem(t *testing.T) {
	s := newShell(t)
	add := func(args ...string) result {
		return s.run(
			t,
			planted+"refresh",
			append(
				[]string{"accounts", "add", "a", "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", "-"},
				args...)...)
	}
	expect(t, "exit code", add("--rpm", "60", "--concurrency", "4").code, 0)
	has(t, s.good(t, "accounts", "show", "a"), "60 rpm, 4 at once")
	has(t, s.good(t, "accounts", "show", "a", "-o", "json"), `"rpm": 60`, `"concurrency": 4`)
	expect(t, "exit code", add("--rpm", "0").code, 0)
	got := s.record(t, "a").Limits
	expect(t, "rpm after 0", got.RPM, 0)
	expect(t, "concurrency that was not given", got.Concurrency, 4)
	for _, wrong := range []string{"-1", "100001"} {
		r := add("--rpm", wrong)
		expect(t, "exit code", r.code, ExitUsage)
		has(t, r.err, "adding account a", "limits.rpm", "from 1 to 100000")
	}
	expect(t, "rpm after wrong ones", s.record(t, "a").Limits.RPM, 0)
}

func TestAddReplacesARecordThatCannotBeRead(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	s.Corrupt("a")
	r := s.run(t, planted+"new", "accounts", "add", "a", "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", "-")
	expect(t, "exit code", r.code, 0)
	expect(t, "output", r.out, "account a is updated\n")
	expect(t, "refresh token", s.record(t, "a").RefreshToken.Reveal(), planted+"new")
}

func TestAddRefusesWrongInputAndStoresNothing(t *testing.T) {
	s := newShell(t)
	token := s.file(t, "token", planted+"refresh")
	add := func(args ...string) []string { return append([]string{"accounts", "add"}, args...) }
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"bad id":              {add("../a", "--provider", "p"), ExitUsage, []string{`account id "../a"`}},
		"no provider":         {add("a", "--type", "oauth_refresh", "--refresh-token-file", token), ExitUsage, []string{"adding account a", `provider: ""`, "it knows p, q"}},
		"unknown provider":    {add("a", "--provider", "nope", "--type", "oauth_refresh", "--refresh-token-file", token), ExitUsage, []string{`provider: "nope" is not in the configuration`, "it knows p, q"}},
		"unknown pool":        {add("a", "--provider", "p", "--pool", "nope", "--type", "oauth_refresh", "--refresh-token-file", token), ExitUsage, []string{`pool "nope" is not in the configuration`, "under pools"}},
		"another one's pool":  {add("a", "--provider", "p", "--pool", "other", "--type", "oauth_refresh", "--refresh-token-file", token), ExitUsage, []string{"pool \"other\" takes accounts of provider q, not p"}},
		"no secret":           {add("a", "--provider", "p", "--type", "oauth_refresh"), ExitUsage, []string{"refresh_token", "must be given"}},
		"two from stdin":      {add("a", "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", "-", "--access-token-file", "-"), ExitUsage, nil},
		"empty file":          {add("a", "--provider", "p", "--refresh-token-file", s.file(t, "empty", " \n")), ExitUsage, []string{"reading a secret from", "empty", "one line that is not empty"}},
		"two lines":           {add("a", "--provider", "p", "--refresh-token-file", s.file(t, "lines", planted+"1\n"+planted+"2\n")), ExitUsage, []string{"lines", "one line"}},
		"missing file":        {add("a", "--provider", "p", "--refresh-token-file", s.folder+"/none"), ExitFailed, []string{"reading a secret", "none", "no such file"}},
		"end that is no time": {add("a", "--provider", "p", "--refresh-token-file", token, "--expires-at", "tomorrow"), ExitUsage, []string{`--expires-at "tomorrow"`, "RFC 3339"}},
		"output of no kind":   {add("a", "--provider", "p", "--refresh-token-file", token, "-o", "xml"), ExitUsage, []string{`output "xml"`, "text or json"}},
		// main makes it wrong usage
		"a secret as argument":  {add("a", "--provider", "p", "--refresh-token", "x"), ExitFailed, []string{"unknown flag"}},
		"two accounts at once":  {add("a", "b"), ExitFailed, []string{"accepts 1 arg"}},
		"label without a value": {add("a", "--label", "team"), ExitFailed, []string{"team"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.run(t, planted+"stdin", c.args...)
			expect(t, "exit code", r.code, c.code)
			has(t, r.err, c.says...)
			expect(t, "output", r.out, "")
			expect(t, "accounts stored", s.count(t), 0)
		})
	}
}

func TestAddStartsAgainWhenSomebodyElseIsQuicker(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	meddled := false
	s.Before = func(op string, id tokenstore.AccountID) error {
		if op == "swap" && !meddled {
			meddled = true
			theirs := living()
			theirs.Tenant = "theirs"
			s.put(t, id, theirs)
		}
		return nil
	}
	r := s.run(t, planted+"new", "accounts", "add", "a", "--refresh-token-file", "-")
	expect(t, "exit code", r.code, 0)
	got := s.record(t, "a")
	expect(t, "the other's edit", got.Tenant, "theirs")
	expect(t, "our credential", got.RefreshToken.Reveal(), planted+"new")
}

func TestChangesGiveUpWhenSomebodyKeepsBeingQuicker(t *testing.T) {
	for _, args := range [][]string{{"accounts", "add", "a", "--refresh-token-file", "-"}, {"accounts", "pause", "a"}, {"accounts", "remove", "a"}} {
		t.Run(args[1], func(t *testing.T) {
			s := newShell(t)
			s.put(t, "a", living())
			tries := 0
			s.Before = func(op string, _ tokenstore.AccountID) error {
				if op == "swap" || op == "delete" {
					tries++
					return tokenstore.ErrConflict
				}
				return nil
			}
			r := s.run(t, planted+"new", args...)
			expect(t, "exit code", r.code, ExitRefused)
			has(t, r.err, "account a", "somebody keeps changing it", "try again")
			if tries < 2 {
				t.Errorf("given up after %d tries", tries)
			}
			s.Before = nil
			expect(t, "the record", s.record(t, "a").RefreshToken.Reveal(), planted+"refresh")
		})
	}
}

func TestAStoreThatFailsIsNamedAndNothingIsPretended(t *testing.T) {
	for op, lines := range map[string][][]string{
		"load": {{"add", "a", "--refresh-token-file", "-"}, {"show", "a"}, {"pause", "a"}, {"resume", "a"}, {"remove", "a"}},
		"swap": {{"add", "a", "--refresh-token-file", "-"}, {"pause", "a"}},
		"list": {{"list"}, {"refresh", "--all"}},
	} {
		for _, args := range lines {
			t.Run(op+" "+args[0], func(t *testing.T) {
				s := newShell(t)
				s.put(t, "a", living())
				s.Before = func(o string, _ tokenstore.AccountID) error {
					if o == op {
						return errors.New("the disk is on fire")
					}
					return nil
				}
				r := s.run(t, planted+"new", append([]string{"accounts"}, args...)...)
				expect(t, "exit code", r.code, ExitFailed)
				has(t, r.err, "account", "the disk is on fire")
				expect(t, "output", r.out, "")
			})
		}
	}
}

func TestAddRefusesAPoolThatItIsGivenAndKeepsThoseOfOtherServices(t *testing.T) {
	s := newShell(t)
	shared := living()
	shared.Pools = []string{"spare", "elsewhere"}
	s.put(t, "a", shared)
	token := s.file(t, "token", planted+"new")
	r := s.run(t, "", "accounts", "add", "a", "--refresh-token-file", token, "--pool", "spare", "--pool", "nope")
	expect(t, "exit code", r.code, ExitUsage)
	has(t, r.err, "adding account a", `pool "nope" is not in the configuration`)
	s.good(t, "accounts", "add", "a", "--refresh-token-file", token)
	got := s.record(t, "a")
	expect(t, "pools", slices.Equal(got.Pools, []string{"spare", "elsewhere"}), true)
	expect(t, "refresh token", got.RefreshToken.Reveal(), planted+"new")
}
