package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// slips are what comes where a refresh token is wanted, and what is said of it.
var slips = map[string]string{
	`{"claudeAiOauth":{"refreshToken":"` + planted + `x"}}`: "accounts import --from claude",
	`"` + planted + `x"`:             "has quotes around it",
	"Bearer " + planted + "x":        "such as Bearer",
	planted + "x y":                  "white space inside",
	planted + "\u200bx":              "invisible character",
	planted + "\x07x":                "control character",
	strings.Repeat("p", 17<<10):      "longer than 16 KiB",
	"REFRESH_TOKEN=" + planted + "x": "a name and a value",
}

// untouched checks that the account is as living left it, and that nothing was asked of the token endpoint.
func untouched(t *testing.T, s *shell) {
	t.Helper()
	got, want := s.record(t, "a"), living()
	if !got.RefreshToken.Equal(want.RefreshToken) || !got.AccessToken.Equal(want.AccessToken) ||
		got.Rotation.Incarnation != "first" ||
		got.Rotation.Generation != 7 ||
		got.Former != nil {
		t.Errorf("the account has changed: %+v", got)
	}
	expect(t, "grants", s.driver.Calls(), 0)
}

func TestWhatCannotBeARefreshTokenIsRefusedOnEveryEntryAndTheAccountGoesOn(t *testing.T) {
	for text, says := range slips {
		s := newShell(t)
		s.put(t, "a", living())
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x07", `\u0007`).Replace(text)
		for entry, run := range map[string]func() result{
			"file": func() result {
				return s.run(t, "", "accounts", "add", "a", "--refresh-token-file", s.file(t, "paste", text))
			},
			"stdin": func() result { return s.run(t, text, "accounts", "add", "a", "--refresh-token-file", "-") },
			"json": func() result {
				return s.run(t, "", "accounts", "import", "--from", "json", "--replace",
					"--file", s.file(t, "json", `{"a":{"provider":"p","type":"oauth_refresh","refresh_token":"`+quoted+`"}}`))
			},
			"claude": func() result {
				return s.run(t, "", "accounts", "import", "a", "--from", "claude", "--replace", "--provider", "p",
					"--file", s.file(t, "claude", `{"claudeAiOauth":{"accessToken":"at","refreshToken":"`+quoted+`",`+
						`"expiresAt":4102444800000}}`))
			},
		} {
			r := run()
			if r.code == 0 || !strings.Contains(r.err, says) || strings.Contains(r.err, "sign in") {
				t.Errorf("%s: exit code %d, want %q: %.300s", entry, r.code, says, r.err)
			}
			untouched(t, s)
		}
	}
}

func TestAByteOrderMarkIsDroppedAndUTF16IsNamed(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	r := s.run(t, "", "accounts", "add", "a", "--refresh-token-file", s.file(t, "utf16", "\xff\xfep\x00l\x00a\x00"))
	expect(t, "exit code", r.code, ExitUsage)
	has(t, r.err, "is UTF-16", "save it as UTF-8")
	untouched(t, s)
	s.good(t, "accounts", "add", "a", "--refresh-token-file", s.file(t, "bom", "\ufeff"+planted+"new\r\n"))
	expect(t, "refresh token", s.record(t, "a").RefreshToken.Reveal(), planted+"new")
}

func TestClientSecretsAndKeysHaveTheirGrammars(t *testing.T) {
	for flag, c := range map[string]struct{ good, bad, says string }{
		"--client-secret-file": {planted + "with spaces", `{"web":{"client_secret":"` + planted + `x"}}`, "the client secret is a JSON document"},
		"--api-key-file":       {planted + "key", planted + "with spaces", "the API key has white space inside"},
		"--access-token-file":  {planted + "at", "Bearer " + planted + "x", "the access token begins with"},
	} {
		s := newShell(t)
		s.put(t, "a", living())
		r := s.run(t, c.bad, "accounts", "add", "a", flag, "-")
		expect(t, "exit code", r.code, ExitUsage)
		has(t, r.err, c.says)
		untouched(t, s)
		expect(t, "exit code of a good one", s.run(t, c.good, "accounts", "add", "a", flag, "-", "--force").code, 0)
	}
}

func TestANewCredentialStandsBesideTheFormerOne(t *testing.T) {
	s := newShell(t)
	old := living()
	old.Rotation.Claim = &tokenstore.Claim{
		AttemptID:   "x",
		Holder:      "h",
		Fingerprint: tokenstore.Fingerprint("a", old.RefreshToken),
		Ambiguous:   true,
	}
	old.Rotation.Spent = []string{"spent"}
	s.put(t, "a", old)
	r := s.run(t, planted+"new", "accounts", "add", "a", "--refresh-token-file", "-", "--rpm", "5", "--label", "tier=gold")
	expect(t, "output", r.out, "account a is updated\n")
	has(t, r.err, "serves on with its access token", "former credential is kept")
	got := s.record(t, "a")
	expect(t, "refresh token", got.RefreshToken.Reveal(), planted+"new")
	expect(t, "access token", got.AccessToken.Equal(old.AccessToken), true)
	expect(
		t,
		"former",
		got.Former.RefreshToken.Equal(old.RefreshToken) && got.Former.ClientID == "client" &&
			got.Former.Claim.AttemptID == "x",
		true,
	)
	expect(
		t,
		"bookkeeping",
		got.Rotation.Incarnation != "first" && got.Rotation.Generation == 7 && got.Rotation.Claim == nil &&
			got.Rotation.Spent[0] == "spent",
		true,
	)
	expect(t, "limit and labels", got.Limits.RPM == 5 && got.Labels["tier"] == "gold" && got.Labels["team"] == "a", true)

	has(t, s.good(t, "accounts", "list"), "a new credential was given at")
	s.run(t, planted+"newer", "accounts", "add", "a", "--refresh-token-file", "-")
	expect(t, "the proven one stays the former", s.record(t, "a").Former.RefreshToken.Equal(old.RefreshToken), true)

	r = s.run(t, planted+"refresh", "accounts", "add", "a", "--refresh-token-file", "-")
	has(t, r.err, "has its former credential again: nothing is spent")
	got = s.record(t, "a")
	expect(t, "after the former one is given back", got.RefreshToken.Equal(old.RefreshToken) && got.Former == nil && got.Rotation.Claim.AttemptID == "x", true)
}

func TestTheSameCredentialIsNoNewOne(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	r := s.run(t, planted+"refresh\n", "accounts", "add", "a", "--refresh-token-file", "-", "--rpm", "7")
	expect(t, "exit code", r.code, 0)
	has(t, r.err, "has this credential already: nothing is spent")
	untouched(t, s)
	expect(t, "limit", s.record(t, "a").Limits.RPM, 7)
}

func TestARefreshTokenOfAnotherAccountIsRefused(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	other := living()
	other.RefreshToken = tokenstore.NewSecret(planted + "other")
	other.Former = &tokenstore.Former{Kind: other.Kind, RefreshToken: tokenstore.NewSecret(planted + "former")}
	s.put(t, "b", other)
	for _, token := range []string{planted + "other", planted + "former"} {
		for _, id := range []string{"a", "new"} {
			r := s.run(t, token, "accounts", "add", id, "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", "-")
			expect(t, "exit code", r.code, ExitRefused)
			has(t, r.err, "adding account "+id, "account b has this refresh token", "one owner")
		}
	}
	untouched(t, s)
	file := s.file(t, "twins", `{"x":{"provider":"p","type":"oauth_refresh","refresh_token":"`+planted+`x"},`+
		`"y":{"provider":"p","type":"oauth_refresh","refresh_token":"`+planted+`x"}}`)
	r := s.run(t, "", "accounts", "import", "--from", "json", "--file", file)
	expect(t, "exit code of twins", r.code, ExitRefused)
	expect(t, "output", r.out, "account x is added\n")
	has(t, r.err, "adding account y", "account x has this refresh token")
}

func TestASpentRefreshTokenIsRefused(t *testing.T) {
	s := newShell(t)
	old := living()
	old.Rotation.Spent = []string{tokenstore.Fingerprint("a", tokenstore.NewSecret(planted+"older"))}
	s.put(t, "a", old)
	r := s.run(t, planted+"older", "accounts", "add", "a", "--refresh-token-file", "-")
	expect(t, "exit code", r.code, ExitRefused)
	has(t, r.err, "was exchanged", "log in at the provider")
	r = s.run(t, planted+"older", "accounts", "add", "b", "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", "-")
	expect(t, "exit code for another account", r.code, ExitRefused)
	has(t, r.err, "account a has exchanged it")
	untouched(t, s)
}

func TestASecretInPlaceOfAFilesNameIsNotPrintedBack(t *testing.T) {
	s := newShell(t)
	for _, secret := range []string{planted + "secret", "1//" + planted + "secret", "/" + planted + "secret", strings.Repeat(planted, 60), "eyJ." + planted + ".x/y"} {
		for _, line := range [][]string{
			{"accounts", "add", "a", "--refresh-token-file", secret},
			{"accounts", "add", "a", "--api-key-file", secret},
			{"accounts", "import", "--from", "json", "--file", secret},
			{"accounts", "import", "a", "--from", "claude", "--file", secret},
			{"accounts", "import", "--from", "sealed", "--file", "x", "--passphrase-file", secret},
		} {
			r := s.run(t, "", line...) // which looks for what is planted
			if r.code == 0 || !strings.Contains(r.err, "no file of the name that --") ||
				!strings.Contains(r.err, "shell's history") {
				t.Errorf("%v: exit code %d: %s", line[:3], r.code, r.err)
			}
		}
	}
}

func TestAFileThatOthersCanReadIsWarnedOf(t *testing.T) {
	s := newShell(t)
	path := s.file(t, "token.txt", planted+"new")
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o644: true, 0o640: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		r := s.run(t, "", "accounts", "add", "a", "--provider", "p", "--type", "oauth_refresh", "--refresh-token-file", path)
		expect(t, "exit code", r.code, 0)
		expect(t, "warned at "+mode.String(), strings.Contains(r.err, "others can read "+filepath.Join(s.folder, "token.txt")), warned)
	}
}
