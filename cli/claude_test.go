package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// No file that holds a token may lead to a new sign-in: it would make that token worthless.
func TestAFileOfClaudeCodesIsReadOrWhatIsOddInItIsNamed(t *testing.T) {
	login := func(inside string) string { return `{"claudeAiOauth":{` + inside + `}}` }
	tokens := `"accessToken":"` + planted + `at","refreshToken":"` + planted + `rt"`
	year := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	utf16 := func(s string) string {
		out := "\xff\xfe"
		for _, c := range s {
			out += string([]byte{byte(c), 0})
		}
		return out
	}
	for name, c := range map[string]struct {
		text, says string
		ends       time.Time
		refused    bool
	}{
		"as it is":           {text: login(tokens + `,"expiresAt":4102444800000`), ends: year},
		"byte order mark":    {text: "\ufeff" + login(tokens+`,"expiresAt":4102444800000`), ends: year},
		"a string":           {text: login(tokens + `,"expiresAt":"4102444800000"`), ends: year, says: "expiresAt is a string"},
		"seconds":            {text: login(tokens + `,"expiresAt":4102444800`), ends: year, says: "expiresAt is in seconds"},
		"seconds, string":    {text: login(tokens + `,"expiresAt":"4102444800"`), ends: year, says: "expiresAt is in seconds"},
		"microseconds":       {text: login(tokens + `,"expiresAt":4102444800000000`), ends: year, says: "expiresAt is in microseconds"},
		"a float":            {text: login(tokens + `,"expiresAt":4.1024448e12`), ends: year},
		"RFC 3339":           {text: login(tokens + `,"expiresAt":"2100-01-01T01:00:00+01:00"`), ends: year, says: "expiresAt is a text"},
		"missing":            {text: login(tokens), says: "expiresAt is missing"},
		"null":               {text: login(tokens + `,"expiresAt":null`), says: "expiresAt is missing"},
		"words":              {text: login(tokens + `,"expiresAt":"tomorrow"`), refused: true, says: "expiresAt that is no time: it must be a number, Unix milliseconds"},
		"an object":          {text: login(tokens + `,"expiresAt":{}`), refused: true, says: "expiresAt that is no time"},
		"negative":           {text: login(tokens + `,"expiresAt":-1`), refused: true, says: "expiresAt that is no time"},
		"a bool":             {text: login(tokens + `,"expiresAt":true`), refused: true, says: "expiresAt that is no time"},
		"UTF-16":             {text: utf16(login(tokens)), refused: true, says: "UTF-16"},
		"cut off":            {text: login(tokens)[:40], refused: true, says: "not valid JSON: line 1"},
		"the inside alone":   {text: `{` + tokens + `}`, refused: true, says: "only the inside of the claudeAiOauth object"},
		"a key twice":        {text: login(tokens + `,"accessToken":"x"`), refused: true, says: `"accessToken" in "claudeAiOauth" twice`},
		"a token in quotes":  {text: login(`"accessToken":"\"` + planted + `at\""`), refused: true, says: "accessToken that has quotes around it"},
		"a token as number":  {text: login(`"accessToken":5,"refreshToken":"` + planted + `rt"`), refused: true, says: "accessToken that is no string"},
		"only the refresher": {text: login(`"refreshToken":"` + planted + `rt"`), refused: true, says: "give --client-id"},
		"an object no more":  {text: `{"claudeAiOauth":"` + planted + `"}`, refused: true, says: "claudeAiOauth that is no object"},
		"scopes as text":     {text: login(tokens + `,"expiresAt":4102444800000,"scopes":"a b"`), ends: year},
		"empty":              {text: "", refused: true, says: "it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			r := s.run(t, "", "accounts", "import", "a", "--from", "claude", "--provider", "p",
				"--file", s.file(t, "login", c.text))
			has(t, r.err, c.says)
			if c.refused {
				expect(t, "exit code", r.code, ExitFailed)
				if strings.Contains(r.err, "sign in") {
					t.Errorf("it advises a new sign-in: %s", r.err)
				}
				return
			}
			expect(t, "exit code", r.code, 0)
			if got := s.record(t, "a"); got.AccessToken.Reveal() != planted+"at" || !got.ExpiresAt.Equal(c.ends) {
				t.Errorf("it ends %s", got.ExpiresAt)
			}
			expect(t, "it is noted", strings.Contains(r.err, "note: claudeAi"), c.says != "")
		})
	}
}

func FuzzClaudeFile(f *testing.F) {
	f.Add([]byte(claudeLogin))
	f.Add([]byte(`{"claudeAiOauth":{"accessToken":"a","expiresAt":"x","scopes":"b"}}`))
	f.Add([]byte(`{"a":[{"b":1,"b":2}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = duplicate(data)
		if login, err := readClaude(data, ""); err == nil && login.accessToken.IsZero() {
			t.Error("a file without an access token is taken")
		}
	})
}

func TestARefreshTokenAloneIsEnoughWithItsClient(t *testing.T) {
	s := newShell(t)
	s.good(t, "accounts", "import", "a", "--from", "claude", "--provider", "p", "--client-id", "x",
		"--file", s.file(t, "login", `{"claudeAiOauth":{"refreshToken":"`+planted+`rt"}}`))
	expect(t, "refresh token", s.record(t, "a").RefreshToken.Reveal(), planted+"rt")
}

func TestAFileWithAKeyTwiceIsRefused(t *testing.T) {
	record := `{"provider":"p","type":"oauth_refresh","refresh_token":"` + planted + `x"}`
	for text, says := range map[string]string{
		`{"a":` + record + `,"b":` + record + `,"a":` + record + `}`:   `the key "a" twice`,
		`{"a":{"provider":"p","type":"oauth_refresh","provider":"q"}}`: `"provider" in "a" twice`,
		`{"a":{"limits":{"rpm":1,"rpm":2},"provider":"p"}}`:            `"rpm" in "limits" in "a" twice`,
		`{"a":{"pools":["x",{"y":1,"y":2}]}}`:                          `"y" in "pools" in "a" twice`,
		"{\n\"a\": " + record + ",\n\"b\": oops}":                      "not valid JSON: line 3, column 6",
		`{}`: "it holds no account",
	} {
		s := newShell(t)
		r := s.run(t, "", "accounts", "import", "--from", "json", "--file", s.file(t, "bulk", text))
		expect(t, "exit code", r.code, ExitUsage)
		has(t, r.err, says)
		expect(t, "accounts stored", s.count(t), 0)
	}
}

func TestAnImportOfManyIsCounted(t *testing.T) {
	s := newShell(t)
	var parts []string
	for i := range 40 {
		id := fmt.Sprintf("a%02d", i)
		parts = append(parts, fmt.Sprintf(`%q:{"provider":"p","type":"oauth_refresh","refresh_token":"%s%d"}`,
			id, planted, i))
		if i < 25 {
			s.put(t, tokenstore.AccountID(id), living())
		}
	}
	r := s.run(t, "", "accounts", "import", "--from", "json", "--file", s.file(t, "bulk", "{"+strings.Join(parts, ",")+"}"))
	expect(t, "exit code", r.code, ExitRefused)
	expect(t, "output", r.out, "15 accounts are imported\n")
	has(t, r.err, "25 accounts exist and were left as they are (a00, a01", "give --replace")
	expect(t, "lines", strings.Count(strings.TrimSpace(r.err), "\n"), 0)
}
