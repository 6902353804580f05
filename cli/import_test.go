package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

const claudeLogin = `{"claudeAiOauth":{"accessToken":"` + planted + `access","refreshToken":"` + planted + `refresh",` +
	`"expiresAt":4102444800000,"scopes":["user:inference","user:profile"]},"other":1}`

func TestImportTakesClaudeCodesLoginOver(t *testing.T) {
	s := newShell(t)
	r := s.run(t, "", "accounts", "import", "a", "--from", "claude", "--file", s.file(t, "login", claudeLogin),
		"--provider", "p", "--pool", "spare", "--client-id", "client")
	expect(t, "exit code", r.code, 0)
	expect(t, "output", r.out, "account a is added\n")
	has(t, r.err, "this refresh token is tokenward's now")
	got := s.record(t, "a")
	for what, pair := range map[string][2]string{
		"provider": {got.Provider, "p"}, "type": {string(got.Kind), "CLAUDE_CODE"}, "client id": {got.ClientID, "client"}, "scope": {got.Scope, "user:inference user:profile"},
		"refresh token": {got.RefreshToken.Reveal(), planted + "refresh"}, "access token": {got.AccessToken.Reveal(), planted + "access"},
		"expiry": {got.ExpiresAt.Format(time.RFC3339), "2100-01-01T00:00:00Z"},
	} {
		expect(t, what, pair[0], pair[1])
	}
	expect(t, "pools", slices.Equal(got.Pools, []string{"spare"}), true)
}

func TestImportFindsClaudeCodesLoginAtHome(t *testing.T) {
	s := newShell(t)
	t.Setenv("HOME", s.folder)
	r := s.run(t, "", "accounts", "import", "a", "--from", "claude", "--provider", "p")
	expect(t, "exit code without a login", r.code, ExitFailed)
	has(t, r.err, filepath.Join(".claude", ".credentials.json"), "sign in there first, or give --file")
	if err := os.Mkdir(filepath.Join(s.folder, ".claude"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.file(t, ".claude/.credentials.json", claudeLogin)
	s.good(t, "accounts", "import", "a", "--from", "claude", "--provider", "p")
	expect(t, "access token", s.record(t, "a").AccessToken.Reveal(), planted+"access")
}

func TestImportRefusesWrongInputAndStoresNothing(t *testing.T) {
	s := newShell(t)
	login := s.file(t, "login", claudeLogin)
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"from nowhere":      {[]string{"a"}, ExitUsage, []string{`--from ""`, "claude, json or sealed"}},
		"from somewhere":    {[]string{"a", "--from", "codex"}, ExitUsage, []string{`--from "codex"`, "claude, json or sealed"}},
		"no account":        {[]string{"--from", "claude", "--file", login}, ExitUsage, []string{"name the account"}},
		"bad id":            {[]string{"../a", "--from", "claude", "--file", login}, ExitUsage, []string{`account id "../a"`}},
		"unknown provider":  {[]string{"a", "--from", "claude", "--file", login}, ExitUsage, []string{`provider: "anthropic" is not in the configuration`, "it knows p, q"}},
		"unknown pool":      {[]string{"a", "--from", "claude", "--file", login, "--provider", "p", "--pool", "nope"}, ExitUsage, []string{`pool "nope"`}},
		"no file":           {[]string{"a", "--from", "claude", "--file", s.folder + "/none", "--provider", "p"}, ExitFailed, []string{"none", "sign in there first"}},
		"no JSON":           {[]string{"a", "--from", "claude", "--file", s.file(t, "text", planted+"text"), "--provider", "p"}, ExitFailed, []string{"text holds no claudeAiOauth object"}},
		"no login":          {[]string{"a", "--from", "claude", "--file", s.file(t, "key", `{"apiKey":"`+planted+`key"}`), "--provider", "p"}, ExitFailed, []string{"key holds no claudeAiOauth object"}},
		"no token":          {[]string{"a", "--from", "claude", "--file", s.file(t, "half", `{"claudeAiOauth":{"refreshToken":"`+planted+`r"}}`), "--provider", "p"}, ExitFailed, []string{"accessToken"}},
		"json: no --file":   {[]string{"--from", "json"}, ExitUsage, []string{"give --file"}},
		"json: no file":     {[]string{"--from", "json", "--file", s.folder + "/none"}, ExitFailed, []string{"none", "no such file"}},
		"json: a list":      {[]string{"--from", "json", "--file", s.file(t, "list", `["`+planted+`"]`)}, ExitUsage, []string{"must be a JSON object that maps account ids to records"}},
		"json: no JSON":     {[]string{"--from", "json", "--file", s.file(t, "no", planted)}, ExitUsage, []string{"must be a JSON object"}},
		"json: bad id":      {[]string{"--from", "json", "--file", s.file(t, "id", `{"../a":{}}`)}, ExitUsage, []string{`account id "../a"`}},
		"json: a record":    {[]string{"--from", "json", "--file", s.file(t, "record", `{"provider":"p","refresh_token":"`+planted+`r"}`)}, ExitFailed, []string{"importing account provider", "one JSON object"}},
		"json: wrong value": {[]string{"--from", "json", "--file", s.file(t, "value", `{"a":{"provider":"p","type":"oauth_refresh","refresh_token":["`+planted+`r"]}}`)}, ExitFailed, []string{"importing account a", "refresh_token", "must be a string"}},
		"json: no type":     {[]string{"--from", "json", "--file", s.file(t, "type", `{"a":{"provider":"p","refresh_token":"`+planted+`r"}}`)}, ExitFailed, []string{"importing account a", "type", "must be given"}},
		"json: provider":    {[]string{"--from", "json", "--file", s.file(t, "provider", `{"a":{"provider":"nope","type":"oauth_refresh","refresh_token":"`+planted+`r"}}`)}, ExitUsage, []string{"account a", `provider: "nope"`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.run(t, "", append([]string{"accounts", "import"}, c.args...)...)
			expect(t, "exit code", r.code, c.code)
			has(t, r.err, c.says...)
			expect(t, "output", r.out, "")
			expect(t, "accounts stored", s.count(t), 0)
		})
	}
}

func TestImportAndAddKeepOffTheAccountThatWasMovedAway(t *testing.T) {
	s := newShell(t)
	login := s.file(t, "login", claudeLogin)
	token := s.file(t, "token", planted+"new")
	imported := []string{"accounts", "import", "a", "--from", "claude", "--file", login, "--provider", "p"}
	added := []string{"accounts", "add", "a", "--refresh-token-file", token}

	s.put(t, "a", living())
	r := s.run(t, "", imported...)
	expect(t, "exit code over a living account", r.code, ExitRefused)
	has(t, r.err, "account a: it exists", "--replace")
	expect(t, "refresh token", s.record(t, "a").RefreshToken.Reveal(), planted+"refresh")
	expect(t, "output with --replace", s.good(t, append(imported, "--replace")...), "account a is updated\n")

	s.put(t, "a", moved())
	for _, line := range [][]string{append(imported, "--replace"), added} {
		r := s.run(t, "", line...)
		expect(t, "exit code", r.code, ExitRefused)
		has(t, r.err, "account a: its live copy is in vault b", "--force")
		expect(t, "refresh token", s.record(t, "a").RefreshToken.Reveal(), planted+"refresh")
	}
	s.good(t, append(added, "--force")...)
	got := s.record(t, "a")
	expect(t, "refresh token", got.RefreshToken.Reveal(), planted+"new")
	expect(t, "state", got.State, tokenstore.Active)
	expect(t, "labels left", len(got.Labels), 1)
}

// moved is what accounts copy leaves behind.
func moved() tokenstore.Record {
	r := living()
	r.State = tokenstore.Paused
	r.Labels[copiedTo], r.Labels[copiedState] = "vault b", "active"
	return r
}

func TestImportOfRecordsTakesTheGoodOnesAndNamesTheOthers(t *testing.T) {
	s := newShell(t)
	s.put(t, "b", living())
	s.put(t, "e", moved())
	file := s.file(t, "records", `{
		"b": {"provider":"p","type":"oauth_refresh","pools":"p, spare","refresh_token":"`+planted+`b","limits":{"rpm":5,"tpm":9}},
		"a": {"provider":"p","type":"oauth_refresh","refresh_token":"`+planted+`a","state":"paused"},
		"c": {"provider":7}, "d": {"provider":"p","type":"oauth_refresh"}, "e": {"provider":"p","type":"oauth_refresh","refresh_token":"`+planted+`e"}}`)
	r := s.run(t, "", "accounts", "import", "--from", "json", "--file", file)
	expect(t, "exit code", r.code, ExitRefused)
	expect(t, "output", r.out, "account a is added\n")
	has(t, r.err, "account b: it exists, and its refresh token may be newer than the file's: give --replace", "importing account c", "provider", "account d", "refresh_token", "account e: it exists")
	expect(t, "refresh token of b", s.record(t, "b").RefreshToken.Reveal(), planted+"refresh")

	r = s.run(t, "", "accounts", "import", "--from", "json", "--file", file, "--replace")
	expect(t, "exit code with --replace", r.code, ExitUsage) // of d
	expect(t, "output with --replace", r.out, "account a is updated\naccount b is updated\n")
	has(t, r.err, "account e: its live copy is in vault b, and a refresh token must not have two owners", "--force")
	expect(t, "refresh token of e", s.record(t, "e").RefreshToken.Reveal(), planted+"refresh")

	r = s.run(t, "", "accounts", "import", "--from", "json", "--file", file, "--replace", "--force")
	has(t, r.out, "account e is updated")
	expect(t, "refresh token of e", s.record(t, "e").RefreshToken.Reveal(), planted+"e")
	expect(t, "e is on hold", s.record(t, "e").OnHold(), false)
	a, b := s.record(t, "a"), s.record(t, "b")
	expect(t, "state of a", a.State, tokenstore.Paused)
	expect(t, "refresh token of b", b.RefreshToken.Reveal(), planted+"b")
	expect(t, "pools of b", slices.Equal(b.Pools, []string{"p", "spare"}), true)
	expect(t, "limit of b", b.Limits.RPM, 5)
	expect(t, "unknown limit of b", string(b.Limits.Extra["tpm"]), "9")
	expect(t, "the old tenant of b", b.Tenant, "")
	expect(t, "the access token of b stays", b.AccessToken.Equal(living().AccessToken), true)
	expect(t, "the former refresh token of b", b.Former.RefreshToken.Reveal(), planted+"refresh")
	expect(t, "generation of b", b.Rotation.Generation, 7)
	expect(t, "accounts stored", s.count(t), 3)
}

func TestImportAsksWhetherAKeyThatNobodyReadsIsASlip(t *testing.T) {
	s := newShell(t)
	file := s.file(t, "records", `{
		"a": {"provider":"p","type":"oauth_refresh","refreshToken":"`+planted+`a"},
		"b": {"provider":"p","type":"oauth_refresh","refresh_token":"`+planted+`b","pool":"spare","owner":"x"}}`)
	r := s.run(t, "", "accounts", "import", "--from", "json", "--file", file)
	expect(t, "exit code", r.code, ExitUsage)
	expect(t, "output", r.out, "account b is added\n")
	has(t, r.err, "key refresh_token: must be given", "; key refreshToken is not read: did you mean refresh_token?",
		"note: account b: key pool is not read: did you mean pools?\n")
}
